//! Standalone sockets: they leave once they are connected, and their media go on.

use super::*;

const BYE: &str = r#"{"type":"bye"}"#;
const CONNECTED: &str = r#"{"type":"connected"}"#;

fn pair() -> World {
    World::pair_of(settings(), [&register_standalone("r"), &register_standalone("r")])
}

/// Only the second one is standalone.
fn mixed_pair() -> World {
    World::pair_of(settings(), [&register("r"), &register_standalone("r")])
}

#[test]
fn two_standalone_sockets_leave_one_by_one() {
    let mut world = pair();
    world.send(2, r#"{"type":"offer"}"#);
    world.send(1, r#"{"type":"answer"}"#);
    world.send(1, CONNECTED);
    assert_eq!(world.received(1), [r#"{"type":"offer"}"#, "close 1000 connected"]);
    assert_eq!(world.received(2), [r#"{"type":"answer"}"#], "it keeps its socket");
    assert_eq!(world.calls(), ["r connected", "1 left r, may continue"]);
    world.end(1);
    world.send(2, r#"{"type":"candidate"}"#);
    world.send(2, CONNECTED);
    assert_eq!(world.received(2), ["close 1000 connected"]);
    assert_eq!(world.calls(), ["2 left r, may continue"]);
    world.end(2);
    world.assert_empty();
}

#[test]
fn a_room_admits_nobody_while_its_last_standalone_socket_finishes() {
    let mut world = pair();
    world.send(1, CONNECTED);
    world.end(1);
    world.enter(3, &register("r"));
    assert_eq!(world.received(3), [r#"{"reason":"full","type":"reject"}"#, "close 1000 room full"]);
    world.end(2);
    world.join(4, "r");
}

#[test]
fn the_last_standalone_socket_ends_by_the_read_timeout_at_the_latest() {
    let mut world = pair();
    world.send(1, CONNECTED);
    world.end(1);
    world.advance(Duration::from_secs(90));
    assert_eq!(world.received(2), ["close 1000 read timeout"]);
    assert_eq!(world.calls(), ["r connected", "1 left r, may continue", "2 left r, may continue"]);
}

#[test]
fn a_partner_that_is_not_standalone_gets_bye() {
    let mut world = mixed_pair();
    world.send(2, CONNECTED);
    assert_eq!(world.received(1), [BYE, "close 1000 peer closing"]);
    assert_eq!(world.received(2), ["close 1000 connected"]);
    assert_eq!(world.calls(), ["r connected", "2 left r, may continue", "1 left r, ends"]);
}

#[test]
fn a_standalone_socket_never_gets_bye() {
    let mut world = mixed_pair();
    world.end(1);
    assert_eq!(world.received(2), ["close 1000 peer closing"]);
    assert_eq!(world.calls(), ["1 left r, ends", "2 left r, may continue"]);
}

#[test]
fn a_standalone_socket_that_is_lost_before_it_is_connected_ends_its_room() {
    let mut world = pair();
    world.end(1);
    assert_eq!(world.received(2), ["close 1000 peer closing"]);
    assert_eq!(world.calls(), ["1 left r, may continue", "2 left r, may continue"]);
}

#[test]
fn a_standalone_socket_that_is_alone_and_sends_connected_ends_only_itself() {
    let mut world = World::new(settings());
    world.join_as(1, &register_standalone("r"));
    world.enter(2, &register("r"));
    world.calls();
    world.send(1, CONNECTED);
    assert_eq!(world.received(1), ["close 1000 connected"]);
    assert_eq!(world.calls(), ["1 left r, may continue"]);
    world.mint(2);
    assert_eq!(world.received(2), [accept(2, false)]);
    assert_eq!(world.received(1), NOTHING);
}

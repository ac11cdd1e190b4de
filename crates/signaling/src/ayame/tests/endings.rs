//! The ends of sockets and rooms.

use super::*;

const BYE: &str = r#"{"type":"bye"}"#;

#[test]
fn a_room_ends_with_either_member_and_can_be_used_again() {
    for [leaver, survivor] in [[1, 2], [2, 1]] {
        let mut world = World::pair(settings());
        world.end(leaver);
        assert_eq!(world.received(survivor), [BYE, "close 1000 peer closing"]);
        assert_eq!(world.received(leaver), NOTHING);
        let left = [format!("{leaver} left r, ends"), format!("{survivor} left r, ends")];
        assert_eq!(world.calls(), left);
        world.send(survivor, r#"{"type":"candidate"}"#);
        world.end(survivor);
        assert_eq!((world.received(survivor), world.calls()), (vec![], vec![]));
        assert_eq!(world.disconnect_webhooks, [], "there is no webhook");
        world.assert_empty();
        world.join(3, "r");
        world.join(4, "r");
        assert_eq!(world.calls().len(), 2);
    }
}

#[test]
fn the_room_is_free_as_soon_as_the_survivor_is_being_closed() {
    let mut world = World::pair(settings());
    world.end(1);
    world.enter(3, &register("r"));
    world.mint(3);
    assert_eq!(world.received(3), [accept(3, false)], "2 has not closed yet");
    world.end(2);
    world.send(3, r#"{"type":"candidate"}"#);
    assert_eq!(world.received(3), NOTHING, "the end of 2 is not its concern");
}

#[test]
fn a_client_that_registers_while_the_member_leaves_becomes_the_first() {
    let mut world = World::new(settings());
    world.join(1, "r");
    world.enter(2, &register("r"));
    world.end(1);
    assert_eq!(world.received(2), NOTHING);
    world.mint(2);
    assert_eq!(world.received(2), [accept(2, false)]);
    world.join(3, "r");
    world.send(3, r#"{"type":"offer"}"#);
    assert_eq!(world.received(2), [r#"{"type":"offer"}"#], "the place is in the same room");
}

#[test]
fn the_operator_ends_a_room() {
    let mut world = World::new(settings());
    world.join(1, "r");
    world.join_as(2, &register_standalone("r"));
    world.join(3, "other");
    world.join(4, "s");
    world.enter(5, &register("s"));
    world.calls();
    for room in ["r", "s", "unknown"] {
        world.step(Event::EndRoom { room: room.into() });
    }
    for (socket, received) in [(1, &[BYE, "close 1000 closing"][..]), (5, &["close 1000 closing"])] {
        assert_eq!(world.received(socket), received);
    }
    assert_eq!(world.received(2), ["close 1000 closing"], "a standalone socket gets no bye");
    assert_eq!(world.received(3), NOTHING);
    assert_eq!(world.calls(), ["1 left r, ends", "2 left r, ends", "4 left s, ends"], "the media too");
    world.mint(5);
    assert_eq!(world.calls(), ["a grant is unused"]);
}

#[test]
fn a_drain_says_bye_to_the_members_and_their_calls_end_with_their_sockets() {
    let mut world = World::pair(settings());
    world.join_as(3, &register_standalone("alone"));
    world.enter(4, &register("alone"));
    world.open(5);
    world.calls();
    world.step(Event::Drain);
    let received = [1, 2, 3, 4, 5].map(|socket| world.received(socket));
    assert_eq!(received, [vec![BYE], vec![BYE], vec![], vec![], vec![]]);
    for socket in 1..=5 {
        world.end(socket);
    }
    assert_eq!(world.calls(), ["1 left r, ends", "2 left r, ends", "3 left alone, may continue"]);
    world.mint(4);
    assert_eq!(world.calls(), ["a grant is unused"]);
    world.assert_empty();
}

//! How long a socket lives without a sign of its peer.

use super::*;

#[test]
fn a_socket_from_which_nothing_comes_for_90_seconds_is_closed() {
    let mut world = World::with(2);
    world.advance(Duration::from_millis(89_999));
    assert_eq!(world.take(1), NOTHING);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.take(1), ["close 1008 no heartbeat"]);
    world.open(3, "p1", "other");
    assert_eq!(world.take(3), [OPEN]);
}

#[test]
fn any_frame_and_any_pong_keep_a_socket_open() {
    let mut world = World::with(4);
    let socket = SocketId;
    for _ in 0..3 {
        world.advance_secs(60);
        world.send(1, r#"{"type":"HEARTBEAT"}"#);
        world.send(2, "no message at all");
        world.step(Event::Binary { socket: socket(3) });
        world.step(Event::Pong { socket: socket(4) });
    }
    for peer in 1..=4 {
        assert_eq!(world.take(peer), NOTHING, "nothing answers a heartbeat");
    }
}

#[test]
fn a_socket_is_pinged_every_25_seconds() {
    let mut world = World::with(1);
    world.received.clear();
    world.advance_secs(80);
    assert_eq!(world.received.remove(&1).unwrap(), ["ping"; 3]);
    world.end(1);
    assert_eq!(world.protocol.next_due(), None);
}

#[test]
fn a_refused_socket_has_no_timers() {
    let mut world = World::new();
    world.open(1, "", "t");
    assert_eq!(world.protocol.next_due(), None);
}

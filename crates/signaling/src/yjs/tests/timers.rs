//! How long a socket lives without a sign of its client.

use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_socket_that_answers_no_ping_is_closed() {
    let mut world = World::default();
    world.open(1);
    world.send(1, &subscribe(&["r"]));
    world.advance(Duration::from_millis(59_999));
    assert_eq!(world.received.remove(&1).unwrap(), ["ping"]);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.take(1), ["close 1008 no pong"]);
    assert_eq!((world.protocol.topics.len(), world.protocol.next_due()), (0, None));
}

#[test]
fn any_frame_and_any_pong_keep_a_socket_open() {
    let mut world = World::with(3);
    for _ in 0..5 {
        world.advance(secs(50));
        world.send(1, "no message at all");
        world.step(Event::Binary { socket: SocketId(2) });
        world.step(Event::Pong { socket: SocketId(3) });
    }
    assert_eq!(world.reached(1..=3), [0; 0]);
}

#[test]
fn a_socket_without_topics_stays() {
    let mut world = World::default();
    world.open(1);
    for _ in 0..100 {
        world.advance(secs(15));
        world.send(1, r#"{"type":"ping"}"#);
    }
    assert_eq!(world.take(1).len(), 100);
    world.end(1);
    assert_eq!(world.protocol.next_due(), None);
}

#[test]
fn a_drain_closes_every_socket() {
    let mut world = World::with(2);
    world.step(Event::Drain);
    assert_eq!([world.take(1), world.take(2)], [["close 1001 shutting down"]; 2]);
    assert_eq!((world.protocol.topics.len(), world.protocol.next_due()), (0, None));
}

#[test]
fn a_topic_cannot_be_ended() {
    let mut world = World::with(1);
    world.step(Event::EndRoom { room: "r".into() });
    assert_eq!(world.take(1), NOTHING);
}

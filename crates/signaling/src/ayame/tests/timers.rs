//! Pings and deadlines.

use super::*;

const PING: &str = r#"{"type":"ping"}"#;
const PONG: &str = r#"{"type":"pong"}"#;
fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A millisecond less.
fn almost(time: Duration) -> Duration {
    time.saturating_sub(Duration::from_millis(1))
}

#[test]
fn pings_begin_at_the_upgrade_and_go_on_after_accept() {
    let mut world = World::new(settings());
    world.open(1);
    world.advance(almost(secs(5)));
    assert_eq!(world.received(1), NOTHING);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.received(1), [PING]);
    world.send(1, &register("r"));
    world.mint(1);
    world.advance(secs(10));
    assert_eq!(world.received(1), [accept(1, false), PING.to_owned(), PING.to_owned()]);
}

#[test]
fn a_socket_that_does_not_register_is_closed_after_ten_seconds() {
    let mut world = World::new(settings());
    world.open(1);
    world.advance(secs(9));
    world.send(1, PONG);
    world.advance(almost(secs(1)));
    assert_eq!(world.received(1), [PING]);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.received(1).last().unwrap(), "close 1000 register timeout");
    world.end(1);
    world.assert_empty();
}

#[test]
fn each_pong_moves_one_deadline() {
    let mut world = World::pair(settings());
    world.advance(secs(59));
    world.send(1, PONG);
    world.send(2, PONG);
    world.advance(secs(50));
    world.send(2, PONG);
    world.send(1, r#"{"type":"candidate"}"#);
    world.advance(almost(secs(10)));
    let received = [world.received(1), world.received(2)].concat();
    assert!(!received.iter().any(|what| what.starts_with("close")), "{received:?}");
    world.advance(Duration::from_millis(1));
    assert_eq!(world.received(1), ["close 1000 pong timeout"], "a candidate is no pong");
    assert_eq!(world.received(2), [r#"{"type":"bye"}"#, "close 1000 peer closing"]);
}

#[test]
fn a_socket_that_sends_nothing_is_closed_by_the_read_timeout() {
    let mut world = World::new(AyameSettings { read_timeout: secs(20), ..settings() });
    world.join(1, "r");
    world.advance(secs(15));
    world.send(1, r#"{"type":"candidate"}"#);
    world.advance(almost(secs(20)));
    assert!(!world.received(1).iter().any(|what| what.starts_with("close")));
    world.step(Event::Pong { socket: SocketId(1) });
    world.advance(Duration::from_millis(1));
    assert_eq!(world.received(1), ["close 1000 read timeout"], "a control pong says nothing about the page");
    let mut world = World::new(AyameSettings { read_timeout: secs(3), ..settings() });
    world.open(1);
    world.advance(secs(3));
    assert_eq!(world.received(1), ["close 1000 read timeout"], "also before register");
}

#[test]
fn a_standalone_socket_has_only_the_read_timeout() {
    let mut world = World::new(settings());
    world.join_as(1, &register_standalone("r"));
    for _ in 0..4 {
        world.advance(secs(80));
        world.send(1, r#"{"type":"candidate"}"#);
        world.send(1, PONG);
    }
    assert_eq!(world.received(1), NOTHING);
    world.advance(secs(90));
    assert_eq!(world.received(1), ["close 1000 read timeout"]);
}

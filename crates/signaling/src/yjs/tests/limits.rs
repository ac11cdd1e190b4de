//! The bounds of topics and messages.

use super::*;

impl World {
    fn assert_refused(&mut self, socket: u64) {
        assert_eq!(self.take(socket), NOTHING);
        self.advance(REFUSED_FOR);
        assert_eq!(self.take(socket), [REFUSED]);
    }
}

const REFUSED: &str = "close 1008 too many topics, or one is too long";

#[test]
fn a_socket_has_at_most_128_topics() {
    let mut world = World::default();
    world.open(1);
    let names: Vec<_> = (0..128).map(|n| format!("t{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.send(1, &subscribe(&names));
    world.send(1, &subscribe(&names));
    assert_eq!(world.take(1), NOTHING);
    world.send(1, &unsubscribe(&["t0"]));
    world.send(1, &subscribe(&["one more"]));
    assert_eq!(world.take(1), NOTHING);
    world.send(1, &subscribe(&["too many"]));
    world.assert_refused(1);
    assert_eq!(world.dropped, [Dropped::Subscription]);
    assert_eq!(world.protocol.topics.len(), 0);
}

#[test]
fn a_socket_with_a_topic_that_is_refused_has_its_other_topics_for_a_second() {
    let mut world = World::with(1);
    let long = "x".repeat(257);
    world.enter(2, &subscribe(&["a", &long, "r"]));
    assert_eq!(world.dropped, [Dropped::Subscription]);
    world.advance(Duration::from_millis(999));
    world.send(1, &publish("r", "1"));
    assert_eq!(world.take(2), [published("r", "1", 2)], "it is not closed at once");
    world.advance(Duration::from_millis(1));
    assert_eq!(world.take(2), [REFUSED]);
    world.enter(3, &subscribe(&[&long]));
    world.end(3);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.take(3), NOTHING, "a page that has gone");
}

#[test]
fn a_list_is_read_up_to_its_129th_element() {
    let names: Vec<_> = (0..131).map(|n| format!("t{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut world = World::default();
    world.enter(1, &subscribe(&names));
    assert_eq!(world.protocol.topics.len(), 128);
    assert_eq!(world.dropped, [Dropped::Subscription], "and not three times");
    world.send(1, &unsubscribe(&[&["x"; 128][..], &names[..2]].concat()));
    assert_eq!(world.protocol.topics.len(), 127);
    world.assert_refused(1);
}

#[test]
fn the_name_of_a_topic_has_1_to_256_characters() {
    let longest = "😀".repeat(256);
    let mut world = World::default();
    for (socket, topic, is_good) in
        [(1, "", false), (2, &*format!("{longest}x"), false), (3, &*longest, true)]
    {
        world.enter(socket, &subscribe(&[topic]));
        world.advance(REFUSED_FOR);
        assert_eq!(world.closed.contains_key(&socket), !is_good);
    }
    world.send(3, &publish(&longest, "1"));
    assert_eq!(world.take(3), [published(&longest, "1", 1)]);
}

#[test]
fn a_topic_has_at_most_256_subscribers() {
    let mut world = World::with(257);
    assert_eq!(world.take(256), NOTHING);
    assert_eq!(world.take(257), [REFUSED]);
    world.send(1, &publish("r", "1"));
    assert_eq!(world.take(256), [published("r", "1", 256)]);
}

#[test]
fn at_most_10_000_topics_exist() {
    let mut world = World::default();
    for socket in 0..125 {
        world.open(socket);
        for n in 0..100 {
            world.send(socket, &subscribe(&[&format!("{socket}-{n}")]));
        }
    }
    world.enter(200, &subscribe(&["0-0"]));
    assert_eq!(world.take(200), NOTHING);
    world.send(200, &subscribe(&["new"]));
    world.assert_refused(200);
    world.open(201);
    world.send(1, &unsubscribe(&["1-1"]));
    world.send(201, &subscribe(&["new"]));
    assert_eq!(world.take(201), NOTHING);
}

#[test]
fn an_address_has_625_topics() {
    let mut world = World::default();
    for socket in 1..=5 {
        world.open_from(socket, client("192.0.2.1"), Upgrade::default());
        for n in 0..125 {
            world.send(socket, &subscribe(&[&format!("{socket}-{n}")]));
        }
    }
    assert_eq!((world.protocol.topics.len(), world.closed.len()), (625, 0));
    world.open_from(6, client("192.0.2.1"), Upgrade::default());
    world.send(6, &subscribe(&["1-0"]));
    assert_eq!(world.take(6), NOTHING, "a topic that exists counts for another socket");
    world.send(6, &subscribe(&["more"]));
    world.assert_refused(6);
    world.open_from(7, client("192.0.2.2"), Upgrade::default());
    world.send(7, &subscribe(&["more"]));
    assert_eq!(world.take(7), NOTHING, "another address");
}

#[test]
fn a_topic_counts_against_its_earliest_subscriber() {
    let mut world = World::default();
    for (socket, address) in [(1, "192.0.2.1"), (2, "192.0.2.2"), (3, "192.0.2.2")] {
        world.open_from(socket, client(address), Upgrade::default());
        world.send(socket, &subscribe(&["r"]));
    }
    let check = |world: &World| {
        let sockets = world.protocol.sockets.iter();
        world.protocol.topics.check(sockets.map(|(socket, own)| (*socket, &own.subscriptions)));
    };
    check(&world);
    for socket in 1..=3 {
        world.end(socket);
        check(&world);
    }
}

#[test]
fn a_socket_publishes_500_messages_at_once_and_then_50_a_second() {
    let mut world = World::with(1);
    for (seconds, frames) in [(0, 500), (1, 50)] {
        world.advance(Duration::from_secs(seconds));
        (0..frames).for_each(|_| world.send(1, &publish("r", "1")));
        assert_eq!(world.take(1).len(), frames);
    }
    world.send(1, r#"{"type":"ping"}"#);
    assert_eq!(world.take(1).len(), 1, "other frames have an allowance of their own");
    world.send(1, &publish("r", "1"));
    assert_eq!(world.take(1), ["close 1008 policy violation"]);
    assert_eq!(world.dropped, [Dropped::Flood]);
}

#[test]
fn the_subscribers_of_a_topic_are_sent_128_mib_at_once_and_then_16_a_second() {
    let mut world = World::with(256);
    world.send(2, &subscribe(&["other"]));
    // With what is added to it, such a message has 32 KiB. To all 256 that is 8 MiB.
    let fill = "x".repeat(32 * 1024 - published("r", r#""""#, 256).len());
    let message = publish("r", &format!("\"{fill}\""));
    let delivered = |world: &mut World, messages: u32| {
        (0..messages).for_each(|_| world.send(1, &message));
        world.take(256).len()
    };
    assert_eq!(delivered(&mut world, 17), 16);
    assert_eq!(world.dropped, [Dropped::FanOut]);
    world.send(1, &publish("other", "1"));
    assert_eq!(world.take(2).pop(), Some(published("other", "1", 1)), "other topics go on");
    world.advance(Duration::from_secs(1));
    assert_eq!(delivered(&mut world, 10), 2);
    assert_eq!(world.take(1).len(), 18, "its sender is not closed");
}

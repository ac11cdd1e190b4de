//! Of two pages that enter at once, one makes the offer.

use super::*;

const ANNOUNCE: &str = r#"{"type":"announce","from":"x"}"#;

/// Socket 1 has subscribed long ago. Sockets 2, 3 and 4 subscribe at the same moment.
fn three_newcomers() -> World {
    let mut world = World::with(1);
    for socket in 2..=4 {
        world.enter(socket, &subscribe(&["r"]));
    }
    world
}

#[test]
fn an_announcement_goes_to_earlier_subscribers_and_back() {
    let mut world = three_newcomers();
    for (socket, reached) in [(3, vec![1, 2, 3]), (2, vec![1, 2]), (4, vec![1, 2, 3, 4])] {
        world.send(socket, &publish("r", ANNOUNCE));
        assert_eq!(world.take(socket), [published("r", ANNOUNCE, 4)], "all subscribers are counted");
        assert_eq!(world.reached(1..=4), reached[..reached.len() - 1]);
    }
}

#[test]
fn an_encrypted_message_may_be_an_announcement() {
    let mut world = three_newcomers();
    world.send(2, &publish("r", r#""b3BhcXVl""#));
    assert_eq!(world.reached(1..=4), [1, 2]);
}

#[test]
fn only_the_first_message_of_a_subscription_is_an_announcement() {
    let mut world = three_newcomers();
    world.send(2, &publish("r", ANNOUNCE));
    world.send(3, &publish("r", r#"{"type":"signal"}"#));
    assert_eq!(world.reached(1..=4), [1, 2, 3, 4]);
    for socket in [2, 3] {
        world.send(socket, &publish("r", ANNOUNCE));
        assert_eq!(world.reached(1..=4), [1, 2, 3, 4]);
        world.send(socket, &subscribe(&["r"]));
        world.send(socket, &publish("r", ANNOUNCE));
        assert_eq!(world.reached(1..=4), [1, 2, 3, 4], "it was subscribed already");
    }
    world.send(2, &unsubscribe(&["r"]));
    world.send(2, &subscribe(&["r"]));
    world.send(4, &publish("r", ANNOUNCE));
    assert_eq!(world.reached(1..=4), [1, 3, 4], "a new subscription is the latest");
}

#[test]
fn other_data_go_to_all() {
    for data in ["null", "1", "{}", "[]", r#"["announce"]"#, r#"{"type":5}"#, r#"{"type":"signal"}"#] {
        let mut world = three_newcomers();
        world.send(2, &publish("r", data));
        assert_eq!(world.reached(1..=4), [1, 2, 3, 4], "{data}");
    }
    let mut world = three_newcomers();
    world.send(2, r#"{"type":"publish","topic":"r"}"#);
    assert_eq!(world.reached(1..=4), [1, 2, 3, 4]);
}

#[test]
fn after_a_second_an_announcement_goes_to_all() {
    for (millis, reached) in [(1_000, vec![1, 2]), (1_001, vec![1, 2, 3, 4])] {
        let mut world = three_newcomers();
        world.advance(Duration::from_millis(millis));
        world.send(2, &publish("r", ANNOUNCE));
        assert_eq!(world.reached(1..=4), reached, "{millis} ms");
    }
}

#[test]
fn each_topic_has_its_own_first_message() {
    let mut world = three_newcomers();
    for socket in [2, 3] {
        world.send(socket, &subscribe(&["s", "t"]));
    }
    for topic in ["r", "s", "t"] {
        world.send(2, &publish(topic, ANNOUNCE));
        assert_eq!(world.reached(3..=4), [0; 0], "{topic}");
    }
}

#[test]
fn a_sender_that_does_not_subscribe_reaches_all() {
    let mut world = three_newcomers();
    world.enter(5, &publish("r", ANNOUNCE));
    assert_eq!(world.reached(1..=5), [1, 2, 3, 4]);
}

#[test]
fn each_pair_meets_once_when_all_come_back_together() {
    let mut world = World::default();
    for socket in 1..=20 {
        world.enter(socket, &subscribe(&["r"]));
    }
    for socket in (1..=20).rev() {
        world.send(socket, &publish("r", &format!(r#"{{"type":"announce","from":{socket}}}"#)));
    }
    for socket in 1..=20 {
        let from_others = world.take(socket).len() - 1;
        assert_eq!(from_others, usize::try_from(20 - socket).unwrap(), "all that came later");
    }
}

//! Messages for an id that nobody holds.

use super::*;

#[test]
fn waiting_messages_arrive_right_after_open_in_order() {
    let mut world = World::with(2);
    world.send(1, &offer("late", 1));
    world.send(2, &offer("late", 2));
    world.send(1, &candidate("late", 3));
    world.end(1);
    world.advance(Duration::from_millis(4_999));
    world.open_as(3, "late", "t");
    let expected = [
        OPEN.to_owned(),
        forwarded("OFFER", "p1", "late", 1),
        forwarded("OFFER", "p2", "late", 2),
        forwarded("CANDIDATE", "p1", "late", 3),
    ];
    assert_eq!(world.take(3), expected);
    world.advance_secs(10);
    assert_eq!(world.take(2), NOTHING, "what was delivered does not expire");
    world.end(3);
    world.open_as(4, "late", "t");
    assert_eq!(world.take(4), [OPEN], "and is delivered once");
}

#[test]
fn each_message_waits_for_5_seconds() {
    let mut world = World::with(1);
    world.send(1, &offer("late", 1));
    world.advance_secs(4);
    world.send(1, &offer("late", 2));
    world.advance_secs(4);
    assert_eq!(world.take(1), [expire("late", "p1")]);
    world.open_as(2, "late", "t");
    assert_eq!(world.take(2), [OPEN.to_owned(), forwarded("OFFER", "p1", "late", 2)]);
}

#[test]
fn a_sender_is_told_once_of_an_offer_and_its_candidates() {
    let mut world = World::with(2);
    world.send(1, &offer("late", 1));
    for n in 0..3 {
        world.advance_secs(1);
        world.send(1, &candidate("late", n));
    }
    world.send(2, &offer("late", 2));
    world.advance(Duration::from_millis(1_999));
    assert_eq!(world.take(1), NOTHING);
    world.advance_secs(10);
    assert_eq!(world.take(1), [expire("late", "p1")]);
    assert_eq!(world.take(2), [expire("late", "p2")]);
    assert_eq!(world.dropped, [Dropped::Expired; 5], "each message counts");
}

#[test]
fn two_connections_begun_at_once_expire_at_once_and_a_later_one_on_its_own() {
    let mut world = World::with(1);
    world.send(1, &offer("late", 1));
    world.advance_secs(1);
    world.send(1, &offer("late", 2));
    world.advance(Duration::from_millis(1));
    world.send(1, &offer("late", 3));
    world.advance_secs(20);
    assert_eq!(world.take(1), [expire("late", "p1"), expire("late", "p1")]);
}

#[test]
fn at_most_128_messages_wait_for_an_id_and_whoever_has_most_makes_room_for_others() {
    let mut world = World::with(5);
    (0..129).for_each(|n| world.send(1, &offer("late", n)));
    assert_eq!(world.dropped, [Dropped::NotKept], "one address may have all, and no more");
    for (socket, numbers) in (2..).zip([200..240, 300..340, 400..401]) {
        numbers.for_each(|n| world.send(socket, &offer("late", n)));
    }
    assert_eq!(world.dropped, [Dropped::NotKept; 1 + 81], "the latest of the first one");
    (240..244).for_each(|n| world.send(2, &offer("late", n)));
    // The last one would not give the second one less.
    assert_eq!(world.dropped, [Dropped::NotKept; 1 + 81 + 4]);
    world.open_as(6, "late", "t");
    let received = world.take(6);
    let of = |peer, n| forwarded("OFFER", peer, "late", n);
    assert_eq!(received.len(), 1 + 128);
    assert_eq!((&received[44], &received[45]), (&of("p1", 43), &of("p2", 200)), "its first ones stay");
    assert_eq!(received[128], of("p2", 242));
}

#[test]
fn at_most_256_kib_of_messages_wait_for_an_id_and_whoever_has_most_makes_room_for_others() {
    let mut world = World::with(3);
    let big = |n: usize| {
        let overhead = forwarded("OFFER", "p1", "late", 0).len() + r#","x":"""#.len() - 1;
        let fill = "x".repeat(64 * 1024 - overhead - n.to_string().len());
        format!(r#"{{"type":"OFFER","dst":"late","payload":{{"n":{n},"x":"{fill}"}}}}"#)
    };
    (0..4).for_each(|n| world.send(1, &big(n)));
    world.send(2, &big(4));
    assert_eq!(world.dropped, [Dropped::NotKept]);
    world.send(1, &candidate("late", 5));
    assert_eq!(world.dropped, [Dropped::NotKept; 2], "not for itself");
    world.open_as(6, "late", "t");
    let received = world.take(6);
    assert_eq!(received.iter().skip(1).map(String::len).sum::<usize>(), 256 * 1024);
    assert_eq!(received.len(), 1 + 4);
}

#[test]
fn the_only_message_of_somebody_stays_whatever_its_size() {
    let mut world = World::with(2);
    let fill = "x".repeat(250 * 1024);
    world.send(1, &format!(r#"{{"type":"OFFER","dst":"late","payload":{{"x":"{fill}"}}}}"#));
    world.send(2, &format!(r#"{{"type":"OFFER","dst":"late","payload":{{"x":"{}"}}}}"#, &fill[..10_000]));
    assert_eq!(world.arrivals(["late".into()]), 1);
    assert_eq!(world.dropped, [Dropped::NotKept]);
}

#[test]
fn a_message_that_is_longer_than_what_may_wait_for_an_id_is_not_kept() {
    let mut world = World::with(1);
    let fill = "x".repeat(256 * 1024);
    world.send(1, &format!(r#"{{"type":"OFFER","dst":"late","payload":{{"x":"{fill}"}}}}"#));
    assert_eq!((world.arrivals(["late".into()]), &world.dropped[..]), (0, &[Dropped::NotKept][..]));
}

impl World {
    /// How many messages waited for these ids.
    fn arrivals(&mut self, ids: impl IntoIterator<Item = String>) -> usize {
        let mut arrived = 0;
        for id in ids {
            self.open_as(9_999, &id, "t");
            arrived += self.take(9_999).len() - 1;
            self.end(9_999);
        }
        arrived
    }
}

#[test]
fn at_most_512_messages_with_1_mib_of_an_address_wait() {
    let mut world = World::new();
    let addresses = (1..).zip(["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"]);
    for (socket, address) in addresses {
        let query = [("key", "peerjs"), ("id", &*format!("p{socket}")), ("token", "t")];
        world.open_from(socket, client(address), upgrade(&query));
    }
    let of_2_kib = |dst: &str| {
        let empty = r#"{"type":"OFFER","src":"p1","dst":"absent-100","payload":{"x":""}}"#.len();
        let fill = "x".repeat(2048 - empty);
        format!(r#"{{"type":"OFFER","dst":"{dst}","payload":{{"x":"{fill}"}}}}"#)
    };
    for n in 100..614 {
        world.send(1 + n % 3, &of_2_kib(&format!("absent-{n}")));
    }
    assert_eq!((world.protocol.waiting.ids(), world.dropped.len()), (512, 2));
    world.send(4, &offer("absent-100", 2));
    assert_eq!(world.dropped.len(), 2, "another address");
    world.open_as(9, "absent-100", "t");
    world.send(1, &offer("absent-101", 2));
    assert_eq!(world.dropped.len(), 2, "what was delivered no longer counts");
    world.advance_secs(5);
    let fill = "x".repeat(250 * 1024);
    let before = world.dropped.len();
    for n in 0..9 {
        world.send(1 + n % 3, &format!(r#"{{"type":"OFFER","dst":"big-{n}","payload":{{"x":"{fill}"}}}}"#));
    }
    assert_eq!((world.protocol.waiting.messages(), world.dropped.len() - before), (8, 1));
}

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
    world.open(3, "late", "t");
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
    world.open(4, "late", "t");
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
    world.open(2, "late", "t");
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
fn a_sender_that_has_gone_is_not_told() {
    let mut world = World::with(1);
    world.send(1, &offer("late", 1));
    world.end(1);
    world.advance_secs(10);
    assert_eq!(world.take(1), NOTHING);
    assert_eq!(world.protocol.next_due(), None);
}

#[test]
fn an_id_has_128_waiting_messages_and_whoever_has_more_than_32_makes_room_for_others() {
    let mut world = World::with(5);
    (0..129).for_each(|n| world.send(1, &offer("late", n)));
    assert_eq!(world.dropped, [Dropped::NotKept], "one address may have all, and no more");
    for (socket, numbers) in (2..).zip([200..232, 300..332, 400..432, 500..501]) {
        numbers.for_each(|n| world.send(socket, &offer("late", n)));
    }
    world.send(2, &offer("late", 232));
    assert_eq!(world.dropped, [Dropped::NotKept; 1 + 96 + 2], "each has its share");
    world.open(6, "late", "t");
    let received = world.take(6);
    let of = |peer, n| forwarded("OFFER", peer, "late", n);
    assert_eq!(received.len(), 1 + 128);
    assert_eq!((&received[32], &received[33]), (&of("p1", 31), &of("p2", 200)), "its first ones");
    assert_eq!(received[128], of("p4", 431));
}

#[test]
fn an_id_has_256_kib_of_waiting_messages_and_whoever_has_more_than_64_makes_room_for_others() {
    let mut world = World::with(5);
    let big = |n: usize| {
        let overhead = forwarded("OFFER", "p1", "late", 0).len() + r#","x":"""#.len() - 1;
        let fill = "x".repeat(64 * 1024 - overhead - n.to_string().len());
        format!(r#"{{"type":"OFFER","dst":"late","payload":{{"n":{n},"x":"{fill}"}}}}"#)
    };
    (0..4).for_each(|n| world.send(1, &big(n)));
    for (socket, n) in (2..).zip(4..7) {
        world.send(socket, &big(n));
    }
    assert_eq!(world.dropped, [Dropped::NotKept; 3]);
    world.send(1, &candidate("late", 7));
    world.send(5, &candidate("late", 8));
    world.open(6, "late", "t");
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

#[test]
fn a_sender_has_256_waiting_messages_512_kib_and_32_ids() {
    let mut world = World::with(3);
    (0..9).for_each(|id| (0..30).for_each(|n| world.send(1, &offer(&format!("late{id}"), n))));
    assert_eq!(world.arrivals((0..9).map(|id| format!("late{id}"))), 256);
    assert_eq!(world.dropped, [Dropped::NotKept; 14]);

    let fill = "x".repeat(100_000);
    for id in 0..10 {
        world.send(2, &format!(r#"{{"type":"OFFER","dst":"big{id}","payload":{{"x":"{fill}"}}}}"#));
    }
    assert_eq!(world.arrivals((0..10).map(|id| format!("big{id}"))), 5);

    (0..40).for_each(|id| world.send(3, &offer(&format!("many{id}"), 1)));
    world.send(3, &candidate("many0", 2));
    assert_eq!(world.arrivals((0..40).map(|id| format!("many{id}"))), 33);
    world.send(3, &offer("again", 1));
    assert_eq!(world.arrivals(["again".into()]), 1, "what was delivered no longer counts");
}

#[test]
fn messages_wait_for_5120_ids() {
    let mut world = World::with(162);
    for n in 0..5_121 {
        world.send(1 + n / 32, &offer(&format!("late{n}"), 1));
    }
    world.send(162, &candidate("late0", 2));
    assert_eq!(world.arrivals((0..5_121).map(|n| format!("late{n}"))), 5_121);
    world.send(162, &offer("late5120", 1));
    assert_eq!(world.arrivals(["late5120".into()]), 1);
}

#[test]
fn no_more_than_80_mib_wait() {
    let mut world = World::with(170);
    let fill = "x".repeat(250 * 1024);
    for peer in 1..=170 {
        for n in 0..2 {
            let dst = format!("late{peer}-{n}");
            world.send(peer, &format!(r#"{{"type":"OFFER","dst":"{dst}","payload":{{"x":"{fill}"}}}}"#));
        }
    }
    let ids = (1..=170).flat_map(|peer| [format!("late{peer}-0"), format!("late{peer}-1")]);
    assert_eq!(world.arrivals(ids), 80 * 1024 / 250);
}

impl World {
    /// How many messages waited for these ids.
    fn arrivals(&mut self, ids: impl IntoIterator<Item = String>) -> usize {
        let mut arrived = 0;
        for id in ids {
            self.open(9_999, &id, "t");
            arrived += self.take(9_999).len() - 1;
            self.end(9_999);
        }
        arrived
    }
}

#[test]
fn messages_of_an_address_wait_for_256_ids_and_those_of_a_48_for_four_times_as_many() {
    let mut world = World::new();
    let mut socket = 0;
    let mut waited_by = |world: &mut World, holder: Holder| {
        let before = world.protocol.waiting.ids();
        for _ in 0..9 {
            socket += 1;
            world.open_from(socket, &holder);
            (0..32).for_each(|n| world.send(socket, &offer(&format!("absent-{socket}-{n}"), 1)));
        }
        world.protocol.waiting.ids() - before
    };
    assert_eq!(waited_by(&mut world, client("192.0.2.1").into()), 256);
    let of_one_48 =
        (1..=5).map(|site| waited_by(&mut world, client(&format!("2001:db8:1:{site}::1")).into()));
    assert_eq!(of_one_48.collect::<Vec<_>>(), [256, 256, 256, 256, 0]);
    assert_eq!(waited_by(&mut world, client("192.0.2.2").into()), 256, "another address");
    world.send(1, &offer("absent-1-0", 2));
    assert_eq!(world.dropped.len(), 32 + 4 * 32 + 288 + 32, "a waited id takes no further place");
    world.advance_secs(5);
    assert_eq!(waited_by(&mut world, client("192.0.2.1").into()), 256);
    assert_eq!(waited_by(&mut world, user_at("192.0.2.1", "ann")), 256, "a user has as many");
    assert_eq!(waited_by(&mut world, user_at("192.0.2.9", "ann")), 0, "on all addresses");
    assert_eq!(waited_by(&mut world, user_at("192.0.2.1", "bob")), 256, "and the users of an address more");
}

#[test]
fn an_address_has_4_mib_of_waiting_messages() {
    let mut world = World::new();
    let padded = |dst: String| {
        offer(&dst, 1).replace("{\"n\":1}", &format!("{{\"n\":\"{}\"}}", "x".repeat(255 * 1024)))
    };
    for socket in 1..=10 {
        world.open_from(socket, client("192.0.2.1"));
        (0..2).for_each(|n| world.send(socket, &padded(format!("absent-{socket}-{n}"))));
    }
    assert_eq!((world.protocol.waiting.messages(), world.dropped.len()), (16, 4));
    world.open_from(11, client("192.0.2.2"));
    world.send(11, &padded("absent".to_owned()));
    assert_eq!(world.protocol.waiting.messages(), 17, "another address");
}

//! Entries and packages, from publish to delete or expiry.

use super::*;
use crate::p2pcf::rooms::LISTING_MAX;

#[test]
fn a_read_changes_nothing_and_lists_the_room() {
    let mut broker = Broker::new();
    broker.publish(&page("a"));
    let listing = broker.listing(&json!({"r": ROOM, "k": "context-b"}));
    let mut entry = page("a").data();
    entry.as_array_mut().unwrap().push(json!(START_MS));
    assert_eq!(listing, json!({"ps": [entry], "pk": []}));
    assert_eq!(broker.sessions(), ["session-a"]);
    assert_eq!(broker.listing(&json!({"r": "room-2"})), json!({"ps": [], "pk": []}), "rooms do not mix");
}

#[test]
fn only_a_publish_writes_and_gets_the_delete_key() {
    let mut broker = Broker::new();
    assert_eq!(broker.listing(&page("a").poll()), json!({"ps": [], "pk": []}));
    assert_eq!(broker.sessions(), [""; 0]);
    let listing = broker.listing(&page("a").publish(&json!([])));
    assert_eq!(listing["dk"].as_str().unwrap().len(), 24);
    assert_eq!(broker.sessions(), ["session-a"]);
    assert_eq!(broker.listing(&json!({"r": ROOM, "k": "context-a"}))["ps"], json!([]), "not for itself");
}

#[test]
fn the_delete_key_of_a_context_stays_the_same() {
    let (mut broker, a) = (Broker::new(), page("a"));
    let key = broker.publish(&a);
    assert_eq!(broker.publish(&a), key);
    assert_eq!(broker.publish(&a.changed()), key);
    assert_eq!(broker.publish(&a.reloaded()), key);
    assert_eq!(Broker::just_started().publish(&a), key, "after a restart");
    assert_ne!(broker.publish(&page("b")), key);
    assert_ne!(broker.publish(&Page { room: "room-2".to_owned(), ..a }), key);
}

#[test]
fn without_a_new_t_a_publish_changes_nothing() {
    let (mut broker, a, b) = (Broker::new(), page("a"), page("b"));
    broker.publish(&a);
    broker.listing(&a.publish(&json!([a.package_to(&b)])));
    assert_eq!(broker.listing(&b.poll())["pk"], json!([]));
    let earlier = Page { changed_at: a.changed_at - 5, ..a.clone() };
    broker.listing(&earlier.publish(&json!([a.package_to(&b)])));
    let listing = broker.listing(&b.poll());
    assert_eq!(listing["ps"][0][6], json!(START_MS - 5), "an earlier one is also new");
    assert_eq!(listing["pk"], json!([a.package_to(&b)]));
}

#[test]
fn a_package_stays_until_its_sender_drops_it() {
    let (mut broker, a, b, c) = (Broker::new(), page("a"), page("b"), page("c"));
    let packages = json!([a.package_to(&b), a.package_to(&c), a.package_to(&b)]);
    broker.listing(&a.publish(&packages));
    for _ in 0..3 {
        let received = broker.listing(&b.poll())["pk"].clone();
        assert_eq!(received, json!([a.package_to(&b), a.package_to(&b)]));
    }
    assert_eq!(broker.listing(&c.publish(&json!([])))["pk"], json!([a.package_to(&c)]));
    assert_eq!(broker.listing(&json!({"r": ROOM, "k": b.context}))["pk"], json!([]), "a read has no session");
    broker.listing(&a.changed().publish(&json!([a.package_to(&c)])));
    assert_eq!(broker.listing(&b.poll())["pk"], json!([]));
    assert_eq!(broker.listing(&c.poll())["pk"], json!([a.package_to(&c)]));
}

#[test]
fn a_page_cannot_use_the_session_of_another_one() {
    let (mut broker, ann, eve) = (Broker::new(), page("a"), page("e"));
    let (key, _) = (broker.publish(&ann), broker.publish(&page("b")));
    let forged = Page { session: ann.session.clone(), ..eve.clone() };
    let package = page("b").package_to(&ann);
    broker.listing(&page("b").changed().publish(&json!([package])));
    let refused = || Seen { status: 400, text: "Bad session id".to_owned() };
    assert_eq!(broker.post(&forged.publish(&json!([forged.package_to(&page("b"))]))), refused());
    assert_eq!(broker.post(&forged.poll()), refused(), "it would read packages for her");
    assert_eq!(broker.listing(&page("b").poll())["pk"], json!([]));
    broker.publish(&eve);
    assert_eq!(broker.post(&forged.publish(&json!([]))), refused(), "also with the time of its own entry");
    assert_eq!(broker.sessions(), ["session-a", "session-b", "session-e"]);

    broker.publish(&Page { room: "room-2".to_owned(), ..forged.clone() });
    assert_eq!(broker.ask(delete_request(&ann.delete(&key))).status, 200);
    broker.publish(&forged.changed());
}

#[test]
fn after_a_start_a_poll_does_not_restore_the_session_of_another_page() {
    let (mut broker, ann) = (Broker::just_started(), page("a"));
    broker.listing(&ann.poll());
    let forged = Page { session: ann.session.clone(), ..page("e") };
    assert_eq!(broker.post(&forged.poll()).status, 400);
    assert_eq!(broker.sessions(), ["session-a"]);
}

#[test]
fn a_delete_needs_context_session_and_key_of_one_entry() {
    let (mut broker, a, b) = (Broker::new(), page("a"), page("b"));
    let (key, of_b) = (broker.publish(&a), broker.publish(&b));
    let mut delete = |body: Value| broker.ask(delete_request(&body));
    let none = || Seen { status: 404, text: "No delete key".to_owned() };
    assert_eq!(delete(a.delete(&of_b)), none());
    assert_eq!(delete(a.delete("key")), none());
    assert_eq!(delete(a.reloaded().delete(&key)), none(), "another session");
    assert_eq!(delete(Page { room: "room-2".to_owned(), ..a.clone() }.delete(&key)), none());
    assert_eq!(delete(a.delete(&key)), Seen { status: 200, text: "{}".to_owned() });
    assert_eq!(delete(a.delete(&key)), none());
    assert_eq!(broker.sessions(), ["session-b"]);
    assert_eq!(broker.ask(delete_request(&b.delete(&of_b))).status, 200);
    assert!(broker.p2pcf.rooms.is_empty());
}

#[test]
fn an_entry_goes_half_a_minute_after_its_expiry() {
    let (mut broker, a) = (Broker::new(), page("a"));
    broker.publish(&a);
    broker.wait(100);
    broker.publish(&a);
    broker.wait(49);
    assert_eq!(broker.sessions(), ["session-a"], "the same t does not renew it");
    broker.publish(&page("b"));
    broker.wait(1);
    assert!(matches!(&broker.p2pcf.expire(broker.now)[..], [Action::Call(CallEvent::Left { .. })]));
    broker.publish(&page("b").changed());
    broker.wait(149);
    assert_eq!(broker.sessions(), ["session-b"], "a new t renews it");
    broker.wait(1);
    assert_eq!(broker.sessions(), [""; 0]);
    assert!(broker.p2pcf.rooms.is_empty());
}

#[test]
fn the_page_chooses_its_lifetime_up_to_15_minutes() {
    let mut broker = Broker::new();
    broker.publish(&Page { lifetime_ms: 1_000, ..page("short") });
    broker.publish(&Page { lifetime_ms: 86_400_000, ..page("long") });
    broker.wait(31);
    assert_eq!(broker.sessions(), ["session-long"]);
    broker.wait(15 * 60 - 2);
    assert_eq!(broker.sessions(), ["session-long"]);
    broker.wait(1);
    assert_eq!(broker.sessions(), [""; 0]);
}

#[test]
fn after_a_start_a_poll_restores_an_entry_without_a_key() {
    let (mut broker, a, b) = (Broker::just_started(), page("a"), page("b"));
    let key = Broker::new().publish(&a);
    broker.wait(149);
    assert_eq!(broker.listing(&a.poll()), json!({"ps": [], "pk": []}));
    assert_eq!(broker.sessions(), ["session-a"]);
    broker.listing(&a.publish(&json!([a.package_to(&b)])));
    assert_eq!(broker.listing(&b.poll())["pk"], json!([a.package_to(&b)]), "with the same t");
    broker.listing(&a.poll());
    assert_eq!(broker.listing(&b.poll())["pk"], json!([a.package_to(&b)]), "a poll replaces nothing");
    let deleted = broker.ask(delete_request(&a.delete(&key)));
    assert_eq!(deleted.status, 200, "the key of the last process");
}

#[test]
fn a_late_poll_does_not_restore_a_deleted_entry() {
    let (mut broker, a) = (Broker::just_started(), page("a"));
    broker.wait(150);
    let key = broker.publish(&a);
    assert_eq!(broker.ask(delete_request(&a.delete(&key))).status, 200);
    broker.listing(&a.poll());
    assert_eq!(broker.sessions(), [""; 0]);
}

#[test]
fn a_room_has_at_most_64_entries() {
    let mut broker = Broker::just_started();
    let pages: Vec<_> = (0..65).map(|n| page(&n.to_string())).collect();
    for page in &pages[..64] {
        broker.publish(page);
    }
    let full = Seen { status: 429, text: "Room is full".to_owned() };
    assert_eq!(broker.post(&pages[64].publish(&json!([]))), full);
    assert_eq!(broker.dropped, [Dropped::NoPlace]);
    assert_eq!(broker.listing(&pages[64].poll())["ps"].as_array().unwrap().len(), 64);
    assert_eq!(broker.dropped, [Dropped::NoPlace; 2], "the entry that the poll would restore is counted");
    broker.publish(&pages[0].changed());
    let elsewhere = Page { room: "room-2".to_owned(), ..pages[64].clone() };
    broker.publish(&elsewhere);
}

#[test]
fn one_address_fills_only_its_own_share() {
    let mut broker = Broker::new();
    let publish = |broker: &mut Broker, n: usize, holder: Holder, is_changed: bool| {
        let page = Page { room: format!("room-{n}"), ..page("a") };
        let page = if is_changed { page.changed() } else { page };
        let body = page.publish(&json!([])).to_string();
        broker.ask(Request { holder, ..post_request(body) })
    };
    let next = (0..1_000).find(|n| publish(&mut broker, *n, client(1), false).status != 200).unwrap();
    assert!((256..=512).contains(&next), "{next} entries");
    assert_eq!(broker.dropped, [Dropped::NoPlace]);
    let full = Seen { status: 429, text: "Too many entries".to_owned() };
    assert_eq!(publish(&mut broker, next, client(1), false), full);
    assert_eq!(publish(&mut broker, next, client(2), false).status, 200);
    assert_eq!(publish(&mut broker, 0, client(1), true).status, 200, "replacing needs no room");
    assert_eq!(publish(&mut broker, 1, client(3), true).status, 200, "it has moved");
    assert_eq!(publish(&mut broker, next + 1, client(1), false).status, 200, "which leaves room");
}

#[test]
fn a_listing_has_at_most_256_kib_and_leaves_out_the_packages_of_the_entries_that_changed_first() {
    let mut broker = Broker::new();
    let reader = page("reader");
    broker.publish(&reader);
    let fill = "x".repeat(29 * 1024);
    for n in 0..12 {
        broker.wait(1);
        let sender = page(&format!("{n:02}"));
        let mut package = sender.package_to(&reader);
        package[8] = json!([fill]);
        broker.listing(&sender.publish(&json!([package])));
    }
    broker.dropped.clear();
    let answer = broker.post(&reader.poll());
    assert!(answer.text.len() <= LISTING_MAX, "{}", answer.text.len());
    let listing: Value = serde_json::from_str(&answer.text).unwrap();
    let from = |package: &Value| package[1].as_str().unwrap().to_owned();
    let senders: Vec<_> = listing["pk"].as_array().unwrap().iter().map(from).collect();
    let expected: Vec<_> = (4..12).rev().map(|n| format!("session-{n:02}")).collect();
    assert_eq!((senders, listing["ps"].as_array().unwrap().len()), (expected, 12));
    assert_eq!(broker.dropped, [Dropped::FanOut; 4]);
}

//! What happens in calls.

use super::*;

#[test]
fn a_first_publish_joins_and_a_delete_leaves() {
    let (mut broker, a, b) = (Broker::new(), page("a"), page("b"));
    let key = broker.publish(&a);
    broker.publish(&a.changed());
    broker.listing(&b.poll());
    assert_eq!(broker.take_calls(), ["1 joined"], "neither another publish nor a poll joins");
    broker.publish(&b);
    assert_eq!(broker.take_calls(), ["2 joined"]);
    broker.ask(delete_request(&a.delete(&key)));
    broker.publish(&a);
    assert_eq!(broker.take_calls(), ["1 left", "3 joined"], "no member returns");
}

#[test]
fn a_member_whose_entry_expires_may_go_on_calling() {
    let mut broker = Broker::new();
    broker.publish(&page("a"));
    broker.wait(150);
    broker.sessions();
    assert_eq!(broker.take_calls(), ["1 joined", "1 may continue"]);
}

#[test]
fn a_page_that_is_loaded_again_is_another_member() {
    let (mut broker, a) = (Broker::new(), page("a"));
    broker.publish(&a);
    broker.publish(&a.reloaded());
    assert_eq!(broker.take_calls(), ["1 joined", "1 left", "2 joined"]);
}

#[test]
fn a_restored_entry_joins_once() {
    let (mut broker, a) = (Broker::just_started(), page("a"));
    broker.listing(&a.poll());
    broker.listing(&a.poll());
    broker.publish(&a);
    assert_eq!(broker.take_calls(), ["1 joined"]);
}

#[test]
fn a_new_package_for_a_live_session_connects() {
    let (mut broker, a, b, c) = (Broker::new(), page("a"), page("b"), page("c"));
    broker.listing(&a.publish(&json!([a.package_to(&b)])));
    assert_eq!(broker.take_calls(), ["1 joined"], "nobody is there");
    broker.listing(&b.publish(&json!([b.package_to(&a)])));
    assert_eq!(broker.take_calls(), ["2 joined", "connected"]);
    broker.publish(&c);
    let to_a_and_c = json!([b.package_to(&a), b.package_to(&c)]);
    broker.listing(&b.changed().publish(&to_a_and_c));
    assert_eq!(broker.take_calls(), ["3 joined", "connected"]);
    broker.listing(&b.changed().changed().publish(&to_a_and_c));
    assert_eq!(broker.take_calls(), [""; 0], "no package is new");
}

#[test]
fn the_call_is_named_like_the_room_and_a_member_has_the_user_of_its_token() {
    for body in [page("a").publish(&json!([])), page("a").poll()] {
        for user in [None, User::new("ann")] {
            let mut broker = Broker::just_started();
            let holder = Holder::new(client(1).client(), user.clone());
            broker.ask(Request { holder, ..post_request(body.to_string()) });
            let [CallEvent::Joined { call, user: known, grant: None, .. }] = &broker.calls[..] else {
                panic!()
            };
            assert_eq!((call.protocol.as_str(), &*call.room, known), ("p2pcf", ROOM, &user));
        }
    }
}

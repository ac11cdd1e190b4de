//! Who is in a room, for how long, and what that means for the call.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.as_bytes()[14] == b'4' && b"89ab".contains(&text.as_bytes()[19])
}

/// The events of a call, shortened: who joined or left, by name.
fn calls(world: &mut World) -> Vec<String> {
    let mut names = BTreeMap::new();
    let events = world.calls.drain(..).map(|event| match event {
        CallEvent::Joined { call, member, user, grant } => {
            assert_eq!((&*call.room, grant), ("r", None));
            let name = user.unwrap().as_str().to_owned();
            names.insert(member, name.clone());
            format!("joined {name}")
        }
        CallEvent::Connected { .. } => "connected".to_owned(),
        CallEvent::Left { member, media, .. } => format!("left {} {media:?}", names[&member]),
        CallEvent::Unused { .. } => panic!("nothing is minted"),
    });
    events.collect()
}

#[test]
fn a_new_user_sees_itself_and_a_meeting() {
    let mut world = World::new(SETTINGS);
    let ann = world.arrive("a", "ann");
    let mut state = world.state(ann);
    assert!(is_uuid(state["meetingId"].take().as_str().unwrap()));
    let user = json!({ "id": "a", "name": "ann", "joined": false, "raisedHand": false, "speaking": false, "tracks": {
        "audioEnabled": false, "audioUnavailable": false, "videoEnabled": false, "screenShareEnabled": false } });
    assert_eq!(state, json!({ "meetingId": null, "users": [user], "ai": { "enabled": false } }));
}

#[test]
fn all_users_of_a_room_share_a_meeting_and_are_in_the_order_of_their_ids() {
    let mut world = World::new(SETTINGS);
    let (zoe, ann) = (world.arrive("z", "zoe"), world.arrive("a", "ann"));
    let other = world.arrive_in("r2", "m", "mia");
    world.advance(SECOND);
    let (of_zoe, of_ann) = (world.state(zoe), world.state(ann));
    assert_eq!(of_zoe, of_ann);
    assert_eq!(ids(&of_ann), ["a", "z"]);
    let of_other = world.state(other);
    assert_eq!(ids(&of_other), ["m"]);
    assert_ne!(of_other["meetingId"], of_ann["meetingId"]);
}

#[test]
fn without_a_pk_the_room_makes_an_id() {
    let mut world = World::new(SETTINGS);
    let (one, two) = (world.arrive("", "ann"), world.arrive("", "ann"));
    world.advance(SECOND);
    let state = world.state(one);
    assert_eq!(ids(&state).len(), 2);
    assert!(ids(&state).iter().all(|id| is_uuid(id)));
    assert_eq!(world.close_of(two), None);
}

#[test]
fn a_socket_without_user_or_room_or_with_a_bad_id_is_closed() {
    let mut world = World::new(SETTINGS);
    let known = |pk: &str| upgrade("r", pk, "ann");
    for bad in [
        Upgrade { user: None, ..known("a") },
        Upgrade { room: None, ..known("a") },
        Upgrade { room: Some("".into()), ..known("a") },
        Upgrade { room: Some("r".repeat(257).into()), ..known("a") },
        known("a\n"),
        known(&"a".repeat(129)),
    ] {
        let socket = world.arrive_with(bad);
        assert_eq!(world.close_of(socket), Some((1008, "policy violation")));
    }
    world.assert_empty();
    let longest =
        world.arrive_with(Upgrade { room: Some("r".repeat(256).into()), ..known(&"a".repeat(128)) });
    assert_eq!(world.close_of(longest), None);
}

#[test]
fn a_silent_user_is_removed_after_15_to_30_seconds() {
    let (mut world, ann, bob) = World::pair();
    world.end(ann);
    world.pass_alive(25, &[bob]);
    assert_eq!(world.take_messages(bob), NOTHING, "the sweep after 15 s was a second too early");
    world.pass_alive(5, &[bob]);
    let frames = world.frames(bob);
    assert_eq!(frames[0], json!({ "type": "userLeftNotification", "id": "a" }));
    assert_eq!(ids(&frames[1]["state"]), ["b"]);
    assert_eq!(calls(&mut world), ["joined ann", "joined bob", "connected", "left ann Ends"]);
}

#[test]
fn a_user_is_not_removed_in_the_moment_in_which_15_seconds_are_over() {
    let mut world = World::new(SETTINGS);
    let ann = world.arrive("a", "ann");
    world.advance(15 * SECOND);
    assert_eq!(world.close_of(ann), None);
    world.advance(15 * SECOND);
    assert_eq!(world.close_of(ann), Some((1011, "no heartbeat")));
    world.assert_empty();
}

#[test]
fn each_arrival_sweeps_but_never_the_user_that_comes_back() {
    let (mut world, ann, bob) = World::pair();
    // The rooms' first sweep is over: the next one is 14 s away.
    world.advance(15 * SECOND);
    world.end(ann);
    world.end(bob);
    world.advance(SECOND);
    let again = world.arrive("a", "ann");
    assert_eq!(ids(&world.state(again)), ["a"]);
    assert_eq!(calls(&mut world), ["joined ann", "joined bob", "connected", "left bob Ends"]);
}

#[test]
fn every_15_seconds_the_state_is_sent_even_if_nothing_has_changed() {
    let (mut world, ann, bob) = World::pair();
    world.pass_alive(45, &[ann, bob]);
    assert_eq!(world.frames(ann).len(), 3);
}

#[test]
fn a_meeting_outlives_an_arrival_that_sweeps_all_others() {
    let mut world = World::new(SETTINGS);
    let ann = world.arrive("a", "ann");
    let meeting = world.state(ann)["meetingId"].take();
    world.advance(SECOND * 10);
    world.end(ann);
    // The sweep after 15 s comes a moment too early, the arrival does not.
    world.advance(SECOND * 6);
    let bob = world.arrive("b", "bob");
    let state = world.state(bob);
    assert_eq!((ids(&state), &state["meetingId"]), (vec!["b"], &meeting));
}

#[test]
fn two_sockets_with_one_pk_share_a_user_and_both_get_states() {
    let (mut world, ann, bob) = World::pair();
    let twin = world.arrive("a", "ann");
    assert_eq!(ids(&world.state(twin)), ["a", "b"]);
    world.advance(SECOND);
    world.frames(ann);
    world.tell(twin, &joined("s3/mic"));
    assert_eq!(world.state(ann)["users"][0]["tracks"]["audio"], "s3/mic");
    world.end(ann);
    world.pass_alive(30, &[twin, bob]);
    assert_eq!(ids(&world.state(bob)), ["a", "b"]);
    world.tell(twin, &json!({ "type": "userLeft" }));
    assert_eq!(world.take_messages(bob), [json!({ "type": "userLeftNotification", "id": "a" })]);
}

#[test]
fn the_id_of_another_user_cannot_be_taken() {
    let (mut world, ann, bob) = World::pair();
    let eve = world.arrive("b", "eve");
    assert_eq!(world.frames(eve), [json!({ "type": "error", "error": "USER_ID_TAKEN" })]);
    assert_eq!(world.close_of(eve), Some((1008, "policy violation")));
    world.tell(ann, &json!({ "type": "directMessage", "to": "b", "message": "psst" }));
    assert_eq!((world.take_messages(bob).len(), world.frames(eve).len()), (1, 0));
    world.pass_alive(35, &[ann]);
    assert_eq!(world.take_messages(ann), [json!({ "type": "userLeftNotification", "id": "b" })]);
    let eve = world.arrive("b", "eve");
    assert_eq!(world.close_of(eve), Some((1008, "policy violation")), "also after its user is gone");
    let bob = world.arrive("b", "bob");
    assert_eq!(world.close_of(bob), None, "its user comes back");

    for socket in [ann, bob] {
        world.tell(socket, &json!({ "type": "userLeft" }));
    }
    let eve = world.arrive("b", "eve");
    assert_eq!(world.close_of(eve), None, "in the next meeting");
}

#[test]
fn a_visitor_who_chooses_the_name_of_another_one_is_not_that_user() {
    let mut world = World::new(SETTINGS);
    let visitor = |visitor| Upgrade { visitor, ..upgrade("r", "a", "ann") };
    let ann = world.arrive_with(visitor(1));
    for other in [0, 2] {
        let eve = world.arrive_with(visitor(other));
        assert_eq!(world.frames(eve), [json!({ "type": "error", "error": "USER_ID_TAKEN" })]);
    }
    let again = world.arrive_with(visitor(1));
    assert!(world.close_of(ann).is_none() && world.close_of(again).is_none());
}

#[test]
fn a_call_is_connected_once_two_users_have_media() {
    let mut world = World::new(SETTINGS);
    let (ann, bob) = (world.arrive("a", "ann"), world.arrive("b", "bob"));
    world.tell(ann, &joined("s1/mic"));
    world.tell(bob, &json!({ "type": "userUpdate", "user": { "joined": true } }));
    assert_eq!(calls(&mut world), ["joined ann", "joined bob"]);
    world.tell(bob, &json!({ "type": "userUpdate", "user": { "tracks": { "audio": "s2/mic" } } }));
    assert_eq!(calls(&mut world), Vec::<String>::new(), "not joined");
    for _ in 0..2 {
        world.tell(bob, &joined("s2/mic"));
    }
    assert_eq!(calls(&mut world), ["connected"]);
}

#[test]
fn an_ended_room_closes_its_sockets_and_ends_the_media() {
    let (mut world, ann, bob) = World::pair();
    let far = world.arrive_in("r2", "f", "far");
    world.calls.pop();
    world.step(Event::EndRoom { room: "r".into() });
    world.step(Event::EndRoom { room: "unknown".into() });
    assert_eq!([ann, bob].map(|socket| world.close_of(socket)), [Some((1000, "room ended")); 2]);
    assert_eq!(world.close_of(far), None);
    assert_eq!(calls(&mut world)[3..], ["left ann Ends", "left bob Ends"]);
}

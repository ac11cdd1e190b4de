//! Each message of a client, and what the room does with it.

use super::*;

#[test]
fn an_update_is_stored_and_sent_to_all() {
    let (mut world, ann, bob) = World::pair();
    let user = json!({
        "id": "a", "name": "ann", "transceiverSessionId": "s1", "raisedHand": true, "speaking": true, "joined": true,
        "tracks": { "audio": "s1/mic", "audioEnabled": true, "audioUnavailable": true, "video": "s1/cam",
            "videoEnabled": true, "screenshare": "s1/screen", "screenShareEnabled": true },
    });
    world.tell(ann, &json!({ "type": "userUpdate", "user": user }));
    for socket in [ann, bob] {
        assert_eq!(world.state(socket)["users"][0], user);
    }
}

#[test]
fn unknown_members_of_a_user_are_dropped_and_absent_ones_are_left_out() {
    let (mut world, ann, _) = World::pair();
    let user = json!({ "joined": true, "admin": true, "tracks": { "audio": null, "hologram": "x" } });
    world.tell(ann, &json!({ "type": "userUpdate", "user": user }));
    let kept = json!({ "id": "a", "name": "ann", "raisedHand": false, "speaking": false, "joined": true,
        "tracks": { "audioUnavailable": false } });
    assert_eq!(world.state(ann)["users"][0], kept);
}

#[test]
fn an_update_that_is_not_a_user_or_too_long_changes_nothing() {
    let (mut world, ann, bob) = World::pair();
    let long_id = json!({ "type": "userUpdate", "user": { "tracks": { "audio": "x".repeat(257) } } });
    let control = json!({ "type": "userUpdate", "user": { "transceiverSessionId": "a\nb" } });
    let wrong = json!({ "type": "userUpdate", "user": { "joined": "yes" } });
    let missing = json!({ "type": "userUpdate" });
    for bad in [long_id, control, wrong, missing] {
        world.tell(ann, &bad);
        assert_eq!(world.frames(ann), [json!({ "type": "error", "error": "INVALID_MESSAGE" })], "{bad}");
    }
    let padded = |bytes: usize| {
        let update = json!({ "type": "userUpdate", "user": { "joined": true }, "pad": "" }).to_string();
        let pad = "x".repeat(bytes - update.len());
        update.replace(r#""pad":"""#, &format!(r#""pad":"{pad}""#))
    };
    world.send(ann, &padded(8_193));
    assert_eq!(world.frames(ann), [json!({ "type": "error", "error": "TOO_LARGE" })]);
    assert_eq!(world.frames(bob), NOTHING);
    world.send(ann, &padded(8_192));
    assert_eq!(world.state(ann)["users"][0]["joined"], true);
}

#[test]
fn a_direct_message_goes_to_one_user_with_the_name_of_its_sender() {
    let (mut world, ann, bob) = World::pair();
    let (eve, twin) = (world.arrive("e", "eve"), world.arrive("b", "bob"));
    world.tell(ann, &json!({ "type": "directMessage", "to": "b", "message": "hi", "from": "eve" }));
    let message = json!({ "type": "directMessage", "from": "ann", "message": "hi" });
    for socket in [bob, twin] {
        assert_eq!(world.take_messages(socket), std::slice::from_ref(&message));
    }
    world.tell(ann, &json!({ "type": "directMessage", "to": "nobody", "message": "hi" }));
    assert_eq!((world.take_messages(ann), world.take_messages(eve)), (vec![], vec![]));
}

#[test]
fn a_mute_reaches_the_muted_user_and_its_state() {
    let (mut world, ann, bob) = World::pair();
    world.tell(ann, &json!({ "type": "muteUser", "id": "b" }));
    assert_eq!(world.frames(bob)[0], json!({ "type": "muteMic" }));
    let state = world.state(ann);
    assert_eq!(state["users"][1]["tracks"]["audioEnabled"], false);
    assert_eq!(state["users"][1]["tracks"]["audio"], "s2/mic");
    assert_eq!(state["users"][0]["tracks"]["audioEnabled"], true);
    world.advance(Duration::from_secs(1));
    world.tell(ann, &json!({ "type": "muteUser", "id": "nobody" }));
    assert_eq!((world.frames(ann), world.frames(bob)), (vec![], vec![]));
}

#[test]
fn only_a_joined_user_of_the_same_room_may_mute() {
    let (mut world, ann, _) = World::pair();
    let (eve, far) = (world.arrive("e", "eve"), world.arrive_in("other", "f", "far"));
    world.tell(far, &joined("s9/mic"));
    world.advance(Duration::from_secs(1));
    for socket in [ann, eve, far] {
        world.frames(socket);
    }
    world.tell(eve, &json!({ "type": "muteUser", "id": "a" }));
    assert_eq!(world.frames(eve), [json!({ "type": "error", "error": "NOT_JOINED" })]);
    world.tell(far, &json!({ "type": "muteUser", "id": "a" }));
    assert_eq!((world.frames(far), world.frames(ann)), (vec![], vec![]));
}

#[test]
fn an_encrypted_message_goes_to_all_others_as_it_is() {
    let (mut world, ann, bob) = World::pair();
    let twin = world.arrive("a", "ann");
    let message = json!({ "type": "e2eeMlsMessage", "payload": "AAECAw==", "extra": 1 });
    world.tell(ann, &message);
    assert_eq!(world.take_messages(bob), [message]);
    assert_eq!((world.take_messages(ann), world.take_messages(twin)), (vec![], vec![]));
    world.tell(ann, &json!({ "type": "e2eeMlsMessage", "payload": [1] }));
    assert_eq!(world.take_messages(ann), [json!({ "type": "error", "error": "INVALID_MESSAGE" })]);
}

#[test]
fn the_ai_is_never_available() {
    let (mut world, ann, bob) = World::pair();
    let mut ai_after = |message: Value| {
        world.tell(ann, &message);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.frames(ann).len(), 1);
        world.state(bob)["ai"].take()
    };
    let refused = json!({ "enabled": false, "connectionPending": false, "error": "AI is not available" });
    let off = json!({ "enabled": false });
    let track = json!({ "sessionId": "s1", "trackName": "mic", "location": "remote" });
    assert_eq!(ai_after(json!({ "type": "requestAiControl", "track": track })), off);
    assert_eq!(ai_after(json!({ "type": "enableAi", "instructions": "be kind", "voice": "ash" })), refused);
    assert_eq!(ai_after(json!({ "type": "relenquishAiControl" })), refused);
    assert_eq!(ai_after(json!({ "type": "disableAi" })), off);
}

#[test]
fn broken_json_and_unknown_types_are_answered_to_their_sender() {
    let (mut world, ann, bob) = World::pair();
    for (code, texts) in [
        ("NOT_JSON", vec!["{", "[]", r#"["heartbeat"]"#, "{}", r#"{"type":7}"#]),
        ("UNKNOWN_TYPE", vec![r#"{"type":"dance"}"#, r#"{"type":"relinquishAiControl"}"#]),
        ("INVALID_MESSAGE", vec![r#"{"type":"directMessage","to":"b"}"#, r#"{"type":"muteUser"}"#]),
    ] {
        for text in texts {
            world.send(ann, text);
            assert_eq!(world.frames(ann), [json!({ "type": "error", "error": code })], "{text}");
        }
    }
    assert_eq!((world.frames(bob), world.close_of(ann)), (vec![], None));
}

#[test]
fn states_come_at_most_ten_times_a_second_and_the_last_one_always() {
    let (mut world, ann, bob) = World::pair();
    for n in 0..100 {
        world.tell(ann, &joined(&format!("s1/{n}")));
        world.advance(Duration::from_millis(20));
    }
    world.advance(Duration::from_secs(1));
    let states = world.frames(bob);
    assert!((20..=22).contains(&states.len()), "{} states in 2 s", states.len());
    assert_eq!(states.last().unwrap()["state"]["users"][0]["tracks"]["audio"], "s1/99");
}

#[test]
fn what_one_client_may_have_passed_on_is_bounded_in_bytes() {
    let (mut world, ann, bob) = World::pair();
    let message = json!({ "type": "e2eeMlsMessage", "payload": "x".repeat(63 * 1024) });
    for _ in 0..16 {
        world.tell(ann, &message);
    }
    assert_eq!((world.frames(bob).len(), world.close_of(ann)), (16, None));
    world.tell(ann, &message);
    assert_eq!((world.frames(bob).len(), world.close_of(ann)), (0, Some((1008, "policy violation"))));
    assert_eq!(world.dropped, [Dropped::Flood]);
}

#[test]
fn only_a_line_of_the_log_may_have_256_kib_and_it_is_dropped() {
    let (mut world, ann, bob) = World::pair();
    let long = "x".repeat(255 * 1024);
    let error = vec![json!({ "type": "error", "error": "TOO_LARGE" })];
    for (message, answer) in [
        (json!({ "type": "callsApiHistoryEntry", "entry": { "body": long }, "sessionId": "s1" }), &vec![]),
        (json!({ "type": "heartbeat" }), &vec![]),
        (json!({ "type": "partyserver-ping" }), &vec![json!({ "type": "partyserver-pong" })]),
        (json!({ "type": "e2eeMlsMessage", "payload": long }), &error),
        (json!({ "type": "directMessage", "to": "b", "message": long }), &error),
    ] {
        world.tell(ann, &message);
        assert_eq!(
            (world.frames(ann), world.frames(bob), world.close_of(ann)),
            (answer.clone(), vec![], None)
        );
    }
    assert_eq!(world.protocol.limits().frame_max, 256 * 1024);
}

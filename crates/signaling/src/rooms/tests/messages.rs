//! Each message of a client, and what the room does with it.

use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn an_update_is_stored_and_sent_to_all() {
    let (mut bench, ann, bob) = Bench::pair();
    let user = json!({
        "id": "a", "name": "ann", "transceiverSessionId": "s1", "raisedHand": true, "speaking": true, "joined": true,
        "tracks": { "audio": "s1/mic", "audioEnabled": true, "audioUnavailable": true, "video": "s1/cam",
            "videoEnabled": true, "screenshare": "s1/screen", "screenShareEnabled": true },
    });
    bench.send(ann, &json!({ "type": "userUpdate", "user": user }));
    for socket in [ann, bob] {
        assert_eq!(bench.state(socket)["users"][0], user);
    }
}

#[test]
fn unknown_members_of_a_user_are_dropped_and_absent_ones_are_left_out() {
    let (mut bench, ann, _) = Bench::pair();
    let user = json!({ "joined": true, "admin": true, "tracks": { "audio": null, "hologram": "x" } });
    bench.send(ann, &json!({ "type": "userUpdate", "user": user }));
    let kept = json!({ "id": "a", "name": "ann", "raisedHand": false, "speaking": false, "joined": true,
        "tracks": { "audioUnavailable": false } });
    assert_eq!(bench.state(ann)["users"][0], kept);
}

#[test]
fn an_update_that_is_not_a_user_or_too_long_changes_nothing() {
    let (mut bench, ann, bob) = Bench::pair();
    let long_id = json!({ "type": "userUpdate", "user": { "tracks": { "audio": "x".repeat(257) } } });
    let control = json!({ "type": "userUpdate", "user": { "transceiverSessionId": "a\nb" } });
    let wrong = json!({ "type": "userUpdate", "user": { "joined": "yes" } });
    let missing = json!({ "type": "userUpdate" });
    for bad in [long_id, control, wrong, missing] {
        bench.send(ann, &bad);
        assert_eq!(bench.take(ann), [json!({ "type": "error", "error": "INVALID_MESSAGE" })], "{bad}");
    }
    let padded = |bytes: usize| {
        let update = json!({ "type": "userUpdate", "user": { "joined": true }, "pad": "" }).to_string();
        let pad = "x".repeat(bytes - update.len());
        update.replace(r#""pad":"""#, &format!(r#""pad":"{pad}""#))
    };
    bench.send_text(ann, &padded(8_193));
    assert_eq!(bench.take(ann), [json!({ "type": "error", "error": "TOO_LARGE" })]);
    assert_eq!(bench.take(bob), NOTHING);
    bench.send_text(ann, &padded(8_192));
    assert_eq!(bench.state(ann)["users"][0]["joined"], true);
}

#[test]
fn a_direct_message_goes_to_one_user_with_the_name_of_its_sender() {
    let (mut bench, ann, bob) = Bench::pair();
    let (eve, twin) = (bench.open("e", "eve"), bench.open("b", "bob"));
    bench.send(ann, &json!({ "type": "directMessage", "to": "b", "message": "hi", "from": "eve" }));
    let message = json!({ "type": "directMessage", "from": "ann", "message": "hi" });
    for socket in [bob, twin] {
        assert_eq!(bench.take_messages(socket), std::slice::from_ref(&message));
    }
    bench.send(ann, &json!({ "type": "directMessage", "to": "nobody", "message": "hi" }));
    assert_eq!((bench.take_messages(ann), bench.take_messages(eve)), (vec![], vec![]));
}

#[test]
fn a_mute_reaches_the_muted_user_and_its_state() {
    let (mut bench, ann, bob) = Bench::pair();
    bench.send(ann, &json!({ "type": "muteUser", "id": "b" }));
    assert_eq!(bench.take(bob)[0], json!({ "type": "muteMic" }));
    let state = bench.state(ann);
    assert_eq!(state["users"][1]["tracks"]["audioEnabled"], false);
    assert_eq!(state["users"][1]["tracks"]["audio"], "s2/mic");
    assert_eq!(state["users"][0]["tracks"]["audioEnabled"], true);
    bench.pass(Duration::from_secs(1));
    bench.send(ann, &json!({ "type": "muteUser", "id": "nobody" }));
    assert_eq!((bench.take(ann), bench.take(bob)), (vec![], vec![]));
}

#[test]
fn only_a_joined_user_of_the_same_room_may_mute() {
    let (mut bench, ann, _) = Bench::pair();
    let (eve, far) = (bench.open("e", "eve"), bench.open_in("other", "f", "far"));
    bench.send(far, &joined("s9/mic"));
    bench.pass(Duration::from_secs(1));
    for socket in [ann, eve, far] {
        bench.take(socket);
    }
    bench.send(eve, &json!({ "type": "muteUser", "id": "a" }));
    assert_eq!(bench.take(eve), [json!({ "type": "error", "error": "NOT_JOINED" })]);
    bench.send(far, &json!({ "type": "muteUser", "id": "a" }));
    assert_eq!((bench.take(far), bench.take(ann)), (vec![], vec![]));
}

#[test]
fn an_encrypted_message_goes_to_all_others_as_it_is() {
    let (mut bench, ann, bob) = Bench::pair();
    let twin = bench.open("a", "ann");
    let message = json!({ "type": "e2eeMlsMessage", "payload": "AAECAw==", "extra": 1 });
    bench.send(ann, &message);
    assert_eq!(bench.take_messages(bob), [message]);
    assert_eq!((bench.take_messages(ann), bench.take_messages(twin)), (vec![], vec![]));
    bench.send(ann, &json!({ "type": "e2eeMlsMessage", "payload": [1] }));
    assert_eq!(bench.take_messages(ann), [json!({ "type": "error", "error": "INVALID_MESSAGE" })]);
}

#[test]
fn the_ai_is_never_available() {
    let (mut bench, ann, bob) = Bench::pair();
    let mut ai_after = |message: Value| {
        bench.send(ann, &message);
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.take(ann).len(), 1);
        bench.state(bob)["ai"].take()
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
    let (mut bench, ann, bob) = Bench::pair();
    let rows = [
        ("{", "NOT_JSON"),
        ("[]", "NOT_JSON"),
        (r#"["heartbeat"]"#, "NOT_JSON"),
        ("{}", "NOT_JSON"),
        (r#"{"type":7}"#, "NOT_JSON"),
        (r#"{"type":"dance"}"#, "UNKNOWN_TYPE"),
        (r#"{"type":"relinquishAiControl"}"#, "UNKNOWN_TYPE"),
        (r#"{"type":"directMessage","to":"b"}"#, "INVALID_MESSAGE"),
        (r#"{"type":"muteUser"}"#, "INVALID_MESSAGE"),
    ];
    for (text, code) in rows {
        bench.send_text(ann, text);
        assert_eq!(bench.take(ann), [json!({ "type": "error", "error": code })], "{text}");
    }
    assert_eq!((bench.take(bob), bench.close_of(ann)), (vec![], None));
}

#[test]
fn states_come_at_most_ten_times_a_second_and_the_last_one_always() {
    let (mut bench, ann, bob) = Bench::pair();
    for n in 0..100 {
        bench.send(ann, &joined(&format!("s1/{n}")));
        bench.pass(Duration::from_millis(20));
    }
    bench.pass(Duration::from_secs(1));
    let states = bench.take(bob);
    assert!((20..=22).contains(&states.len()), "{} states in 2 s", states.len());
    assert_eq!(states.last().unwrap()["state"]["users"][0]["tracks"]["audio"], "s1/99");
}

#[test]
fn what_one_client_may_have_passed_on_is_bounded_in_bytes() {
    let (mut bench, ann, bob) = Bench::pair();
    let message = json!({ "type": "e2eeMlsMessage", "payload": "x".repeat(63 * 1024) });
    for _ in 0..16 {
        bench.send(ann, &message);
    }
    assert_eq!((bench.take(bob).len(), bench.close_of(ann)), (16, None));
    bench.send(ann, &message);
    assert_eq!((bench.take(bob).len(), bench.close_of(ann)), (0, Some((1008, "policy violation"))));
    assert_eq!(bench.world.dropped, [Dropped::Flood]);
}

#[test]
fn only_a_line_of_the_log_may_have_256_kib_and_it_is_dropped() {
    let (mut bench, ann, bob) = Bench::pair();
    let long = "x".repeat(255 * 1024);
    let error = vec![json!({ "type": "error", "error": "TOO_LARGE" })];
    for (message, answer) in [
        (json!({ "type": "callsApiHistoryEntry", "entry": { "body": long }, "sessionId": "s1" }), &vec![]),
        (json!({ "type": "heartbeat" }), &vec![]),
        (json!({ "type": "partyserver-ping" }), &vec![json!({ "type": "partyserver-pong" })]),
        (json!({ "type": "e2eeMlsMessage", "payload": long }), &error),
        (json!({ "type": "directMessage", "to": "b", "message": long }), &error),
    ] {
        bench.send(ann, &message);
        assert_eq!((bench.take(ann), bench.take(bob), bench.close_of(ann)), (answer.clone(), vec![], None));
    }
    assert_eq!(bench.world.protocol.limits().frame_max, 256 * 1024);
}

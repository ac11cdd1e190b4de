//! What is passed on between two peers, and what is not.

use super::*;

#[test]
fn a_payload_keeps_its_bytes() {
    let mut world = World::with(2);
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for payload in [
        r#"{ "b":1.50, "a":1e400,"b":"\ud800é\/" ,"x": 12345678901234567890 }"#,
        "{\n}",
        &format!(r#"{{"deep":{deep}}}"#),
    ] {
        world.send(1, &format!(r#"{{"dst":"p2", "payload": {payload} ,"type":"OFFER"}}"#));
        assert_eq!(
            world.take(2),
            [format!(r#"{{"type":"OFFER","src":"p1","dst":"p2","payload":{payload}}}"#)]
        );
    }
}

#[test]
fn the_source_is_the_sender_and_other_members_are_dropped() {
    let mut world = World::with(3);
    for kind in ["OFFER", "ANSWER", "CANDIDATE"] {
        let more = r#""more":{"type":"LEAVE"},"clients":2"#;
        world.send(1, &format!(r#"{{"type":"{kind}","src":"p3","dst":"p2","payload":{{"n":1}},{more}}}"#));
        assert_eq!(world.take(2), [forwarded(kind, "p1", "p2", 1)]);
    }
    assert_eq!([world.take(1), world.take(3)], [NOTHING, NOTHING]);
}

#[test]
fn ids_are_escaped_and_compared_as_texts() {
    let mut world = World::new();
    world.open_as(1, r#"a"b\"#, "t");
    world.open_as(2, "ä😀", "t");
    let _ = (world.take(1), world.take(2));
    world.send(1, r#"{"type":"OFFER","dst":"\u00e4\ud83d\ude00","payload":{}}"#);
    assert_eq!(world.take(2), [r#"{"type":"OFFER","src":"a\"b\\","dst":"ä😀","payload":{}}"#]);
}

#[test]
fn leave_with_a_destination_is_passed_on_and_does_not_wait() {
    let mut world = World::with(2);
    world.send(1, r#"{"type":"LEAVE","dst":"p2"}"#);
    assert_eq!(world.take(2), [r#"{"type":"LEAVE","src":"p1","dst":"p2"}"#]);
    world.send(1, r#"{"type":"LEAVE","dst":"p3"}"#);
    world.open_as(3, "p3", "t3");
    assert_eq!(world.take(3), [OPEN]);
    world.advance_secs(10);
    assert_eq!(world.take(1), NOTHING, "and is not answered");
}

#[test]
fn what_no_client_sends_is_ignored() {
    let mut world = World::with(2);
    let texts = ["", "null", "5", "\"OFFER\"", "[]", r#"["OFFER","p2",{"n":1}]"#, "{", "{}"];
    let types = ["offer", "EXPIRE", "OPEN", "ERROR", "ID-TAKEN", "HEARTBEAT"];
    let of_types = types.map(|kind| format!(r#"{{"type":"{kind}","dst":"p2","payload":{{}}}}"#));
    let frames = [
        r#"{"type":5,"dst":"p2","payload":{}}"#,
        r#"{"type":null,"dst":"p2","payload":{}}"#,
        r#"{"type":"OFFER","dst":"p2","payload":{}"#,
        r#"{"type":"OFFER","payload":{}}"#,
        r#"{"type":"OFFER","dst":"","payload":{}}"#,
        r#"{"type":"OFFER","dst":5,"payload":{}}"#,
        r#"{"type":"OFFER","dst":["p2"],"payload":{}}"#,
        r#"{"type":"LEAVE","dst":5}"#,
        r#"{"type":"OFFER","dst":"p2"}"#,
        r#"{"type":"OFFER","dst":"p2","payload":null}"#,
        r#"{"type":"ANSWER","dst":"p2","payload":"sdp"}"#,
        r#"{"type":"CANDIDATE","dst":"p2","payload":[]}"#,
        r#"{"type":"HEARTBEAT"}"#,
    ];
    for odd in texts.into_iter().chain(frames).chain(of_types.iter().map(String::as_str)) {
        world.send(1, odd);
        assert_eq!([world.take(1), world.take(2)], [NOTHING, NOTHING], "{odd}");
    }
    world.send(1, &offer("p2", 1));
    assert_eq!(world.take(2).len(), 1, "the socket is still served");
}

#[test]
fn a_message_to_an_invalid_id_is_dropped() {
    let mut world = World::with(1);
    for dst in [r"a\nb", &"x".repeat(129)] {
        world.send(1, &offer(dst, 1));
    }
    world.advance_secs(10);
    assert_eq!(world.take(1), NOTHING);
}

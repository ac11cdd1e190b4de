//! Frames between members, and the errors of members.

use super::*;

#[test]
fn frames_pass_byte_for_byte_in_their_order() {
    let mut world = World::pair(settings());
    let odd = [
        "{ \"type\" :\t\"candidate\",\"ice\":{\"a\":1,\"a\":2.50}}\n",
        r#"{"sdp":"ü😀\u00fc","type":"offer"}"#,
        r#"{"type":"offer","type":"answer","roomId":7}"#,
        r#"{"type":"candidate","deep":[[[[{"x":{}}]]]],"big":123456789012345678901234567890}"#,
    ];
    for frame in odd {
        world.send(2, frame);
    }
    assert_eq!(world.received(1), odd);
    assert_eq!(world.received(2), NOTHING);
    world.send(1, r#"{"type":"answer","sdp":""}"#);
    assert_eq!(world.received(2), [r#"{"type":"answer","sdp":""}"#]);
}

#[test]
fn without_a_peer_frames_are_dropped_silently() {
    let mut world = World::new(settings());
    world.join(1, "r");
    world.join(3, "other");
    world.enter(2, &register("r"));
    for frame in [r#"{"type":"offer"}"#, r#"{"type":"answer"}"#, r#"{"type":"candidate"}"#] {
        world.send(1, frame);
    }
    assert_eq!([world.received(1), world.received(2), world.received(3)], [NOTHING; 3]);
    world.mint(2);
    assert_eq!(world.received(2), [accept(2, true)]);
}

#[test]
fn the_applications_own_messages_pass_if_the_operator_wants_it() {
    let mut world = World::pair(AyameSettings { type_message: true, ..settings() });
    world.send(1, r#"{"type":"message","any":[1]}"#);
    assert_eq!(world.received(2), [r#"{"type":"message","any":[1]}"#]);
    let mut world = World::pair(settings());
    world.send(1, r#"{"type":"message","any":[1]}"#);
    assert_eq!(world.received(1), ["close 1000 message type disabled"]);
}

#[test]
fn an_error_of_a_member_ends_its_room_without_a_reject() {
    for (frame, reason) in [
        (register("r").as_str(), "registered already"),
        (r#"{"type":"hello"}"#, "unknown type"),
        ("{}", "unknown type"),
        ("null", "invalid JSON"),
        ("[]", "invalid JSON"),
        ("{", "invalid JSON"),
    ] {
        let mut world = World::pair(settings());
        world.send(1, frame);
        assert_eq!(world.received(1), [format!("close 1000 {reason}")], "{frame}");
        assert_eq!(world.received(2), [r#"{"type":"bye"}"#, "close 1000 peer closing"], "{frame}");
    }
}

#[test]
fn the_members_are_connected_once_an_answer_has_passed() {
    let mut world = World::pair(settings());
    world.send(2, r#"{"type":"offer"}"#);
    assert_eq!(world.calls(), NOTHING);
    world.send(1, r#"{"type":"answer"}"#);
    world.send(2, r#"{"type":"answer"}"#);
    world.send(2, r#"{"type":"connected"}"#);
    assert_eq!(world.calls(), ["r connected"], "once");
    assert_eq!(world.received(2), [r#"{"type":"answer"}"#], "`connected` is not passed on");
}

#[test]
fn connected_counts_without_an_answer_but_not_without_a_peer() {
    let mut world = World::pair(settings());
    world.send(1, r#"{"type":"connected"}"#);
    assert_eq!(world.calls(), ["r connected"]);
    assert_eq!([world.received(1), world.received(2)], [NOTHING; 2]);
    let mut world = World::new(settings());
    world.join(1, "r");
    world.calls();
    world.send(1, r#"{"type":"connected"}"#);
    world.send(1, r#"{"type":"answer"}"#);
    assert_eq!(world.calls(), NOTHING);
}

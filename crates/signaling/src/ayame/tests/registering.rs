//! From the upgrade to `accept`, without a webhook.

use super::*;
use crate::ayame::message::{ID_MAX, REGISTRATION_BYTES_MAX};
use crate::ayame::{WAITING_BYTES_MAX, WAITING_FRAMES_MAX};

fn refused(frame: &str) -> Vec<String> {
    let mut world = World::new(settings());
    world.enter(1, frame);
    assert_eq!(world.asked(), NOBODY);
    world.end(1);
    world.assert_empty();
    world.received(1)
}

#[test]
fn a_connection_id_is_new_for_each_socket_and_made_at_the_upgrade() {
    let mut world = World::new(settings());
    world.open_with(1, Upgrade { wall_millis: 1_469_922_850_259, ..Upgrade::default() });
    world.send(1, r#"{"type":"register","roomId":"r"}"#);
    world.mint_with(1, None, None);
    assert!(world.received(1)[0].contains(r#""connectionId":"01ARZ3NDEK0000000000000001""#));
}

#[test]
fn a_client_that_waits_for_the_webhook_holds_no_place_and_a_full_room_costs_no_webhook() {
    let mut world = World::new(AyameSettings { has_authn_webhook: true, ..settings() });
    for socket in [1, 2, 3, 4] {
        world.enter(socket, &register("r"));
    }
    assert_eq!(world.asked(), [1, 2, 3, 4], "two places for four who ask");
    world.authorize(1, Some(r#"{"allowed":false,"reason":"no"}"#));
    assert_eq!(world.received(1)[0], r#"{"reason":"no","type":"reject"}"#);
    world.step(Event::EndRoom { room: "r".into() });
    for socket in [2, 3, 4] {
        world.authorize(socket, Some(r#"{"allowed":true}"#));
    }
    let full = [r#"{"reason":"full","type":"reject"}"#, "close 1000 room full"];
    assert_eq!(world.received(4), full, "both places are taken, although nobody is a member yet");
    world.mint(2);
    world.mint(3);
    assert_eq!([world.received(2), world.received(3)], [[accept(2, false)], [accept(3, true)]]);
    world.enter(5, &register("r"));
    assert_eq!(world.received(5), full);
    assert!(!world.asked().contains(&5));
}

#[test]
fn the_first_member_is_the_one_whose_reply_comes_first() {
    let mut world = World::new(settings());
    for socket in [1, 2] {
        world.enter(socket, &register("r"));
    }
    world.mint(2);
    world.mint(1);
    assert_eq!([world.received(1), world.received(2)], [[accept(1, true)], [accept(2, false)]]);
}

#[test]
fn anything_but_a_register_with_a_room_and_the_right_types_closes_without_a_reject() {
    let assert_refused =
        |reason: &str, frame: &str| assert_eq!(refused(frame), [format!("close 1000 {reason}")], "{frame}");
    for frame in [r#"{"type":"offer","sdp":""}"#, r#"{"type":"candidate"}"#, r#"{"type":"connected"}"#] {
        assert_refused("must register first", frame);
    }
    for frame in [r#"{"type":"hello"}"#, r#"{"type":7}"#, r#"{"type":null}"#, "{}"] {
        assert_refused("unknown type", frame);
    }
    for room in ["", r#","roomId":"""#, r#","roomId":"..""#, r#","roomId":null"#] {
        assert_refused("roomId missing", &format!(r#"{{"type":"register"{room}}}"#));
    }
    for frame in
        ["", "null", r#"[{"type":"register"}]"#, r#""register""#, r#"{"type":"register","roomId":7}"#]
    {
        assert_refused("invalid JSON", frame);
    }
    let rest = [r#""clientId":7}"#, r#""standalone":"true"}"#, r#""key":7}"#, r#""signalingKey":{}}"#];
    for rest in rest.into_iter().chain([r#""ayameClient":[]}"#, r#""key":"""#, r#""key":""}{}"#]) {
        assert_refused("invalid JSON", &format!(r#"{{"type":"register","roomId":"r",{rest}"#));
    }
}

#[test]
fn ids_and_registers_that_are_too_long_are_refused() {
    let frame = |room: usize, client: usize, metadata: usize| {
        let (room, client, metadata) = ("r".repeat(room), "c".repeat(client), "m".repeat(metadata));
        format!(
            r#"{{"type":"register","roomId":"{room}","clientId":"{client}","authnMetadata":"{metadata}"}}"#
        )
    };
    let mut world = World::new(settings());
    world.enter(1, &frame(ID_MAX, ID_MAX, 0));
    assert_eq!(world.asked(), [1]);
    for too_long in [frame(ID_MAX + 1, 1, 0), frame(1, ID_MAX + 1, 0)] {
        assert_eq!(refused(&too_long), ["close 1000 roomId or clientId too long"]);
    }
    let room = REGISTRATION_BYTES_MAX - frame(1, 1, 0).len();
    world.enter(2, &frame(1, 1, room));
    assert_eq!(world.asked(), [1, 2]);
    world.enter(3, &frame(1, 1, room + 1));
    assert_eq!(world.received(3), ["close 1009 register too long"]);
    assert_eq!(world.dropped, [Dropped::TooLong]);
}

#[test]
fn a_room_in_the_request_must_be_the_room_of_the_register() {
    let request = |query: &str, header: Option<&str>| Upgrade {
        query: vec![("roomId".to_owned(), query.to_owned())],
        room: header.map(Into::into),
        ..Upgrade::default()
    };
    for (query, header, is_good) in [
        ("r", None, true),
        ("", None, true),
        ("", Some(""), true),
        ("r", Some("r"), true),
        ("R", None, false),
        ("", Some("s"), false),
        ("r", Some("s"), false),
    ] {
        let mut world = World::new(settings());
        world.open_with(1, request(query, header));
        world.send(1, &register("r"));
        let expected: &[&str] = if is_good { &[] } else { &["close 1008 roomId mismatch"] };
        assert_eq!(world.received(1), expected, "{query} {header:?}");
        assert_eq!(world.asked().len(), usize::from(is_good));
    }
}

#[test]
fn a_request_may_ask_for_no_turn_servers() {
    for (value, is_minted) in
        [("1", true), ("yes", true), ("", false), ("0", false), ("OFF", false), ("f", false), ("no", false)]
    {
        let mut world = World::new(settings());
        let query = vec![("turn".to_owned(), value.to_owned())];
        world.open_with(1, Upgrade { query, ..Upgrade::default() });
        world.send(1, &register("r"));
        assert_eq!(world.asked().len(), usize::from(is_minted), "{value}");
        let received = world.received(1);
        assert_eq!(received.len(), usize::from(!is_minted), "{value}");
        assert!(received.iter().all(|accept| !accept.contains("iceServers")), "{received:?}");
    }
}

#[test]
fn a_mint_is_for_the_user_and_the_room() {
    let mut world = World::new(settings());
    world.open_with(1, Upgrade { user: User::new("ann"), ..Upgrade::default() });
    world.send(1, &register("r"));
    let Some((1, Question::Mint { room, user })) = world.questions.front() else { panic!() };
    assert_eq!((&**room, user.as_ref().map(User::as_str)), ("r", Some("ann")));
    world.mint(1);
    assert_eq!(world.calls(), ["1 joined r as ann with a grant"]);
}

#[test]
fn without_a_credential_a_client_is_accepted_all_the_same() {
    let stun = r#"[{"urls":["stun:s"]}]"#;
    let bad = r#"[{"urls":["turn:t"]},{"urls":"stun:s"}]"#;
    for (minted, given) in
        [(None, None), (Some("[]"), None), (Some(stun), Some(stun)), (Some(bad), Some(stun))]
    {
        let mut world = World::new(settings());
        world.enter(1, &register("r"));
        world.mint_with(1, minted, None);
        let given = given.map_or(String::new(), |servers| format!(r#","iceServers":{servers}"#));
        let accept = &world.received(1)[0];
        assert!(accept.ends_with(&format!(r#""isExistUser":false{given}}}"#)), "{accept}");
        assert_eq!(world.calls(), ["1 joined r as nobody with no grant"]);
    }
}

#[test]
fn frames_before_accept_are_handled_after_it_in_their_order() {
    let mut world = World::new(settings());
    world.join(1, "r");
    world.enter(2, &register("r"));
    for n in 0..WAITING_FRAMES_MAX - 1 {
        world.send(2, &format!(r#"{{"type":"candidate","n":{n}}}"#));
    }
    world.send(2, &register("r"));
    assert_eq!((world.received(1), world.received(2)), (vec![], vec![]));
    world.mint(2);
    let received = world.received(1);
    assert_eq!(received[..2], [r#"{"type":"candidate","n":0}"#, r#"{"type":"candidate","n":1}"#]);
    assert_eq!(received.len(), WAITING_FRAMES_MAX - 1 + 2, "and `bye`, and a close frame");
    assert_eq!(world.received(2), [accept(2, true), "close 1000 registered already".to_owned()]);
}

#[test]
fn too_many_frames_before_accept_close_the_socket() {
    let long = format!(r#"{{"type":"candidate","x":"{}"}}"#, "x".repeat(WAITING_BYTES_MAX - 27));
    assert_eq!(long.len(), WAITING_BYTES_MAX);
    for (frame, most) in [(r#"{"type":"candidate"}"#, WAITING_FRAMES_MAX), (&long, 1)] {
        let mut world = World::new(settings());
        world.enter(1, &register("r"));
        for _ in 0..most {
            world.send(1, frame);
            world.send(1, r#"{"type":"pong"}"#);
        }
        assert_eq!(world.received(1), NOTHING, "a pong does not wait");
        world.send(1, frame);
        assert_eq!(world.received(1), ["close 1000 too many messages before accept"]);
        assert_eq!(world.dropped, [Dropped::NotKept]);
    }
}

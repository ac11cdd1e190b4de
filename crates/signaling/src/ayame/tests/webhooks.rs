//! What the application is asked and told, and what its answers mean.

use serde_json::{Value, json};

use super::*;

fn with_webhooks() -> World {
    World::new(AyameSettings { has_authn_webhook: true, has_disconnect_webhook: true, ..settings() })
}

/// What a client receives when the webhook answers so. It has no credential.
fn answered(answer: Option<&str>) -> Vec<String> {
    let mut world = with_webhooks();
    world.enter(1, &register("r"));
    world.authorize(1, answer);
    if !world.questions.is_empty() {
        world.mint_with(1, None, None);
    }
    world.received(1)
}

fn body(webhook: &Webhook) -> Value {
    serde_json::from_str(&webhook.body).unwrap()
}

#[test]
fn the_webhook_gets_what_the_client_gave_and_nothing_else() {
    let mut world = with_webhooks();
    world.enter(1, r#"{"type":"register","roomId":"r"}"#);
    let asked = world.authorize(1, None);
    let expected = json!({"roomId": "r", "clientId": connection(1), "connectionId": connection(1)});
    assert_eq!(body(&asked), expected, "without a client id, the connection id");
    world.enter(
        2,
        r#"{"type":"register","roomId":"r","clientId":"c","key":"old","authnMetadata": {"b":1.50, "a":[null]},
            "ayameClient":"a","libwebrtc":"l","environment":"e","standalone":false,"other":1}"#,
    );
    let asked = world.authorize(2, None);
    let expected = json!({"roomId": "r", "clientId": "c", "connectionId": connection(2), "signalingKey": "old",
        "authnMetadata": {"b": 1.5, "a": [null]}, "ayameClient": "a", "libwebrtc": "l", "environment": "e"});
    assert_eq!(body(&asked), expected);
    assert!(asked.body.contains(r#"{"b":1.50, "a":[null]}"#), "metadata passes byte for byte");
}

#[test]
fn the_signaling_key_is_preferred_to_its_old_name() {
    let mut world = with_webhooks();
    world.enter(1, r#"{"type":"register","roomId":"r","signalingKey":"new","key":"old","clientId":""}"#);
    let asked = body(&world.authorize(1, None));
    assert_eq!((&asked["signalingKey"], &asked["clientId"]), (&json!("new"), &json!(connection(1))));
}

#[test]
fn the_last_of_two_equal_names_counts() {
    let mut world = with_webhooks();
    world.enter(1, r#"{"roomId":"a","type":"offer","type":"reg\u0069ster","room\u0049d":"b"}"#);
    assert_eq!(body(&world.authorize(1, None))["roomId"], "b");
}

#[test]
fn a_refusal_passes_its_reason_on() {
    let denied = |reason: &str| vec![reason.to_owned(), "close 1000 auth webhook denied".to_owned()];
    let refused = answered(Some(r#"{"allowed":false,"reason":"no \"luck\""}"#));
    assert_eq!(refused, denied(r#"{"reason":"no \"luck\"","type":"reject"}"#));
    for answer in [r#"{"allowed":false}"#, r#"{"allowed":false,"reason":null}"#] {
        assert_eq!(answered(Some(answer)), denied(r#"{"reason":"InternalServerError","type":"reject"}"#));
    }
}

#[test]
fn a_webhook_that_fails_or_answers_nonsense_refuses() {
    let refused = |answer: Option<&str>, reason: &str| {
        let reject = r#"{"reason":"InternalServerError","type":"reject"}"#.to_owned();
        assert_eq!(answered(answer), [reject, format!("close 1000 auth webhook {reason}")], "{answer:?}");
    };
    refused(None, "error");
    for nonsense in ["", "ok", "null", "[]", "{}"] {
        refused(Some(nonsense), "malformed");
    }
    for allowed in ["null", r#""true""#, "1", r#"false,"reason":7"#, r#"true,"iceServers":{}"#] {
        refused(Some(&format!(r#"{{"allowed":{allowed}}}"#)), "malformed");
    }
    refused(Some(r#"{"allowed":true,"iceServers":[{"urls":7}]}"#), "malformed");
}

#[test]
fn what_the_webhook_gives_reaches_the_client_byte_for_byte() {
    let given = r#""authzMetadata":{"z": 1.0,"a":"ü"},"iceServers":[{"urls" : ["stun:s"]}]"#;
    let accept = &answered(Some(&format!(r#"{{"allowed":true,{given}}}"#)))[0];
    assert!(accept.ends_with(&format!(r#""isExistUser":false,{given}}}"#)), "{accept}");
    for nothing in [r#"{"allowed":true}"#, r#"{"allowed":true,"authzMetadata":null,"iceServers":null}"#] {
        assert!(answered(Some(nothing))[0].ends_with(r#""isExistUser":false}"#));
    }
}

#[test]
fn servers_of_the_webhook_come_before_the_minted_ones() {
    let minted = r#"{"urls":["turn:t"],"username":"u","credential":"c"}"#;
    for (servers, first) in [
        (r#"[{"urls":"stun:s"}]"#, r#"{"urls":["stun:s"]},"#),
        (r#"[ {"urls" : ["stun:s"]} ]"#, r#"{"urls" : ["stun:s"]},"#),
        ("[]", ""),
        (r#"[{"urls":"turn:t"}]"#, ""),
    ] {
        let mut world = with_webhooks();
        world.enter(1, &register("r"));
        world.authorize(1, Some(&format!(r#"{{"allowed":true,"iceServers":{servers}}}"#)));
        world.mint_with(1, Some(&format!("[{minted}]")), Some(grant(1)));
        assert!(
            world.received(1)[0].ends_with(&format!(r#","iceServers":[{first}{minted}]}}"#)),
            "{servers}"
        );
        assert_eq!(world.calls(), ["1 joined r as nobody with a grant"]);
    }
}

#[test]
fn a_client_that_wants_no_turn_gets_the_servers_of_the_webhook_only() {
    let mut world = with_webhooks();
    world.open_with(1, Upgrade { query: vec![("turn".into(), "0".into())], ..Upgrade::default() });
    world.send(1, &register("r"));
    world.authorize(1, Some(r#"{"allowed":true,"iceServers":[{"urls":["stun:s"]}]}"#));
    assert!(world.received(1)[0].ends_with(r#","iceServers":[{"urls":["stun:s"]}]}"#));
    assert_eq!((world.asked(), world.calls().len()), (vec![], 1));
}

#[test]
fn a_reply_that_nobody_waits_for_changes_nothing() {
    let mut world = with_webhooks();
    world.open(1);
    world.reply(1, Reply::Authorized(Some(r#"{"allowed":true}"#.into())));
    world.reply(2, Reply::Authorized(None));
    world.send(1, &register("r"));
    world.reply(1, Reply::Minted { ice_servers: None, grant: None });
    assert_eq!((world.received(1), world.calls()), (vec![], vec![]));
    world.end(1);
    world.authorize(1, Some(r#"{"allowed":true}"#));
    assert_eq!(world.asked(), NOBODY, "no mint for a socket that has gone");
    world.assert_empty();
}

#[test]
fn the_end_of_each_socket_is_reported_once() {
    let mut world = with_webhooks();
    world.enter(1, "nonsense");
    world.enter(2, &register("r"));
    world.authorize(2, None);
    world.enter(3, &register("r"));
    world.authorize(3, Some(r#"{"allowed":true}"#));
    world.mint(3);
    assert_eq!(world.disconnect_webhooks, []);
    for socket in [1, 2, 3, 3, 7] {
        world.end(socket);
    }
    let told: Vec<_> = world.disconnect_webhooks.iter().map(body).collect();
    let never_registered = json!({"roomId": "", "clientId": "", "connectionId": connection(1)});
    let registered = |socket| json!({"roomId": "r", "clientId": "c", "connectionId": connection(socket)});
    assert_eq!(told, [never_registered, registered(2), registered(3)]);
}

#[test]
fn the_webhooks_of_an_address_are_called_for_128_sockets_at_once_and_then_4_a_second() {
    let mut world = with_webhooks();
    // Each socket that may calls both webhooks: as it registers, and as it ends.
    let calls = |world: &mut World, sockets: std::ops::Range<u64>, address: &str| {
        let (told, mut asked) = (world.disconnect_webhooks.len(), 0);
        for socket in sockets {
            world.open_from(socket, client(address), Upgrade::default());
            world.send(socket, &register(&socket.to_string()));
            asked += world.questions.drain(..).len();
            world.end(socket);
        }
        (asked, world.disconnect_webhooks.len() - told)
    };
    assert_eq!(calls(&mut world, 0..200, "192.0.2.1"), (128, 128));
    let reject = r#"{"reason":"InternalServerError","type":"reject"}"#;
    assert_eq!(world.received(199), [reject, "close 1000 too many registrations"]);
    assert_eq!(world.dropped, [Dropped::Flood; 2 * 72]);
    world.now += Duration::from_secs(1);
    assert_eq!(calls(&mut world, 200..300, "192.0.2.1"), (4, 4));
    assert_eq!(calls(&mut world, 300..301, "192.0.2.2"), (1, 1), "another address");
    let before = world.disconnect_webhooks.len();
    for socket in 400..500 {
        world.open_from(socket, client("192.0.2.3"), Upgrade::default());
        world.end(socket);
    }
    assert_eq!(world.disconnect_webhooks.len() - before, 100, "sockets that never register count, too");
}

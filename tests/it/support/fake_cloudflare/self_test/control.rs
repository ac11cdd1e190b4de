//! Tests of correct responses, checks, the fault plan, the history, stop and restart.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::super::{FakeCloudflare, Fault, Shape};
use super::bare_client::{Ask, End, MINT, address, mints_arrived};

#[tokio::test]
async fn a_correct_mint_is_201_and_its_request_and_credential_are_in_the_history() {
    let fake = FakeCloudflare::start().await;
    let reply = Ask::mint(600).of(&fake).await;
    let (username, credential) = fake.history().last_credential();

    assert_eq!((reply.status, reply.end), (201, End::Closed));
    assert!(reply.has("content-type: application/json"));
    assert_eq!(reply.json()["iceServers"][0]["urls"], json!(["stun:stun.cloudflare.com:3478"]));
    assert_eq!(reply.json()["iceServers"][1]["username"], username);
    assert_eq!(reply.json()["iceServers"][1]["credential"], credential);
    assert_eq!(fake.history().minted_secrets(), [username, credential]);

    let asked = fake.history().requests().remove(0);
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", MINT));
    assert_eq!(asked.authorization.as_deref(), Some("Bearer token"));
    assert_eq!(asked.user_agent.as_deref(), Some("self-test"));
    assert_eq!(asked.content_type.as_deref(), Some("application/json"));
    assert_eq!(asked.body, json!({ "ttl": 600, "customIdentifier": "grant-7" }));
    assert_eq!((asked.key_id.as_deref(), asked.ttl), (Some("some-key"), Some(600)));
    assert_eq!((asked.custom_identifier.as_deref(), asked.fault), (Some("grant-7"), None));
}

#[tokio::test]
async fn credentials_look_like_live_ones_and_never_repeat() {
    let fake = FakeCloudflare::start().await;
    for _ in 0..2 {
        Ask::mint(600).of(&fake).await;
    }
    let mut secrets = fake.history().minted_secrets();
    let all_hex = |digits: &str| digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    assert!(secrets.iter().all(|secret| secret.len() == 64 && all_hex(&secret["g0".len()..])));
    assert!(secrets.iter().step_by(2).all(|username| username.starts_with("g0")));
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), 4);
}

#[tokio::test]
async fn every_shape_has_the_form_that_its_name_says() {
    let fake = FakeCloudflare::start().await;
    for (name, shape) in Shape::NAMED {
        fake.shape(shape);
        let reply = Ask::mint(600).of(&fake).await;
        let servers = &reply.json()["iceServers"];
        let has_form = match shape {
            Shape::Current => servers[1]["urls"][5] == "turns:turn.cloudflare.com:443?transport=tcp",
            Shape::Legacy53 => servers[1]["urls"][3] == "turn:turn.cloudflare.com:53?transport=udp",
            Shape::Single => servers[0]["urls"].as_array().is_some_and(|urls| urls.len() == 7),
            Shape::Object => servers["username"].is_string(),
            Shape::StringUrls => servers[6]["urls"].is_string() && servers[6]["username"].is_string(),
            Shape::StunOnly => servers[1].is_null() && servers[0]["urls"].is_array(),
            Shape::NoCredential => servers[1]["urls"].is_array() && servers[1]["username"].is_null(),
            Shape::Empty => servers.as_array().is_some_and(Vec::is_empty),
        };
        assert!(reply.status == 201 && has_form, "{name}: {servers}");
    }
}

#[tokio::test]
async fn queued_faults_apply_first_then_the_permanent_one_until_healed() {
    let fake = FakeCloudflare::start().await;
    fake.always(Fault::NotFound404);
    fake.next(Fault::TooManyRequests);
    fake.next(Fault::Status200);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(Ask::mint(600).of(&fake).await.status);
    }
    fake.next(Fault::TooManyRequests);
    fake.heal();
    statuses.push(Ask::mint(600).of(&fake).await.status);
    assert_eq!(statuses, [429, 200, 404, 404, 201]);
}

#[tokio::test]
async fn at_100_percent_every_request_has_a_random_fault_until_healed() {
    let fake = FakeCloudflare::start().await;
    fake.misbehave(100);
    for arrived in 1..=10 {
        Ask::mint(600).impatient().of(&fake).await;
        mints_arrived(&fake, arrived).await;
    }
    fake.heal();
    assert_eq!(Ask::mint(600).of(&fake).await.status, 201);
    let faulty = fake.history().requests().iter().filter(|request| request.fault.is_some()).count();
    assert_eq!(faulty, 10);
}

#[tokio::test]
async fn keys_tokens_and_lifetimes_are_checked() {
    let fake = FakeCloudflare::start().await;
    for (ttl, status) in [(0, 400), (1, 201), (172_800, 201), (172_801, 400)] {
        assert_eq!(Ask::mint(ttl).of(&fake).await.status, status, "ttl {ttl}");
    }
    fake.require_key("some-key");
    fake.require_token("token");
    assert_eq!(Ask::mint(600).of(&fake).await.status, 201);
    assert_eq!(Ask { token: "another", ..Ask::mint(600) }.of(&fake).await.status, 401);
    fake.require_key("another-key");
    assert_eq!(Ask::mint(600).of(&fake).await.status, 404);
    assert_eq!((fake.history().mints(), fake.history().minted()), (7, 3));
}

#[tokio::test]
async fn a_credential_is_revoked_once_and_unknown_paths_are_404() {
    let fake = FakeCloudflare::start().await;
    Ask::mint(600).of(&fake).await;
    let (username, _) = fake.history().last_credential();
    let revoke = format!("/v1/turn/keys/some-key/credentials/{username}/revoke");
    let gone = Ask::path("POST", &revoke).of(&fake).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    for (method, path) in
        [("POST", revoke.as_str()), ("GET", MINT), ("POST", "/"), ("POST", "/v1/turn/keys/a/b")]
    {
        assert_eq!(Ask::path(method, path).of(&fake).await.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn the_observer_is_called_with_and_without_a_response() {
    let fake = FakeCloudflare::start().await;
    let observed = Arc::new(Mutex::new(Vec::new()));
    let observations = Arc::clone(&observed);
    fake.observe(move |request, status| observations.lock().unwrap().push((request.fault, status)));
    fake.next(Fault::ResetBeforeAnswer);
    Ask::mint(600).of(&fake).await;
    Ask::mint(600).of(&fake).await;
    assert_eq!(*observed.lock().unwrap(), [(Some(Fault::ResetBeforeAnswer), None), (None, Some(201))]);
}

#[tokio::test]
async fn a_stopped_provider_refuses_connections_and_restarts_on_its_port() {
    let fake = FakeCloudflare::start_on((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a free port");
    let base_url = fake.base_url();
    Ask::mint(600).of(&fake).await;
    for _ in 0..2 {
        fake.stop().await;
        let refused = TcpStream::connect(address(&fake)).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    for _ in 0..2 {
        fake.restart().await;
        assert_eq!(Ask::mint(600).of(&fake).await.status, 201);
    }
    assert_eq!((fake.base_url(), fake.history().mints()), (base_url, 3));
}

#[tokio::test]
async fn stopping_and_dropping_end_all_connections() {
    let fake = FakeCloudflare::start().await;
    fake.always(Fault::Hang);
    let (hanging, ()) = tokio::join!(Ask::mint(600).of(&fake), async {
        mints_arrived(&fake, 1).await;
        fake.stop().await;
    });
    assert_ne!(hanging.end, End::StillOpen);

    fake.restart().await;
    let address = address(&fake);
    let hanging = tokio::task::spawn_blocking(move || Ask::mint(600).blocking(address));
    mints_arrived(&fake, 2).await;
    drop(fake);
    assert_ne!(hanging.await.expect("the client does not panic").end, End::StillOpen);
}

//! `DOORS=cloudflare`: the bodies and statuses of Cloudflare's API.

use super::{KEY, OTHER_KEY, grants, with_keys};
use crate::support::prelude::*;

const LIST: &str = "/v1/turn/keys/any-key-id/credentials/generate-ice-servers";
const ONE: &str = "/v1/turn/keys/any-key-id/credentials/generate";

fn post(broker: &TestBroker, path: &str) -> RequestBuilder {
    broker.request(Method::POST, path)
}

async fn mint(broker: &TestBroker, path: &str, body: Value) -> Answer {
    Answer::of(post(broker, path).bearer_auth(KEY).json(&body)).await
}

async fn revoke(broker: &TestBroker, key: &str, username: &str) -> Answer {
    let path = format!("/v1/turn/keys/x/credentials/{username}/revoke");
    Answer::of(post(broker, &path).bearer_auth(key)).await
}

/// The user name of a minted list.
fn username(answer: &Answer) -> String {
    let body = answer.json();
    body["iceServers"][1]["username"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

#[tokio::test]
async fn a_list_and_one_server_have_cloudflares_fields_and_status() {
    let (cloudflare, broker) = with_keys(&[("TURN_TTL_SECONDS", "3600")]).await;
    let body = json!({"ttl": 600, "customIdentifier": "ann", "more": [1]});
    let list = mint(&broker, LIST, body.clone()).await;
    let (name, credential) = cloudflare.history().last_credential();
    assert_eq!(list.status, 201);
    let list = list.json();
    assert_eq!(list.as_object().unwrap().len(), 1, "{list}");
    assert_eq!(list["iceServers"][0]["urls"], json!(["stun:stun.cloudflare.com:3478"]));
    let relay = &list["iceServers"][1];
    assert_eq!(json!([relay["username"], relay["credential"]]), json!([name, credential]));
    assert!(relay["urls"].is_array());

    let one = mint(&broker, ONE, body).await;
    let (name, credential) = cloudflare.history().last_credential();
    assert_eq!(one.status, 201);
    let one = one.json()["iceServers"].clone();
    assert_eq!(json!([one["username"], one["credential"]]), json!([name, credential]));
    let urls: Vec<_> = one["urls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert!(
        urls.iter().any(|url| url.starts_with("stun:")) && urls.iter().any(|url| url.starts_with("turn:"))
    );
    let all = grants(&broker).await;
    assert!(all.iter().all(|grant| grant["user"] == "ann" && grant["label"] == "app"), "{all:?}");
}

#[tokio::test]
async fn a_life_is_shortened_to_the_longest_and_one_outside_of_cloudflares_bounds_is_refused() {
    let (_cloudflare, broker) = with_keys(&[("TURN_TTL_SECONDS", "3600")]).await;
    for (ttl, expires_at) in [
        (json!(null), "13:00:00"),
        (json!(1), "12:00:01"),
        (json!(600.0), "12:10:00"),
        (json!(3_601), "13:00:00"),
        (json!(172_800), "13:00:00"),
    ] {
        assert_eq!(mint(&broker, LIST, json!({"ttl": ttl})).await.status, 201, "{ttl}");
        let all = grants(&broker).await;
        let is_it = |grant: &Value| grant["expiresAt"] == format!("2025-01-15T{expires_at}.000Z");
        assert!(all.iter().any(is_it), "{ttl}: {all:?}");
    }
    for ttl in [json!(0), json!(172_801), json!(-1), json!("600"), json!(1.5), json!([])] {
        let answer = mint(&broker, LIST, json!({"ttl": ttl})).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{ttl}");
        assert_eq!(answer.json()["errors"][0]["code"], 400, "{}", answer.text);
    }
}

#[tokio::test]
async fn the_body_is_json_whatever_its_type_and_may_be_empty() {
    let (_cloudflare, broker) = with_keys(&[]).await;
    for (kind, body) in [
        ("text/plain", "{\"ttl\":600}"),
        ("application/x-www-form-urlencoded", " {} "),
        ("application/json", ""),
    ] {
        let request = post(&broker, LIST).bearer_auth(KEY).header("content-type", kind).body(body);
        assert_eq!(Answer::of(request).await.status, 201, "{kind} {body}");
    }
    for body in
        ["[]", "7", "{", "null", "ttl=600", "{\"customIdentifier\":7}", "{\"customIdentifier\":\".\"}"]
    {
        let answer = Answer::of(post(&broker, LIST).bearer_auth(KEY).body(body)).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{body}");
    }
}

#[tokio::test]
async fn only_a_server_key_may_call_and_a_wrong_one_counts() {
    let (cloudflare, broker) = with_keys(&[]).await;
    for path in [LIST, ONE, "/v1/turn/keys/x/credentials/name/revoke"] {
        let none = Answer::of(post(&broker, path).body("{}")).await;
        assert_eq!(none.error(), (401, "UNAUTHORIZED"), "{path}");
        assert!(
            none.json()["errors"][0]["message"].as_str().unwrap().contains("a server key"),
            "{}",
            none.text
        );
        for token in ["wrong", crate::support::OPERATOR, crate::support::REPORTER, API_TOKEN] {
            let request = post(&broker, path).bearer_auth(token).header("origin", "https://foreign.example");
            let answer = Answer::of(request.body("{}")).await;
            assert_eq!(answer.error(), (401, "UNAUTHORIZED"), "{path} {token}, whatever the origin");
        }
        let in_query = Answer::of(post(&broker, &format!("{path}?key={KEY}")).body("{}")).await;
        assert_eq!(in_query.status, 401, "{path}");
    }
    assert_eq!(broker.metric("turn_broker_wrong_tokens_total{role=\"server\"}").await, Some(12));
    assert_eq!(cloudflare.history().mints(), 0);
    assert_eq!(mint(&broker, LIST, json!({})).await.status, 201);
    for path in [LIST, ONE] {
        let get = broker.get_as(KEY, path).await;
        assert_eq!((get.error().0, get.header("allow")), (405, Some("POST")), "{path}");
    }
}

#[tokio::test]
async fn a_degraded_mint_is_201_with_stun_servers_and_a_spent_budget_429() {
    let (cloudflare, broker) = with_keys(&[]).await;
    cloudflare.always(Fault::NotFound404);
    let stun = json!("stun:stun.l.google.com:19302");
    let list = mint(&broker, LIST, json!({})).await;
    assert_eq!((list.status.as_u16(), &list.json()["iceServers"][0]["urls"][0]), (201, &stun));
    let one = mint(&broker, ONE, json!({})).await;
    let server = one.json()["iceServers"].clone();
    assert_eq!((one.status.as_u16(), &server["urls"][0]), (201, &stun));
    assert!(server.get("username").is_none());

    let (_cloudflare, spent) = with_keys(&[("BANDWIDTH_LIMIT_GB", "0")]).await;
    let refused = mint(&spent, LIST, json!({})).await;
    assert_eq!(refused.error(), (429, "BUDGET_EXHAUSTED"));
    let body = refused.json();
    assert_eq!(json!([body["errors"][0]["code"], body["bandwidthLimit"]]), json!([429, 0]), "{body}");
    assert!(spent.mint().await.json().get("errors").is_none(), "only where Cloudflare's clients call");
}

#[tokio::test]
async fn a_revocation_is_204_and_another_keys_credential_404() {
    let (cloudflare, broker) = with_keys(&[]).await;
    let (first, second) = (mint(&broker, LIST, json!({})).await, mint(&broker, LIST, json!({})).await);
    let (first, second) = (username(&first), username(&second));
    for name in [&first, "unknown", "%00", &"n".repeat(600)] {
        assert_eq!(revoke(&broker, OTHER_KEY, name).await.error(), (404, "NOT_FOUND"), "{name}");
    }
    assert_eq!(cloudflare.history().revoked(), 0);
    let revoked = revoke(&broker, KEY, &first).await;
    assert_eq!((revoked.status.as_u16(), &*revoked.text), (204, ""));
    assert_eq!(cloudflare.history().revoked(), 1);
    let states: Vec<_> = grants(&broker).await.iter().map(|grant| grant["revokedAt"].is_string()).collect();
    assert_eq!(states.iter().filter(|revoked| **revoked).count(), 1);
    // An anonymous caller's credential is no key's.
    broker.mint().await;
    let (anonymous, _) = cloudflare.history().last_credential();
    assert_eq!(revoke(&broker, KEY, &anonymous).await.status, 404);
    broker.advance(86_400 + 7_300);
    assert_eq!(revoke(&broker, KEY, &second).await.status, 404, "it is over");
}

#[tokio::test]
async fn a_credential_is_found_again_after_a_restart_and_at_a_coturn() {
    let state = crate::support::StateDir::new();
    let settings = [super::KEYS, ("DOORS", "cloudflare"), ("STATE_DIR", state.path())];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let name = username(&mint(&broker, LIST, json!({})).await);
    broker.finish().await;
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    assert_eq!(revoke(&broker, OTHER_KEY, &name).await.status, 404);
    assert_ne!(revoke(&broker, KEY, &name).await.status, 404);

    let coturn = TestBroker::start(&[&COTURN[..], &settings[..2]].concat()).await;
    let minted = mint(&coturn, ONE, json!({"ttl": 600})).await.json();
    let name = minted["iceServers"]["username"].as_str().unwrap().to_owned();
    assert_eq!(revoke(&coturn, OTHER_KEY, &name).await.status, 404);
    assert_eq!(revoke(&coturn, KEY, &name).await.status, 204);
}

/// Nobody can ask such a provider to revoke, so the credential works on. Its grant ends here.
#[tokio::test]
async fn a_credential_of_another_provider_is_revoked_here() {
    let list = Reply::Text(r#"[{"urls":"turn:a.example:3478","username":"a-name","credential":"c"}]"#);
    let provider = FakeWebhook::start(&[list; 3]).await;
    let (url, state) = (provider.url(), crate::support::StateDir::new());
    let source = [("ICE_SOURCES", "http"), ("HTTP_ICE_URL", url.as_str()), ("STATE_DIR", state.path())];
    let settings = [&source[..], &[super::KEYS, ("DOORS", "cloudflare")]].concat();
    let broker = TestBroker::start(&settings).await;
    assert_eq!(broker.mint().await.status, 200, "that of a page has the same name");
    assert_eq!(revoke(&broker, KEY, "a-name").await.status, 404, "it is no key's");
    assert_eq!(mint(&broker, LIST, json!({})).await.status, 201);
    broker.finish().await;

    let broker = TestBroker::start(&settings).await;
    for (key, name) in [(OTHER_KEY, "a-name"), (KEY, "another")] {
        assert_eq!(revoke(&broker, key, name).await.error(), (404, "NOT_FOUND"), "{name}");
    }
    assert_eq!(revoke(&broker, KEY, "a-name").await.status, 204);
    let all = grants(&broker).await;
    let revoked: Vec<_> =
        all.iter().map(|grant| (grant["label"] == "app", grant["revokedAt"].is_string())).collect();
    assert!(revoked.iter().all(|(is_of_key, is_revoked)| is_of_key == is_revoked), "{all:?}");
}

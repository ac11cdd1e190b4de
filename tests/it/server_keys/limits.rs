//! The limit of a server key: its share of the period, with reservation in strict mode.

use super::{KEY, KEYS, OTHER_KEY, with_keys};
use crate::support::prelude::*;

async fn mint(broker: &TestBroker, user: &str) -> Answer {
    let path = format!("/api/turn-credentials?user={user}");
    broker.get_as(KEY, &path).await
}

/// Bytes of a page with this grant.
async fn spend(broker: &TestBroker, grant: &str, bytes: u64) {
    broker.open(grant, "c").await;
    broker.advance(1);
    let body = json!({"bytesReceived": bytes});
    assert_eq!(broker.heartbeat(grant, "c", body).await.status, 200);
}

/// A key is the sign-in of the pages that it minted for, for as long as it is set.
#[tokio::test]
async fn where_users_must_sign_in_a_grant_of_a_key_renews_while_the_key_is_set() {
    let state = StateDir::new();
    let settings =
        [USERS, ("AUTH_REQUIRED", "true"), ("STATE_DIR", state.path()), ("TURN_TTL_SECONDS", "600")];
    let (_cloudflare, broker) = with_keys(&settings).await;
    let grant = mint(&broker, "ann").await.grant();
    broker.advance(500);
    let renewed = broker.mint_with(&grant).await;
    assert_eq!(renewed.status, 200);
    broker.finish().await;
    let without = ("SERVER_KEYS", "janus=janus-fixture-key-0123456789-012345678");
    // It renews from 950 s on.
    for (keys, status, later) in [(without, 401, 460), (KEYS, 200, 0)] {
        let (_cloudflare, broker) = with_keys(&[&settings[..], &[keys]].concat()).await;
        broker.advance(later);
        assert_eq!(broker.mint_with(&renewed.grant()).await.status, status, "{keys:?}");
        broker.finish().await;
    }
}

#[tokio::test]
async fn a_key_that_has_used_its_limit_gets_429_with_the_figures_and_nobody_else() {
    let state = StateDir::new();
    let settings = [("SERVER_KEY_LIMITS", "app=0.001"), ("STATE_DIR", state.path())];
    let (_cloudflare, broker) = with_keys(&settings).await;
    let grant = mint(&broker, "ann").await.grant();
    spend(&broker, &grant, 2_000_000).await;
    let refused = mint(&broker, "bob").await;
    assert_eq!(refused.error(), (429, "KEY_LIMIT_REACHED"));
    let body = refused.json();
    assert_eq!(json!([body["bandwidthUsed"], body["bandwidthLimit"]]), json!(["0.00", 0.001]));
    assert_eq!(body["resetDate"], "2025-02-01T00:00:00.000Z");
    assert!(refused.header("retry-after").is_some() && refused.header("ratelimit-limit").is_some());
    for (other, status) in [(broker.mint_with(OTHER_KEY).await, 200), (broker.mint().await, 200)] {
        assert_eq!(other.status, status, "{}", other.text);
    }
    let door = "/v1/turn/keys/x/credentials/generate";
    let refused = Answer::of(broker.request(Method::POST, door).bearer_auth(KEY)).await;
    assert_eq!(refused.error(), (429, "KEY_LIMIT_REACHED"));
    assert_eq!(broker.metric("turn_broker_key_refusals_total").await, Some(2));
    broker.finish().await;

    // After a restart it is still spent; in the next period it is not.
    let (_cloudflare, broker) = with_keys(&settings).await;
    assert_eq!(mint(&broker, "bob").await.error(), (429, "KEY_LIMIT_REACHED"));
    let keys = broker.overview().await["serverKeys"].clone();
    let expected = json!([
        {"name": "app", "used": 2_000_000, "limit": 1_000_000},
        {"name": "janus", "used": 0, "limit": null},
    ]);
    assert_eq!(keys, expected);
    let line = "turn_broker_server_key_bytes{key=\"app\"}";
    assert_eq!(broker.metric(line).await, Some(2_000_000));
    let rows = broker.operator("/api/spenders?by=key").await.json();
    assert_eq!(json!([rows["spenders"][0]["key"], rows["spenders"][0]["bytes"]]), json!(["app", 2_000_000]));
    broker.advance_to("2025-02-01T00:00:01Z");
    assert_eq!(mint(&broker, "bob").await.status, 200);
}

#[tokio::test]
async fn what_a_server_reports_counts_for_its_key() {
    let (_cloudflare, broker) =
        with_keys(&[("SERVER_KEY_LIMITS", "app=0.001"), ("LIMIT_ACTION", "fallback")]).await;
    broker.post(KEY, "/api/connections", json!({"connectionId": "call-1", "user": "ann"})).await;
    broker.advance(1);
    broker.heartbeat(KEY, "call-1", json!({"bytesReceived": 3_000_000})).await;
    assert_eq!(mint(&broker, "ann").await.error(), (429, "KEY_LIMIT_REACHED"));
}

#[tokio::test]
async fn a_blocked_key_mints_nothing_at_once_and_after_a_restart_and_its_pages_renew_nothing() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path())];
    let (_first, broker) = with_keys(&settings).await;
    let grant = mint(&broker, "ann").await.grant();
    let blocked = broker.order(Method::POST, "/api/block?key=app&for=365d").await.json();
    assert_eq!(json!([blocked["by"], blocked["key"]]), json!(["key", "app"]));
    assert_eq!(mint(&broker, "ann").await.error(), (403, "BLOCKED"));
    // Nor does it vouch for bytes, which could end the calls of others.
    assert_eq!(broker.open(KEY, "call-1").await.error(), (403, "BLOCKED"));
    assert_eq!(broker.heartbeat(KEY, "call-1", json!({})).await.error(), (403, "BLOCKED"));
    assert_eq!(broker.mint_with(OTHER_KEY).await.status, 200);
    broker.advance(80_000);
    assert_eq!(broker.mint_with(&grant).await.error(), (403, "BLOCKED"));
    broker.finish().await;
    let (_second, broker) = with_keys(&settings).await;
    assert_eq!(mint(&broker, "ann").await.error(), (403, "BLOCKED"));
    broker.order(Method::DELETE, "/api/block?key=app").await;
    assert_eq!(mint(&broker, "ann").await.status, 200);
}

#[tokio::test]
async fn a_key_that_left_its_file_mints_no_more_and_a_bad_file_changes_nothing() {
    let directory = StateDir::new();
    let file = format!("{}/server-keys", directory.path());
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(KEYS.1);
    let settings = [("SERVER_KEYS_FILE", file.as_str()), ("SERVER_KEY_LIMITS", "app=1000")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    for key in [KEY, OTHER_KEY] {
        assert_eq!(broker.mint_with(key).await.status, 200);
    }
    write(&format!("app={OTHER_KEY},janus={OTHER_KEY}"));
    let added = "new-fixture-key-0123456789-0123456789-01";
    let mints = async |key| broker.mint_with(key).await.status == 200;
    assert!(mints(KEY).await, "one key for two names is refused");
    write(&format!("janus={OTHER_KEY}\nnew={added}\n"));
    let names = async || broker.operator("/api/overview").await.json()["serverKeys"].to_string();
    eventually("the file is read", async || names().await.contains("new")).await;
    assert!(mints(added).await);
    assert_eq!(broker.mint_with(KEY).await.error(), (401, "INVALID_TOKEN"));
    assert!(mints(OTHER_KEY).await);
}

#[tokio::test]
async fn all_that_a_key_has_minted_is_revoked_with_what_pages_renewed_and_nothing_else() {
    let (cloudflare, broker) = with_keys(&[]).await;
    let first = mint(&broker, "ann").await.grant();
    broker.advance(80_000);
    let renewed = broker.mint_with(&first).await.grant();
    let others = [broker.mint_with(OTHER_KEY).await.grant(), broker.grant().await];
    for grant in others.iter().chain([&renewed]) {
        assert_eq!(broker.open(grant, "c").await.status, 201);
    }
    let revoked = broker.order(Method::POST, "/api/revoke?key=app").await.json();
    assert_eq!(json!([revoked["revoked"], revoked["left"]]), json!([2, 0]), "{revoked}");
    let message = revoked["message"].as_str().unwrap();
    assert!(message.starts_with("Live credentials of app: 2, all revoked."), "{message}");
    assert!(message.ends_with("app can get new ones: block app to refuse them."));
    assert_eq!(cloudflare.history().revoked(), 2);
    assert_eq!(broker.heartbeat(&renewed, "c", json!({})).await.error(), (401, "INVALID_GRANT"));
    for other in &others {
        assert_eq!(broker.heartbeat(other, "c", json!({})).await.status, 200);
    }
    // A key that is not configured any more may have live grants.
    let gone = broker.order(Method::POST, "/api/revoke?key=gone").await.json();
    assert_eq!(gone["message"], "gone has no live credential.");
    assert_eq!(broker.order(Method::POST, "/api/revoke?key=a%20b").await.error().0, 400);
}

/// Strict mode: lives of 1,800 s, each promised 151 minutes of 15 MB, 2.265 GB.
const STRICT: [(&str, &str); 3] =
    [("BUDGET_MODE", "strict"), ("TURN_TTL_SECONDS", "1800"), ("SERVER_KEY_REQUESTS", "100000")];

#[tokio::test]
async fn a_chain_of_renewals_counts_once_for_its_key() {
    let settings = [&STRICT[..], &[("SERVER_KEY_LIMITS", "app=3")]].concat();
    let (_cloudflare, broker) = with_keys(&settings).await;
    let mut grant = mint(&broker, "ann").await.grant();
    for renewal in 0..2 {
        broker.advance(1_350);
        let renewed = broker.mint_with(&grant).await;
        // Twice 2.265 GB would not fit into 3 GB, and 22.5 minutes more do.
        assert_eq!(renewed.json()["source"], "cloudflare", "{renewal}: {}", renewed.text);
        grant = renewed.grant();
    }
    assert_eq!(mint(&broker, "bob").await.error(), (429, "KEY_LIMIT_REACHED"));
}

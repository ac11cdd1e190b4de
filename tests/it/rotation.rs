//! The rotation of the TURN key: no mint fails, no key is orphaned, and usage is continuous, whatever happens to a call.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use turn_ledger::ReadingOutcome;

use crate::support::{Answer, FakeCloudflare, Fault, OPERATOR, StateDir, TestBroker, eventually};

mod crashes;

const GB: u64 = 1_000_000_000;
const API_TOKEN: &str = "rest-fixture-token";
const DAY: u64 = 86_400;

/// A broker that replaces its key each day. Credentials live an hour, without a tail.
async fn rotating(cloudflare: &FakeCloudflare, state: &StateDir, settings: &[(&str, &str)]) -> TestBroker {
    cloudflare.turn_keys().require_token(API_TOKEN);
    let base = cloudflare.base_url();
    let mut all = vec![
        ("CLOUDFLARE_API_BASE", base.as_str()),
        ("CLOUDFLARE_REST_BASE", base.as_str()),
        ("CLOUDFLARE_ANALYTICS_BASE", base.as_str()),
        ("CLOUDFLARE_ACCOUNT_ID", "account"),
        ("CLOUDFLARE_API_TOKEN", API_TOKEN),
        ("KEY_ROTATION_DAYS", "1"),
        ("STATE_DIR", state.path()),
        ("TURN_TTL_SECONDS", "3600"),
        ("TURN_EXPIRY_TAIL_SECONDS", "0"),
    ];
    all.extend_from_slice(settings);
    TestBroker::start(&all).await
}

async fn rotation(broker: &TestBroker) -> Value {
    broker.overview().await["provider"]["rotation"].take()
}

/// Waits until the broker mints with this created key.
async fn mints_with(broker: &TestBroker, key: &str) {
    eventually(key, async || rotation(broker).await["key"] == key).await;
}

fn ids(cloudflare: &FakeCloudflare) -> BTreeSet<String> {
    cloudflare.turn_keys().names().into_keys().collect()
}

async fn minted(broker: &TestBroker) -> Value {
    let body = broker.mint().await.json();
    assert_eq!((&body["source"], &body["degraded"]), (&json!("cloudflare"), &json!(false)));
    body
}

#[tokio::test]
async fn a_key_is_replaced_each_day_and_deleted_when_its_last_grant_has_ended() {
    let (cloudflare, state) = (FakeCloudflare::start().await, StateDir::new());
    let broker = rotating(&cloudflare, &state, &[]).await;
    mints_with(&broker, "auto-1").await;
    minted(&broker).await;
    let first = cloudflare.history().requests().pop().unwrap();
    assert_eq!(first.key_id, ids(&cloudflare).first().cloned());
    let now = rotation(&broker).await;
    assert_eq!(
        (&now["state"], &now["everySeconds"], &now["failures"]),
        (&json!("waiting"), &json!(DAY), &json!(0))
    );

    broker.advance(DAY - 60);
    minted(&broker).await;
    let old = cloudflare.history().requests().pop().unwrap();
    broker.advance(60);
    mints_with(&broker, "auto-2").await;
    assert_eq!(
        (ids(&cloudflare).len(), &rotation(&broker).await["retired"]),
        (2, &json!(1)),
        "it has a live grant"
    );
    assert_eq!(broker.metric("turn_broker_key_rotations_total{outcome=\"rotated\"}").await, Some(2));
    minted(&broker).await;
    let new = cloudflare.history().requests().pop().unwrap();
    assert_ne!(new.key_id, old.key_id);
    assert_eq!(minted(&broker).await["source"], "cloudflare");
    assert_eq!(broker.get("/api/turn-credentials?region=default").await.status, 200);
    assert_eq!(broker.get("/api/turn-credentials?region=auto-2").await.status, 400);

    let grant = old.custom_identifier.unwrap();
    let revoke =
        broker.request(Method::POST, &format!("/api/credentials/{grant}/revoke")).bearer_auth(OPERATOR);
    assert_eq!(Answer::of(revoke).await.json()["provider"], "revoked", "with the key that minted it");
    let revoked =
        cloudflare.history().requests().into_iter().rfind(|request| request.path.ends_with("/revoke"));
    assert_eq!(revoked.unwrap().key_id, old.key_id);

    broker.advance(3_700);
    eventually("the old key is deleted", async || ids(&cloudflare).len() == 1).await;
    assert_eq!(ids(&cloudflare).first(), new.key_id.as_ref());
    minted(&broker).await;
}

#[tokio::test]
async fn the_key_of_the_settings_mints_until_the_first_created_key_does_and_is_not_deleted() {
    let (cloudflare, state) = (FakeCloudflare::start().await, StateDir::new());
    cloudflare.add_key("operators", "token-of-the-operators-key");
    cloudflare.turn_keys().next(Fault::Unauthorized401);
    let own = [
        ("CLOUDFLARE_TURN_KEY_ID", "operators"),
        ("CLOUDFLARE_TURN_API_TOKEN", "token-of-the-operators-key"),
    ];
    let broker = rotating(&cloudflare, &state, &own).await;
    minted(&broker).await;
    let grant =
        cloudflare.history().requests().into_iter().find_map(|request| request.custom_identifier).unwrap();
    let failing = "turn_broker_key_rotations_total{outcome=\"failed\"}";
    eventually("the list was refused", async || broker.metric(failing).await == Some(1)).await;
    broker.advance(60);
    mints_with(&broker, "auto-1").await;
    minted(&broker).await;
    assert_ne!(cloudflare.history().requests().pop().unwrap().key_id.as_deref(), Some("operators"));
    let revoke =
        broker.request(Method::POST, &format!("/api/credentials/{grant}/revoke")).bearer_auth(OPERATOR);
    assert_eq!(Answer::of(revoke).await.json()["provider"], "revoked");
    let deleted = cloudflare.history().requests().into_iter().filter(|request| request.method == "DELETE");
    assert_eq!(deleted.count(), 0);
}

#[tokio::test]
async fn usage_is_continuous_over_three_rotations() {
    let (cloudflare, state) = (FakeCloudflare::start().await, StateDir::new());
    let analytics = [
        ("CLOUDFLARE_ANALYTICS_TOKEN", "analytics-fixture-token"),
        ("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "3600"),
    ];
    let broker = rotating(&cloudflare, &state, &analytics).await;
    let mut sum = 0;
    for day in 0..4 {
        mints_with(&broker, &format!("auto-{}", day + 1)).await;
        minted(&broker).await;
        let key = cloudflare.history().requests().pop().unwrap().key_id.unwrap();
        cloudflare.analytics().relay(&key, &format!("2025-01-{}T12:30:00Z", 15 + day), GB, 0);
        sum += GB;
        broker.advance(7_200);
        eventually("the old key is deleted", async || ids(&cloudflare).len() == 1).await;
        let meter = broker.app.cloudflare_meter.as_ref().unwrap();
        assert_eq!(meter.read(&mut meter.initial_state()).await.unwrap(), ReadingOutcome::Taken);
        let overview = broker.overview().await;
        assert_eq!((&overview["bytes"]["measured"], &overview["bytes"]["used"]), (&json!(sum), &json!(sum)));
        assert_eq!(overview["provider"]["keys"][0]["name"], "default");
        assert_eq!(
            overview["provider"]["keys"][0]["measuredBytes"], sum,
            "deleted keys of this period are ours"
        );
        let counted = broker.metric("turn_broker_turn_key_bytes{key=\"default\"}").await;
        assert_eq!(counted, Some(sum));
        broker.advance(DAY - 7_200);
    }
}

#[tokio::test]
async fn credentials_minted_ahead_with_the_old_key_are_discarded() {
    let (cloudflare, state) = (FakeCloudflare::start().await, StateDir::new());
    let broker = rotating(&cloudflare, &state, &[]).await;
    mints_with(&broker, "auto-1").await;
    broker.advance(DAY - 200);
    for _ in 0..3 {
        for _ in 0..20 {
            minted(&broker).await;
        }
        broker.advance(60);
    }
    let ready = "turn_broker_pool_ready";
    eventually("the pool is full", async || broker.metric(ready).await == Some(10)).await;
    broker.advance(20);
    mints_with(&broker, "auto-2").await;
    assert!(broker.metric("turn_broker_pool_wasted_total").await >= Some(10));
    let new = ids(&cloudflare).last().cloned();
    let before = cloudflare.history().requests().len();
    minted(&broker).await;
    broker.get("/api/turn-credentials?ttl=600").await;
    let later = cloudflare.history().requests().split_off(before);
    assert!(!later.is_empty() && later.iter().all(|request| request.key_id == new), "{later:?}");
}

#[tokio::test]
async fn no_secret_of_a_created_key_leaves_the_ledger() {
    let (cloudflare, state) = (FakeCloudflare::start().await, StateDir::new());
    let broker = rotating(&cloudflare, &state, &[]).await;
    mints_with(&broker, "auto-1").await;
    for path in ["/api/overview", "/metrics", "/api/bandwidth-status"] {
        assert!(!broker.operator(path).await.text.contains("secret-of-created-key"), "{path}");
    }
    broker.finish().await;
    let stored = std::fs::read(state.file()).unwrap();
    assert!(String::from_utf8_lossy(&stored).contains("secret-of-created-key-1"));
    let exported = crate::support::process::run(&["ledger", "export"], &[("STATE_DIR", state.path())]);
    assert!(exported.status.success());
    assert!(!String::from_utf8_lossy(&exported.stdout).contains("secret-of-created-key"));
}

//! Credentials that the broker ends by itself: `AT_LIMIT=revoke` and `GRANT_LIMIT_GB`. The provider is a fake: what a revocation does to
//! calls in progress at Cloudflare, nobody has tested with it.

use super::measured::{meter, read, with_analytics};
use super::overview::count;
use crate::support::prelude::*;

const MB: u64 = 1_000_000;

async fn ending(broker: &TestBroker) -> serde_json::Value {
    broker.overview().await["ending"].clone()
}

#[tokio::test]
async fn at_the_limit_all_credentials_are_revoked_until_their_source_has_answered_and_a_raised_limit_ends_it()
{
    let settings = [("BANDWIDTH_LIMIT_GB", "0.1"), ("RATE_LIMIT_REQUESTS", "100")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    let page = broker.mint().await.grant();
    for _ in 0..24 {
        broker.mint().await;
    }
    assert!(broker.open(&page, "c").await.status.is_success());
    broker.advance(20);
    let report = json!({"bytesReceived": 200 * MB, "relayed": true});
    assert!(broker.heartbeat(&page, "c", report).await.status.is_success());
    assert_eq!(broker.status().await["status"], "LIMIT_EXCEEDED", "a page says so");
    assert_eq!(ending(&broker).await, json!({"isAtLimit": false, "left": 0, "revoked": 0}));
    let alerts = async || broker.operator("/api/alerts").await.json()["alerts"].clone();
    eventually("an alert", async || alerts().await[0]["event"].to_string().contains("budget.used_1")).await;
    // No claim revokes.
    assert!(!alerts().await.to_string().contains("are being revoked"), "{}", alerts().await);

    cloudflare.always(Fault::ServerErrorHtml(503));
    assert_eq!(count(&broker, 100 * MB), ReadingOutcome::Taken);
    let is_at_limit = async || ending(&broker).await["isAtLimit"] == true;
    eventually("the limit is reached by a count", is_at_limit).await;
    let hint = async || broker.hint("NOT_REVOKED").await.unwrap_or_default();
    eventually("a hint says how many still run", async || hint().await.contains("25 still run.")).await;
    let names_it = async || alerts().await.to_string().contains("revocation.refused");
    eventually("an alert says so, too", names_it).await;
    eventually("all are left while none can be revoked", async || ending(&broker).await["left"] == 25).await;
    cloudflare.heal();
    eventually("all are revoked", async || {
        broker.advance(10);
        cloudflare.history().revoked() == 25
    })
    .await;
    eventually("it is over", async || ending(&broker).await["revoked"] == 25).await;
    let reserved = broker.reserved_gb().await;
    assert!(reserved > 0.0, "it releases nothing");

    broker.set_limit(1).await;
    assert_eq!(hint().await, "");
    eventually("a raised limit ends it", async || ending(&broker).await["isAtLimit"] == false).await;
    assert_eq!(broker.mint().await.status, 200);
    assert_eq!(cloudflare.history().revoked(), 25);
}

#[tokio::test]
async fn with_none_the_limit_revokes_nothing() {
    let (cloudflare, broker) =
        with_cloudflare_and(&[("AT_LIMIT", "none"), ("BANDWIDTH_LIMIT_GB", "0.1")]).await;
    broker.mint().await;
    assert_eq!(count(&broker, 100 * MB), ReadingOutcome::Taken);
    broker.advance(60);
    assert_eq!(broker.status().await["status"], "LIMIT_EXCEEDED");
    assert_eq!(ending(&broker).await, json!({"isAtLimit": false, "left": 0, "revoked": 0}));
    assert_eq!(cloudflare.history().revoked(), 0);
}

#[tokio::test]
async fn what_an_app_server_vouches_for_reaches_the_limit_too() {
    let settings = [("AT_LIMIT", "revoke"), ("BANDWIDTH_LIMIT_GB", "0.1")];
    for has_grant in [false, true] {
        let (cloudflare, broker) = with_cloudflare_and(&settings).await;
        let grant = broker.mint().await.grant();
        broker.open(if has_grant { &grant } else { REPORTER }, "c").await;
        broker.advance(20);
        let report = json!({"bytesReceived": 101 * MB, "relayed": true});
        if has_grant {
            broker.heartbeat(&grant, "c", report.clone()).await;
            assert_eq!(ending(&broker).await["isAtLimit"], false, "a page says so");
        }
        assert!(broker.heartbeat(REPORTER, "c", report).await.status.is_success());
        eventually("it is revoked", async || cloudflare.history().revoked() == 1).await;
    }
}

#[tokio::test]
async fn a_credential_that_relayed_more_than_one_may_is_revoked_and_not_renewed() {
    let settings = [("GRANT_LIMIT_GB", "1"), ("TURN_TTL_SECONDS", "3600"), ("DOORS", "matrix")];
    let (cloudflare, broker) = with_analytics(&settings).await;
    let mut grants = vec![];
    for label in ["leaked", "calm"] {
        let grant = broker.get(&format!("/api/turn-credentials?label={label}")).await.grant();
        let minted = cloudflare.history().requests().pop().unwrap();
        grants.push((grant, minted.custom_identifier.unwrap()));
    }
    for ((_, id), bytes) in grants.iter().zip([1_001 * MB, 999 * MB]) {
        cloudflare.analytics().relay_as("key-id", id, "2025-01-15T12:01:00Z", bytes, 0);
    }
    broker.advance(600 + 120);
    read(&broker).await.unwrap();
    for _ in 0..2 {
        assert_eq!(cloudflare.history().revoked(), 0);
        broker.advance(60);
        meter(&broker).read_by_grant(PageBounds::default()).await.unwrap();
    }
    eventually("one is revoked", async || cloudflare.history().revoked() == 1).await;

    // The broker itself looks for alerts each second, and what ends a credential is told once.
    eventually("an alert", async || broker.alert("grant.limit").await.is_some()).await;
    let alert = broker.alert("grant.limit").await.unwrap();
    let what = alert["what"].as_str().unwrap();
    assert!(
        what.contains("1.00 GB") && what.contains("\"leaked\"") && what.contains("address \"127.0.0.1\""),
        "{what}"
    );

    broker.advance(3_600 * 3 / 4);
    assert_eq!(broker.mint_with(&grants[0].0).await.error(), (429, "GRANT_LIMIT_REACHED"));
    let of_matrix = broker.get_as(&grants[0].0, "/_matrix/client/v3/voip/turnServer").await.json();
    assert_eq!((&of_matrix["errcode"], of_matrix.get("retry_after_ms")), (&json!("M_FORBIDDEN"), None));
    assert_eq!(broker.mint_with(&grants[1].0).await.status, 200);
}

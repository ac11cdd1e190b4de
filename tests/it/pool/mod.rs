//! Credentials minted ahead: steady callers do not wait for the provider, and all guarantees about credentials, ledger and
//! provider stay the same.

mod fill;

use crate::support::prelude::*;

const READY: &str = "turn_broker_pool_ready";
const HANDED_OUT: &str = "turn_broker_pool_handed_out_total";
const WASTED: &str = "turn_broker_pool_wasted_total";
/// Callers per minute.
const CALLERS: usize = 20;
/// Credentials that the broker mints ahead for them: half of the callers of a minute.
const AHEAD: u64 = 10;
const TTL: i64 = 86_400;

/// [`CALLERS`] mints in each of three minutes. The third minute is the current one.
async fn steady_callers(broker: &TestBroker) {
    steady_callers_of(broker, CALLERS).await;
}

async fn steady_callers_of(broker: &TestBroker, callers: usize) {
    for minute in 0..3 {
        broker.advance(if minute == 0 { 0 } else { 60 });
        for _ in 0..callers {
            assert_eq!(broker.mint().await.json()["source"], "cloudflare");
        }
    }
}

/// A provider, and a broker whose pool holds [`AHEAD`] credentials.
async fn with_pool(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    let (cloudflare, broker) = with_cloudflare_and(settings).await;
    steady_callers(&broker).await;
    broker.advance(60);
    eventually("the pool is full", async || broker.metric(READY).await == Some(AHEAD)).await;
    (cloudflare, broker)
}

fn seconds(body: &Value, field: &str) -> i64 {
    let text = body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

fn username(body: &Value) -> String {
    let servers = body["iceServers"].as_array().unwrap();
    servers.iter().find_map(|server| server["username"].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn pooled_credentials_are_issued_once_each_even_while_the_provider_is_down() {
    let (cloudflare, broker) = with_pool(&[]).await;
    let issued = broker.status().await["grants"]["issued"].as_u64().unwrap();
    assert_eq!(issued, 3 * 20, "a pooled credential is not a grant");
    cloudflare.always(Fault::ServerErrorHtml(503));
    let mut names = BTreeSet::new();
    for _ in 0..AHEAD {
        let body = broker.mint().await.json();
        assert_eq!(json!([body["source"], body["degraded"]]), json!(["cloudflare", false]));
        assert!(names.insert(username(&body)), "two callers got the same credential");
    }
    assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE");
    assert_eq!(broker.metric(HANDED_OUT).await, Some(AHEAD));
    let pool = &broker.overview().await["provider"]["pool"];
    assert_eq!(*pool, json!({"ready": 0, "handedOut": AHEAD, "wasted": 0}));
    assert_eq!(broker.status().await["grants"]["issued"], 3 * 20 + AHEAD);
}

/// A plain request and the page module's ask for different lives. Neither waits, but for the first of each.
#[tokio::test]
async fn the_ttl_of_a_pooled_credential_counts_from_the_request_to_the_provider() {
    let (_cloudflare, broker) = with_pool(&[]).await;
    let fresh = broker.mint().await.json();
    broker.advance(600);
    let later = broker.mint().await.json();
    assert_eq!(broker.metric(HANDED_OUT).await, Some(2));
    assert_eq!(json!([fresh["ttl"], later["ttl"]]), json!([TTL, TTL - 600]));
    assert_eq!(seconds(&later, "expiresAt"), seconds(&fresh, "expiresAt"));
    for body in [fresh, later] {
        let (issued, expires) = (seconds(&body, "issuedAt"), seconds(&body, "expiresAt"));
        assert_eq!(expires - issued, body["ttl"].as_i64().unwrap());
        assert_eq!(seconds(&body, "refreshAfter"), issued + (expires - issued) * 3 / 4);
    }
}

#[tokio::test]
async fn a_pooled_credential_has_the_id_of_its_grant_and_can_be_revoked_and_another_ttl_is_minted() {
    let (cloudflare, broker) = with_pool(&[]).await;
    assert_eq!(broker.get("/api/turn-credentials?ttl=600").await.json()["ttl"], 600);
    assert_eq!(cloudflare.history().requests().last().unwrap().ttl, Some(600));
    assert_eq!(broker.metric(READY).await, Some(AHEAD));
    let revoked = broker.revoke(&broker.grant().await).await.json();
    assert_eq!(broker.metric(HANDED_OUT).await, Some(1));
    assert_eq!(revoked["provider"], "revoked");
    let requests = cloudflare.history().requests();
    let mut identifiers = requests.iter().map(|request| request.custom_identifier.as_deref());
    assert!(identifiers.any(|identifier| identifier == revoked["grant"].as_str()), "{revoked}");
}

#[tokio::test]
async fn the_id_of_a_grant_begins_with_the_time_of_its_mint_also_of_one_minted_ahead() {
    let (cloudflare, _broker) = with_pool(&[]).await;
    let requests = cloudflare.history().requests();
    let ids =
        requests.iter().filter_map(|request| request.custom_identifier.as_deref()?.parse::<GrantId>().ok());
    let ids = ids.collect::<BTreeSet<_>>();
    let times = ids.iter().map(|id| id.as_bytes()[..5].to_vec()).collect::<BTreeSet<_>>();
    let start = START.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let minute = |minute: i64| (start.timestamp_millis() + minute * 60_000).to_be_bytes()[3..].to_vec();
    assert_eq!(times, (0..4).map(minute).collect());
    assert!(ids.len() > 3 * CALLERS, "{}", ids.len());
}

#[tokio::test]
async fn a_refill_failure_does_not_count_against_the_breaker() {
    let (cloudflare, broker) = with_cloudflare().await;
    steady_callers(&broker).await;
    cloudflare.always(Fault::Forbidden1010);
    broker.advance(60);
    let failed = "turn_broker_provider_requests_total{outcome=\"status_4xx\"}";
    eventually("every mint for the pool failed", async || broker.metric(failed).await >= Some(AHEAD)).await;
    cloudflare.heal();
    assert_eq!(broker.metric("turn_broker_breaker_state").await, Some(0));
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn nothing_is_minted_ahead_while_frozen_or_without_demand() {
    let (frozen_cloudflare, frozen) = with_cloudflare().await;
    steady_callers(&frozen).await;
    frozen.freeze(true).await;
    frozen.advance(60);
    let (idle_cloudflare, idle) = with_cloudflare().await;
    steady_callers(&idle).await;
    idle.advance(120);
    // A pool that starts later is full now, so the others had enough time.
    let _ = with_pool(&[]).await;
    for (cloudflare, broker) in [(frozen_cloudflare, frozen), (idle_cloudflare, idle)] {
        assert_eq!(cloudflare.history().minted(), 3 * CALLERS);
        assert_eq!(broker.metric(READY).await, Some(0));
    }
}

#[tokio::test]
async fn a_refused_caller_takes_no_credential_from_the_pool() {
    let (_cloudflare, broker) = with_pool(&[("AT_LIMIT", "none")]).await;
    let head = broker.request(Method::HEAD, "/api/turn-credentials");
    assert_eq!(Answer::of(head).await.status, 405);
    assert_eq!(
        broker.get_with("/api/turn-credentials", &[("origin", "https://evil.example")]).await.error(),
        (403, "ORIGIN_NOT_ALLOWED")
    );
    broker.set_limit(0).await;
    assert_eq!(broker.mint().await.error(), (429, "BUDGET_EXHAUSTED"));
    broker.set_limit(Value::Null).await;
    broker.freeze(true).await;
    assert_eq!(broker.mint().await.json()["reason"], "DISABLED");
    assert_eq!((broker.metric(READY).await, broker.metric(HANDED_OUT).await), (Some(AHEAD), Some(0)));
    broker.freeze(false).await;
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    assert_eq!(broker.metric(HANDED_OUT).await, Some(1));
}

#[tokio::test]
async fn expires_at_is_never_too_late_even_if_the_clock_is_set() {
    let (_cloudflare, broker) = with_pool(&[]).await;
    // It is 12:03:00 now. The pooled credentials expire at 12:03:00 tomorrow. `ttl` has whole seconds only.
    // In doubt, the age counts by the clock that is ahead, and the rest of the life from the earlier time.
    broker.set_wall("2025-01-15T13:03:00.250Z");
    let ahead = broker.mint().await.json();
    let times = (&ahead["ttl"], &ahead["expiresAt"]);
    assert_eq!(times, (&json!(TTL - 3_601), &json!("2025-01-16T11:02:59.000Z")));
    broker.set_wall("2025-01-15T12:03:00Z");
    broker.advance(60);
    broker.set_wall("2025-01-15T11:00:00Z");
    let behind = broker.mint().await.json();
    assert_eq!(broker.metric(HANDED_OUT).await, Some(2));
    assert_eq!(json!([behind["ttl"], behind["expiresAt"]]), json!([TTL - 60, "2025-01-16T10:59:00.000Z"]));
}

#[tokio::test]
async fn a_pooled_credential_reserves_no_less_than_one_minted_now() {
    let (_cloudflare, broker) = with_pool(&[]).await;
    broker.advance(600);
    let committed = async || broker.metric("turn_broker_committed_bytes").await.unwrap();
    let before = committed().await;
    broker.mint().await;
    assert_eq!(broker.metric(HANDED_OUT).await, Some(1));
    let pooled = committed().await - before;
    for _ in 1..AHEAD {
        broker.mint().await;
    }
    let before = committed().await;
    broker.mint().await;
    assert_eq!(broker.metric(HANDED_OUT).await, Some(AHEAD));
    assert_eq!(pooled, committed().await - before);
}

#[tokio::test]
async fn credentials_of_a_deleted_key_are_not_issued() {
    let (cloudflare, broker) = with_pool(&[]).await;
    cloudflare.always(Fault::NotFound404);
    assert_eq!(broker.get("/api/turn-credentials?ttl=600").await.json()["reason"], "PROVIDER_UNAVAILABLE");
    assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE");
    let counts = (broker.metric(READY).await, broker.metric(HANDED_OUT).await, broker.metric(WASTED).await);
    assert_eq!(counts, (Some(0), Some(0), Some(AHEAD)));
}

//! The data of the dashboard: overview, latest alerts, the provider's count over time.

use crate::support::prelude::*;
use turn_broker::alert::Fault::ProviderDown as DOWN;
use turn_ledger::{Day, Reading};

const GB: u64 = 1_000_000_000;

/// The provider's count of the day.
pub(crate) fn count(broker: &TestBroker, bytes: u64) -> ReadingOutcome {
    let now = broker.app.account.snapshot().figures.now;
    let (granted, other) = (ByteCount::new(bytes), ByteCount::ZERO);
    let answer = |at| {
        let reading = Reading { day: Day::of(now), as_of: now, at, granted, other };
        broker.app.account.change(|books| books.take_reading(IceSource::Cloudflare, &reading))
    };
    // Two answers agree.
    let _ = answer(now.minus(Duration::from_secs(60)));
    answer(now)
}

async fn alerts(broker: &TestBroker) -> Vec<Value> {
    broker.operator("/api/alerts").await.json()["alerts"].as_array().unwrap().clone()
}

/// Looks for alerts, while the provider answers or does not, with a webhook or without.
async fn evaluate(broker: &TestBroker, is_up: bool, has_webhook: bool) {
    let app = &broker.app;
    app.account.evaluate_alerts(facts(broker, is_up), &app.config, has_webhook).await;
}

#[tokio::test]
async fn many_mints_without_reports_at_an_hour_with_few_raise_an_alert_and_a_hint() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("RATE_LIMIT_REQUESTS", "1000")]).await;
    let hint = async || broker.hint("MINTS_UNREPORTED").await;
    for _ in 0..25 {
        evaluate(&broker, true, false).await;
        broker.mint().await;
        broker.advance(3_600);
    }
    evaluate(&broker, true, false).await;
    for _ in 0..99 {
        broker.mint().await;
    }
    assert_eq!(hint().await, None);
    broker.mint().await;
    assert!(hint().await.unwrap().contains("In an hour 100 were issued, of which 0 reported"));
    evaluate(&broker, true, false).await;
    let alerts = broker.operator("/api/alerts").await.json()["alerts"].clone();
    assert_eq!(json!([alerts[0]["event"], alerts[0]["section"]]), json!(["mints.unreported", "spenders"]));
}

#[tokio::test]
async fn the_overview_contains_the_status_and_the_same_figures_in_bytes() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("ESTIMATED_MBPS_PER_CONNECTION", "8")]).await;
    broker.mint().await;
    broker.open(REPORTER, "c").await;
    broker.advance(10);
    let overview = broker.overview().await;
    assert_eq!(overview["status"], broker.status().await);
    assert_eq!(overview["at"], "2025-01-15T12:00:10.000Z");
    let bytes = &overview["bytes"];
    assert_eq!(json!([bytes["used"], bytes["limit"]]), json!([10_000_000, 1_000 * GB]));
    assert!(bytes["committed"].as_u64() > bytes["used"].as_u64());
    assert_eq!(json!([bytes["overshootBound"], bytes["measured"]]), json!([0, null]));
    assert_eq!(overview["uptimeSeconds"], 10);
    assert_eq!(count(&broker, 3 * GB), ReadingOutcome::Taken);
    assert_eq!(broker.overview().await["bytes"]["measured"], 3 * GB);
    broker.set_limit(5).await;
    let bytes = broker.overview().await["bytes"].clone();
    assert_eq!(json!([bytes["limit"], bytes["configuredLimit"]]), json!([5 * GB, 1_000 * GB]));
}

#[tokio::test]
async fn the_overview_states_the_present_rate_and_when_it_reaches_the_limit() {
    let settings = [
        ("ESTIMATED_MBPS_PER_CONNECTION", "8"),
        ("HEARTBEAT_SECONDS", "3600"),
        ("BANDWIDTH_LIMIT_GB", "0.2"),
        ("AUTH_JWT_SECRET", "jwt-fixture-secret-of-32-characters-or-more"),
    ];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let overview = async || broker.overview().await;
    let idle = json!({"mbps": 0, "until": "2025-01-15T12:00:00.000Z", "limitAt": null});
    assert_eq!((&overview().await["rate"], &overview().await["signIn"]), (&idle, &json!(true)));
    broker.post(REPORTER, "/api/connections", json!({"connectionId": "c", "user": "ann"})).await;
    // A rate is the average since the first minute with traffic: 100 MB in 100 s, and 100 MB are left.
    broker.advance(100);
    let expected =
        json!({"mbps": 8, "until": "2025-01-15T12:01:40.000Z", "limitAt": "2025-01-15T12:03:20.000Z"});
    assert_eq!(overview().await["rate"], expected);
    broker.post(REPORTER, "/api/connections/c/close", json!({})).await;
    broker.advance(60);
    let slower = overview().await["rate"].clone();
    assert_eq!(json!([slower["mbps"], slower["limitAt"]]), json!([5, "2025-01-15T12:05:20.000Z"]));
    let lately = broker.operator("/api/spenders?by=user&since=5m").await.json();
    let row = json!([lately["seconds"], lately["spenders"][0]["bytes"]]);
    assert_eq!(row, json!([160, 100_000_000]), "a row has the rate of the same time");
    broker.advance(360);
    assert_eq!(overview().await["rate"]["mbps"], 0, "the call is older than five minutes");
}

#[tokio::test]
async fn the_overview_counts_responses_and_provider_calls() {
    let (cloudflare, broker) =
        with_cloudflare_and(&[("RATE_LIMIT_REQUESTS", "3"), ("CLIENT_URL", "https://app.example")]).await;
    broker.mint().await;
    cloudflare.next(Fault::NotFound404);
    broker.mint().await;
    broker.get_with("/api/turn-credentials", &[("origin", "https://elsewhere.example")]).await;
    broker.mint().await;
    broker.mint().await;
    broker.open(REPORTER, "c").await;
    broker.post(REPORTER, "/api/connections/c/close", json!({})).await;
    let overview = broker.overview().await;
    let expected = json!({
        "answers": [
            {"source": "cloudflare", "reason": null, "count": 2},
            {"source": "stun", "reason": "PROVIDER_UNAVAILABLE", "count": 1},
        ],
        "refusals": [{"code": "ORIGIN_NOT_ALLOWED", "count": 1}, {"code": "RATE_LIMITED", "count": 1}], "addressRefused": 0,
    });
    assert_eq!(overview["callers"], expected);
    let provider = &overview["provider"];
    assert_eq!(provider["breaker"], "closed");
    assert_eq!(provider["outcomes"], json!({"minted": 2, "status_4xx": 1}));
    assert_eq!(provider["pool"], json!({"ready": 0, "handedOut": 0, "wasted": 0}));
    let expected = json!({"opened": 1, "closed": 1, "givenUp": 0, "claimsClamped": 0});
    assert_eq!(overview["connections"], expected);
}

#[tokio::test]
async fn the_hint_and_the_alert_of_a_provider_that_is_down_have_the_same_cause() {
    let (cloudflare, broker) = with_cloudflare().await;
    cloudflare.always(Fault::Unauthorized401);
    for _ in 0..5 {
        broker.mint().await;
    }
    let hint = broker.hint("PROVIDER_DOWN").await.unwrap();
    assert!(hint.contains("answered 401") && hint.contains("CLOUDFLARE_TURN_API_TOKEN"), "{hint}");
    let down = async || alerts(&broker).await.into_iter().find(|alert| alert["event"] == "provider.down");
    eventually("an alert", async || down().await.is_some()).await;
    let alert = down().await.unwrap()["what"].as_str().unwrap().to_owned();
    let same = hint.strip_suffix(AlertKind::Began(DOWN).first_step()).unwrap();
    assert!(alert.starts_with(same), "{hint}\n{alert}");
    assert_eq!(broker.get("/ready").await.json()["provider"], "down");
}

#[tokio::test]
async fn the_overview_shows_an_open_breaker_and_null_without_a_provider() {
    let (cloudflare, broker) = with_cloudflare().await;
    for _ in 0..6 {
        cloudflare.next(Fault::NotFound404);
        broker.mint().await;
    }
    let provider = broker.overview().await["provider"].clone();
    assert_eq!(json!([provider["breaker"], provider["outcomes"]["breaker_open"]]), json!(["open", 1]));
    assert_eq!(broker.metric("turn_broker_breaker_state").await, Some(2));
    let without = TestBroker::start(&[]).await;
    assert_eq!(without.overview().await["provider"], Value::Null);
}

#[tokio::test]
async fn after_a_restart_all_alerts_are_left() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path())];
    let before = {
        let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
        for bytes in [400, 600] {
            assert_eq!(count(&broker, bytes * GB), ReadingOutcome::Taken);
            broker.advance(1_200);
        }
        evaluate(&broker, true, false).await;
        let listed = alerts(&broker).await;
        broker.finish().await;
        listed
    };
    assert!(before.iter().any(|alert| alert["event"] == "budget.used_50"), "{before:?}");
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    assert_eq!(alerts(&broker).await, before);
}

#[tokio::test]
async fn the_latest_alerts_are_listed_newest_first_with_advice() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let none = broker.operator("/api/alerts").await.json();
    assert_eq!(none, json!({"alerts": [], "webhook": false}));
    evaluate(&broker, false, false).await;
    count(&broker, 810 * GB);
    evaluate(&broker, false, false).await;
    let listed = alerts(&broker).await;
    // The broker itself looks for alerts each second, and its provider is up.
    let oldest = |event: &str| listed.iter().rposition(|alert| alert["event"] == event).unwrap();
    assert!(oldest("budget.used_80") < oldest("provider.down"), "{listed:?}");
    let alert = &listed[oldest("budget.used_80")];
    assert_eq!(json!([alert["severity"], alert["at"]]), json!(["warning", "2025-01-15T12:00:00.000Z"]));
    assert_eq!(json!([alert["usedGB"], alert["limitGB"]]), json!(["810.00", 1000]));
    assert!(alert["what"].as_str().unwrap().starts_with("80 % of the bandwidth limit is used"));
    assert!(alert["advice"].as_str().unwrap().starts_with("Find who spends now"));
    assert_eq!(alert["waiting"], false, "without a webhook, the alert is only logged");
}

#[tokio::test]
async fn an_undelivered_alert_is_shown_as_waiting() {
    // The discard port: nobody listens there.
    let settings = [("ALERT_WEBHOOK_URL", "http://127.0.0.1:9/")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    count(&broker, 500 * GB);
    evaluate(&broker, true, true).await;
    let body = broker.operator("/api/alerts").await.json();
    assert_eq!(json!([body["webhook"], body["alerts"][0]["waiting"]]), json!([true, true]));
}

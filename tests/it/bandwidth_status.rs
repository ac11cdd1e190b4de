//! Tests of `/api/bandwidth-status`.

mod clock;
mod likely;
mod strict;

use crate::support::prelude::*;

#[tokio::test]
async fn the_page_about_the_budget_explains_every_field_and_every_code_of_the_status() {
    const PAGE: &str = include_str!("../../docs/BUDGET.md");
    const SOURCE: &str = include_str!("../../src/http/bandwidth_status.rs");
    let is_code = |text: &&str| text.len() > 1 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let codes = SOURCE.split('"').filter(is_code).map(str::to_owned);
    let status = TestBroker::start(&[]).await.status().await;
    let fields = status.as_object().unwrap().keys().cloned();
    for name in fields.chain(codes) {
        assert!(PAGE.contains(&format!("`{name}`")), "{name} is missing in docs/BUDGET.md");
    }
}

#[tokio::test]
async fn an_idle_broker_states_every_field_and_the_first_seven_come_first() {
    let broker = TestBroker::start(&[]).await;
    let answer = broker.get("/api/bandwidth-status").await;
    let mut status = answer.json();
    let hints = status["hints"].take();
    assert_eq!(hints.as_array().unwrap().len(), 1);
    let expected = json!({
        "bandwidthUsedGB": "0.00",
        "bandwidthLimitGB": 1000,
        "percentage": 0,
        "remainingGB": "1000.00",
        "resetDate": "2025-02-01T00:00:00.000Z",
        "activeConnections": 0,
        "status": "OK",
        "periodStart": "2025-01-01T00:00:00.000Z",
        "source": "estimate",
        "asOf": null,
        "stale": false,
        "reservedGB": "0.00",
        "samplingMarginGB": "0.00",
        "overshootBoundGB": "0.00",
        "likelyOvershootGB": null,
        "boundAssumes": "2 Mbps per grant until 7200 s after expiry",
        "boundHolds": true,
        "observedMbpsPerGrant": null,
        "grants": {"issued": 0, "live": 0, "relaying": 0, "reported": 0},
        "rateGBPerHour": "0.00",
        "rateUntil": "2025-01-15T12:00:00.000Z",
        "limitReachedAt": null,
        "usedBytes": 0,
        "durable": false,
        "frozen": false,
        "minting": {
            "on": false,
            "code": "NOT_CONFIGURED",
            "message": "No metered source is configured. Set CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN, or another of ICE_SOURCES.",
            "until": null,
        },
        "hints": null,
    });
    assert_eq!(status, expected);
    let first_seven = [
        "{\"bandwidthUsedGB\"",
        "\"bandwidthLimitGB\"",
        "\"percentage\"",
        "\"remainingGB\"",
        "\"resetDate\"",
        "\"activeConnections\"",
        "\"status\"",
    ];
    let places: Vec<_> = first_seven.iter().map(|name| answer.text.find(name).unwrap()).collect();
    assert!(places.is_sorted() && places[6] < answer.text.find("periodStart").unwrap());
}

#[tokio::test]
async fn usage_rises_while_a_connection_is_open_and_the_remainder_ends_at_zero() {
    let broker =
        TestBroker::start(&[("ESTIMATED_MBPS_PER_CONNECTION", "800"), ("BANDWIDTH_LIMIT_GB", "2.5")]).await;
    broker.open(REPORTER, "c").await;
    let rows = [
        (5, "OK", "0.50", 20, "2.00"),
        (5, "OK", "1.00", 40, "1.50"),
        (17, "LIMIT_EXCEEDED", "2.70", 108, "0.00"),
    ];
    for (seconds, state, used, percent, remaining) in rows {
        broker.advance(seconds);
        let status = broker.status().await;
        assert_eq!(json!([status["activeConnections"], status["bandwidthLimitGB"]]), json!([1, 2.5]));
        assert_eq!(json!([status["status"], status["percentage"]]), json!([state, percent]));
        assert_eq!(json!([status["bandwidthUsedGB"], status["remainingGB"]]), json!([used, remaining]));
    }
}

#[tokio::test]
async fn the_rate_is_that_of_the_last_five_minutes_and_an_idle_service_has_none() {
    let broker =
        TestBroker::start(&[("BANDWIDTH_LIMIT_GB", "3"), ("ESTIMATED_MBPS_PER_CONNECTION", "8")]).await;
    let rate = async || {
        let status = broker.status().await;
        let pick = |name: &str| status[name].as_str().map(str::to_owned);
        (pick("rateGBPerHour").unwrap(), pick("limitReachedAt"))
    };
    broker.open(REPORTER, "c").await;
    // 1 GB at 8 Mbps, in 1,000 s.
    for _ in 0..100 {
        broker.advance(10);
        broker.heartbeat(REPORTER, "c", json!({})).await;
    }
    assert_eq!(rate().await, ("3.60".into(), Some("2025-01-15T12:50:00.000Z".into())));
    broker.post(REPORTER, "/api/connections/c/close", json!({})).await;
    broker.advance(150);
    assert_eq!(rate().await.0, "1.86", "half of the five minutes, which begin with a whole one");
    broker.advance(300);
    assert_eq!(rate().await, ("0.00".into(), None));
}

#[tokio::test]
async fn at_grants_max_a_mint_says_so_and_a_hint_and_an_alert_come_before() {
    let settings = [("GRANTS_MAX", "5"), ("RATE_LIMIT_REQUESTS", "100")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    for _ in 0..3 {
        broker.grant().await;
    }
    assert!(!broker.has_hint("PLACES_NEARLY_FULL").await);
    broker.grant().await;
    assert!(broker.hint("PLACES_NEARLY_FULL").await.unwrap().contains("There are 4 of 5 credentials"));
    eventually("an alert says so", async || broker.alert("places.full").await.is_some()).await;
    assert_eq!(broker.status().await["minting"]["on"], true);
    broker.grant().await;
    let refused = broker.mint().await;
    assert_eq!(refused.error(), (503, "GRANTS_FULL"));
    let stated = broker.status().await["minting"].clone();
    assert_eq!((&stated["code"], &stated["message"]), (&json!("GRANTS_FULL"), &refused.json()["message"]));
    assert!(broker.has_hint("GRANTS_FULL").await);
    eventually("an alert says so, too", async || broker.alert("grants.exhausted").await.is_some()).await;
}

#[tokio::test]
async fn hints_name_what_makes_the_figures_less_reliable() {
    let (_cloudflare, broker) = with_cloudflare().await;
    broker.advance(3_600);
    assert_eq!(hint_codes(&broker.status().await), ["NO_ANALYTICS", "NOT_DURABLE"], "nobody has called");
    broker.mint().await;
    assert_eq!(hint_codes(&broker.status().await), ["NO_ANALYTICS", "NOT_DURABLE"], "the first call begins");
    broker.advance(600);
    assert_eq!(hint_codes(&broker.status().await), ["NO_REPORTS", "NO_ANALYTICS", "NOT_DURABLE"]);
    broker.post(REPORTER, "/api/connections", json!({})).await;
    assert_eq!(hint_codes(&broker.status().await), ["NO_ANALYTICS", "NOT_DURABLE"]);
}

#[tokio::test]
async fn the_billing_day_moves_the_period() {
    let broker = TestBroker::start(&[("BILLING_DAY", "31")]).await;
    broker.advance_to("2025-02-28T00:00:00Z");
    let status = broker.status().await;
    assert_eq!(status["periodStart"], "2025-02-28T00:00:00.000Z");
    assert_eq!(status["resetDate"], "2025-03-31T00:00:00.000Z");
}

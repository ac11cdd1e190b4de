//! The order of sources, the kill switch, and what happens when the budget is spent.

use crate::support::prelude::*;
use turn_broker::ice::rest::RestSecret;

const COTURN: [(&str, &str); 2] = [
    ("COTURN_URLS", "turn:relay.example:3478?transport=udp,turns:relay.example:443?transport=tcp"),
    ("COTURN_SECRET", "north-secret"),
];
const MANUAL: (&str, &str) = (
    "MANUAL_ICE_SERVERS",
    r#"[{"urls":"stun:own.example:3478"},{"urls":["turn:own.example:3478","turn:own.example:80","turn:own.example:53"],"username":"u","credential":"c"}]"#,
);

fn settings<'a>(parts: &[&[(&'a str, &'a str)]]) -> Vec<(&'a str, &'a str)> {
    parts.concat()
}

#[tokio::test]
async fn coturn_credentials_name_their_expiry_and_their_grant() {
    let settings = settings(&[&COTURN, &[("ICE_SOURCES", "coturn"), ("TURN_TTL_SECONDS", "3600")]]);
    let broker = TestBroker::start(&settings).await;
    assert_eq!(broker.status().await["boundHolds"], true, "it has not minted");
    let body = broker.mint().await.json();
    let status = broker.status().await;
    assert_eq!(status["boundHolds"], false, "nobody sees or ends its sessions");
    let hints = status["hints"].to_string();
    assert!(hints.contains("SESSIONS_UNSEEN") && hints.contains("COTURN_CLI"), "{hints}");
    assert_eq!(json!([body["source"], body["degraded"]]), json!(["coturn", false]));
    let server = &body["iceServers"][0];
    let urls = json!(["turn:relay.example:3478?transport=udp", "turns:relay.example:443?transport=tcp"]);
    assert_eq!(server["urls"], urls);
    let username = server["username"].as_str().unwrap();
    // 2025-01-15T13:00:00Z
    assert!(username.starts_with("1736946000:") && username.len() == 11 + 22, "{username}");
    let secret = RestSecret("north-secret".to_owned().into());
    assert_eq!(server["credential"], secret.password(username));
    assert_eq!(body["expiresAt"], "2025-01-15T13:00:00.000Z");
}

#[tokio::test]
async fn a_manual_list_is_returned_unchanged_except_for_port_53() {
    let broker = TestBroker::start(&[("ICE_SOURCES", "manual,stun"), MANUAL]).await;
    let body = broker.mint().await.json();
    assert_eq!((body["source"].as_str(), body["degraded"].as_bool()), (Some("manual"), Some(false)));
    let expected = json!([
        {"urls": ["stun:own.example:3478"]},
        {"urls": ["turn:own.example:3478", "turn:own.example:80"], "username": "u", "credential": "c"},
    ]);
    assert_eq!(body["iceServers"], expected);
    assert!(body["grant"].is_string() && body["ttl"] == 86_400);
}

#[tokio::test]
async fn when_the_first_source_fails_the_next_one_serves_with_a_reason() {
    let (cloudflare, broker) =
        with_cloudflare_and(&settings(&[&COTURN, &[("ICE_SOURCES", "cloudflare,coturn,stun")]])).await;
    cloudflare.next(Fault::NotFound404);
    let body = broker.mint().await.json();
    assert_eq!((body["source"].as_str(), body["degraded"].as_bool()), (Some("coturn"), Some(true)));
    assert_eq!(body["reason"], "PROVIDER_UNAVAILABLE");
    assert!(body["grant"].is_string());
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn a_source_without_settings_is_skipped() {
    let broker = TestBroker::start(&[("ICE_SOURCES", "cloudflare,manual"), MANUAL]).await;
    let body = broker.mint().await.json();
    assert_eq!((body["source"].as_str(), body["reason"].as_str()), (Some("manual"), Some("NOT_CONFIGURED")));
}

#[tokio::test]
async fn stun_as_the_first_source_is_not_degraded() {
    let broker = TestBroker::start(&[("ICE_SOURCES", "stun"), ("STUN_URLS", "stun:own.example:3478")]).await;
    let expected =
        json!({"iceServers": [{"urls": ["stun:own.example:3478"]}], "source": "stun", "degraded": false});
    assert_eq!(broker.mint().await.json(), expected);
}

#[tokio::test]
async fn with_the_kill_switch_callers_get_stun_and_no_source_is_called() {
    let (cloudflare, broker) = with_cloudflare_and(&[("TURN_ENABLED", "false")]).await;
    let body = broker.mint().await.json();
    assert_eq!((body["source"].as_str(), body["reason"].as_str()), (Some("stun"), Some("DISABLED")));
    let hints = broker.status().await["hints"].to_string();
    assert!(hints.contains("DISABLED"), "{hints}");
    assert_eq!(cloudflare.history().mints(), 0);
}

/// Opens a connection that uses 1 GB a second, and lets it.
async fn spend(broker: &TestBroker, seconds: u64) {
    broker.open(REPORTER, "spender").await;
    broker.advance(seconds);
}

const ONE_GB_LIMIT: [(&str, &str); 2] =
    [("BANDWIDTH_LIMIT_GB", "1"), ("ESTIMATED_MBPS_PER_CONNECTION", "8000")];

#[tokio::test]
async fn a_spent_budget_refuses_with_the_figures_and_the_wait_to_the_reset() {
    let (cloudflare, broker) = with_cloudflare_and(&ONE_GB_LIMIT).await;
    spend(&broker, 2).await;
    let answer = broker.mint().await;
    let mut body = answer.json();
    assert_eq!(answer.status, 429);
    assert!(body["requestId"].take().is_string());
    let expected = json!({
        "error": "Bandwidth limit reached",
        "message": "Monthly bandwidth limit of 1 GB has been reached. Please wait until next month.",
        "bandwidthUsed": "2.00",
        "bandwidthLimit": 1,
        "resetDate": "2025-02-01T00:00:00.000Z",
        "code": "BUDGET_EXHAUSTED",
        "requestId": null,
    });
    assert_eq!(body, expected);
    // From 2025-01-15T12:00:02Z to the first of February.
    assert_eq!(answer.header("retry-after"), Some("1425598"));
    assert_eq!(cloudflare.history().mints(), 0);
    assert_eq!(broker.metric("turn_broker_budget_refusals_total").await, Some(1));
}

#[tokio::test]
async fn with_fallback_a_spent_budget_becomes_the_next_unmetered_source_or_stun() {
    for (sources, expected) in [("cloudflare,coturn,manual,stun", "manual"), ("cloudflare,stun", "stun")] {
        let fallback = [("LIMIT_ACTION", "fallback"), MANUAL, ("ICE_SOURCES", sources)];
        let (cloudflare, broker) = with_cloudflare_and(&settings(&[&ONE_GB_LIMIT, &COTURN, &fallback])).await;
        spend(&broker, 2).await;
        let body = broker.mint().await.json();
        assert_eq!(json!([body["source"], body["reason"]]), json!([expected, "BUDGET_EXHAUSTED"]));
        assert_eq!(cloudflare.history().mints(), 0);
    }
}

#[tokio::test]
async fn a_spent_budget_is_the_reason_even_when_the_first_source_is_not_configured() {
    let spent = [
        ("ICE_SOURCES", "cloudflare,coturn,stun"),
        ("LIMIT_ACTION", "fallback"),
        ("BANDWIDTH_LIMIT_GB", "0"),
    ];
    let broker = TestBroker::start(&settings(&[&COTURN, &spent])).await;
    assert_eq!(broker.mint().await.json()["reason"], "BUDGET_EXHAUSTED");
}

#[tokio::test]
async fn while_a_clock_more_than_two_days_ahead_is_not_accepted_mints_are_refused_or_fall_back() {
    for (action, status, code) in [("refuse", 503, json!("CLOCK_DISAGREES")), ("fallback", 200, json!(null))]
    {
        let extra = [MANUAL, ("ICE_SOURCES", "coturn,manual"), ("LIMIT_ACTION", action)];
        let broker = TestBroker::start(&settings(&[&COTURN, &extra])).await;
        broker.mint().await;
        broker.set_wall("2025-01-17T12:00:01Z");
        let answer = broker.mint().await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &code), "{action}");
        if action == "fallback" {
            assert_eq!(answer.json()["source"], "manual");
            assert_eq!(answer.json()["reason"], "LEDGER_UNAVAILABLE");
        }
        broker.advance(300);
        assert_eq!(broker.mint().await.json()["source"], "coturn", "the clock is accepted");
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_for_a_moment_does_not_lengthen_a_coturn_credential() {
    let extra = [("ICE_SOURCES", "coturn"), ("TURN_TTL_SECONDS", "3600")];
    let broker = TestBroker::start(&settings(&[&COTURN, &extra])).await;
    broker.status().await;
    broker.set_wall("2025-01-16T12:00:00Z");
    let body = broker.mint().await.json();
    let username = body["iceServers"][0]["username"].as_str().unwrap();
    // 2025-01-15T13:00:00Z
    assert!(username.starts_with("1736946000:"), "{username}");
    assert_eq!(body["expiresAt"], "2025-01-15T13:00:00.000Z");
}

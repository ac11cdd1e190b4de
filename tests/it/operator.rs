//! The operator's routes and the health checks.

use crate::support::{
    Answer, FakeCloudflare, Fault, OPERATOR, REPORTER, TestBroker, eventually, with_cloudflare,
    with_cloudflare_and,
};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn health_reports_uptime_and_version() {
    let broker = TestBroker::start(&[]).await;
    broker.advance(61);
    let expected = json!({"status": "ok", "uptimeSeconds": 61, "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(broker.get("/health").await.json(), expected);
}

#[tokio::test]
async fn ready_is_503_with_the_reason_while_the_process_shuts_down() {
    let broker = TestBroker::start(&[]).await;
    assert_eq!(broker.get("/ready").await.json(), json!({"status": "ready"}));
    broker.app.draining.store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = broker.get("/ready").await;
    assert_eq!(answer.error(), (503, "SHUTTING_DOWN".into()));
    assert_eq!(broker.get("/health").await.status, 200, "the process is alive");
}

#[tokio::test]
async fn the_open_connections_are_listed_with_their_reports_and_charges() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    broker.open(&grant, "a").await;
    broker
        .post(
            REPORTER,
            "/api/connections",
            json!({"connectionId": "b", "relayed": true, "user": "bob", "label": "room-2"}),
        )
        .await;
    broker.advance(10);
    let report = json!({"bytesSent": 7_000, "bytesReceived": 5_000, "relayed": true});
    broker.heartbeat(&grant, "a", report).await;
    let listed = broker.operator("/api/connections").await;
    assert!(!listed.text.contains(&grant), "an id, not the token");
    let mut body = listed.json();
    assert_eq!(body["total"], 2);
    assert_eq!(body["connections"][0]["grant"].take().as_str().map(str::len), Some(22));
    let expected = json!([
        {
            "connectionId": "a", "grant": null, "user": null, "label": null, "source": "cloudflare", "relayed": true,
            "openedAt": "2025-01-15T12:00:00.000Z", "lastSeenAt": "2025-01-15T12:00:10.000Z",
            "bytesSent": 7_000, "bytesReceived": 5_000, "chargedBytes": 5_000,
        },
        {
            "connectionId": "b", "grant": null, "user": "bob", "label": "room-2", "source": "cloudflare", "relayed": true,
            "openedAt": "2025-01-15T12:00:00.000Z", "lastSeenAt": "2025-01-15T12:00:00.000Z",
            "bytesSent": 0, "bytesReceived": 0, "chargedBytes": 2_500_000,
        },
    ]);
    assert_eq!(body["connections"], expected);
}

#[tokio::test]
async fn the_usage_series_adds_up_to_the_total() {
    let broker =
        TestBroker::start(&[("ESTIMATED_MBPS_PER_CONNECTION", "8"), ("HEARTBEAT_SECONDS", "3600")]).await;
    broker.open(REPORTER, "c").await;
    broker.advance(150);
    let series = broker.operator("/api/usage?from=2025-01-15T12:00:00Z&step=60").await.json();
    let used: Vec<_> = series["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["usedBytes"].as_u64().unwrap())
        .collect();
    assert_eq!(used, [60_000_000, 60_000_000, 30_000_000]);
    assert_eq!(series["points"][1]["at"], "2025-01-15T12:01:00.000Z");
    let whole = broker.operator("/api/usage").await.json();
    assert_eq!(whole["stepSeconds"], 3_600);
    assert_eq!(whole["points"].as_array().unwrap().len(), 14 * 24 + 13, "from the period's start to now");
    assert_eq!(whole["pastPeriods"], json!([]));
}

#[tokio::test]
async fn a_series_that_begins_within_a_minute_counts_nothing_twice() {
    let broker =
        TestBroker::start(&[("ESTIMATED_MBPS_PER_CONNECTION", "8"), ("HEARTBEAT_SECONDS", "3600")]).await;
    broker.open(REPORTER, "c").await;
    broker.advance(100);
    let series = broker.operator("/api/usage?from=2025-01-15T11:59:30Z&step=60").await.json();
    let used = series["points"].as_array().unwrap().iter().map(|point| point["usedBytes"].as_u64().unwrap());
    assert_eq!(used.sum::<u64>(), 100_000_000);
}

#[tokio::test]
async fn connections_without_heartbeats_are_closed_without_a_request() {
    let broker = TestBroker::start(&[]).await;
    broker.open(REPORTER, "c").await;
    broker.advance(90);
    let given_up = r#"turn_broker_connections_ended_total{outcome="given_up"}"#;
    eventually("the connection is closed", async || broker.metric(given_up).await == Some(1)).await;
}

#[tokio::test]
async fn an_invalid_series_is_rejected() {
    let broker = TestBroker::start(&[]).await;
    for query in ["step=0", "step=90", "step=abc", "from=yesterday", "to=1", "step=60"] {
        let answer = broker.operator(&format!("/api/usage?{query}")).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{query}");
    }
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let (cloudflare, broker) = with_cloudflare().await;
    broker.mint().await;
    cloudflare.next(Fault::NotFound404);
    broker.mint().await;
    broker.get("/nope").await;
    for (line, value) in [
        (r#"turn_broker_credentials_total{source="cloudflare",reason="none"}"#, 1),
        (r#"turn_broker_credentials_total{source="stun",reason="PROVIDER_UNAVAILABLE"}"#, 1),
        (r#"turn_broker_provider_requests_total{outcome="minted"}"#, 1),
        (r#"turn_broker_provider_requests_total{outcome="status_4xx"}"#, 1),
        (r#"turn_broker_http_requests_total{route="/api/turn-credentials",method="GET",status="200"}"#, 2),
        (r#"turn_broker_http_requests_total{route="unmatched",method="GET",status="404"}"#, 1),
        ("turn_broker_grants_live", 1),
        ("turn_broker_limit_bytes", 1_000_000_000_000),
    ] {
        assert_eq!(broker.metric(line).await, Some(value), "{line}");
    }
}

#[tokio::test]
async fn after_20_wrong_tokens_in_a_minute_an_address_waits_and_the_right_token_is_served() {
    let broker = TestBroker::start(&[]).await;
    let wrong = |path: &'static str, method, from: &'static str| {
        let request = broker.request(method, path).header("x-forwarded-for", from);
        Answer::of(request.bearer_auth("a-wrong-token-of-16"))
    };
    let paths = ["/metrics", "/api/overview", "/api/usage", "/api/alerts", "/api/connections"];
    for n in 0..20 {
        let answer = wrong(paths[n % 5], Method::GET, "203.0.113.1").await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()), "{n}");
    }
    for path in paths {
        let answer = wrong(path, Method::GET, "203.0.113.1").await;
        assert_eq!(answer.error(), (429, "RATE_LIMITED".into()), "{path}");
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    for path in ["/api/connections", "/api/connections/c/heartbeat", "/api/connections/c/close"] {
        assert_eq!(
            wrong(path, Method::POST, "203.0.113.1").await.error(),
            (429, "RATE_LIMITED".into()),
            "{path}"
        );
    }
    assert_eq!(wrong("/metrics", Method::GET, "203.0.113.2").await.status, 401, "another address");
    let right = broker.request(Method::GET, "/metrics").header("x-forwarded-for", "203.0.113.1");
    let right = Answer::of(right.bearer_auth(OPERATOR)).await;
    assert_eq!(right.status, 200);
    for line in [r#"wrong_tokens_total{role="operator"} 26"#, r#"wrong_tokens_total{role="reporter"} 3"#] {
        assert!(right.text.contains(line), "{line} is missing");
    }
    broker.advance(59);
    assert_eq!(wrong("/metrics", Method::GET, "203.0.113.1").await.status, 429, "the same minute");
    broker.advance(1);
    assert_eq!(wrong("/metrics", Method::GET, "203.0.113.1").await.status, 401, "a new minute");
}

#[tokio::test]
async fn a_missing_token_and_a_grant_of_an_earlier_key_are_no_guesses() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let mut grant = broker.grant().await;
    let last = if grant.pop() == Some('A') { 'B' } else { 'A' };
    grant.push(last);
    for _ in 0..30 {
        let missing = broker.get("/metrics").await;
        assert_eq!(missing.error(), (401, "UNAUTHORIZED".into()));
        assert!(missing.json()["message"].as_str().unwrap().starts_with("Send the OPERATOR_TOKEN"));
        let answer = broker.post(&grant, "/api/connections", json!({})).await;
        assert_eq!(answer.error(), (401, "INVALID_GRANT".into()));
    }
}

/// Waits until the broker says this about its provider.
async fn provider_is(broker: &TestBroker, wanted: &str) {
    eventually(wanted, async || broker.get("/ready").await.json()["provider"] == wanted).await;
}

#[tokio::test]
async fn a_wrong_token_of_the_provider_is_found_without_a_caller() {
    let cloudflare = FakeCloudflare::start().await;
    let base = cloudflare.base_url();
    cloudflare.require_token("another-token");
    let broker = TestBroker::start(&[
        ("CLOUDFLARE_API_BASE", base.as_str()),
        ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
        ("CLOUDFLARE_TURN_API_TOKEN", "a-wrong-token"),
    ])
    .await;
    provider_is(&broker, "down").await;
    assert_eq!(broker.get("/ready").await.status, 200, "callers get STUN");
    let status = broker.status().await;
    let hint =
        status["hints"].as_array().unwrap().iter().find(|hint| hint["code"] == "PROVIDER_DOWN").unwrap();
    let text = hint["message"].as_str().unwrap();
    assert!(text.starts_with("The TURN provider issues no credentials. Cloudflare: answered 401 Unauthorized. To fix it, compare CLOUDFLARE_TURN_API_TOKEN"), "{text}");
    let failure = broker.overview().await["provider"]["failure"].clone();
    assert_eq!(failure["what"], "answered 401 Unauthorized");
    assert!(
        failure["remedy"].as_str().unwrap().starts_with("compare CLOUDFLARE_TURN_API_TOKEN"),
        "{failure}"
    );
    assert_eq!(status["reservedGB"], "0.00");
    assert_eq!(broker.metric("turn_broker_provider_up").await, Some(0));
    assert_eq!((cloudflare.history().probes(), cloudflare.history().mints()), (1, 0));
    cloudflare.require_token("a-wrong-token");
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    provider_is(&broker, "up").await;
    assert!(!broker.status().await["hints"].to_string().contains("PROVIDER_DOWN"));
    assert!(broker.overview().await["provider"]["failure"].is_null());
}

#[tokio::test]
async fn the_probe_after_the_start_spends_nothing_and_hands_out_nothing() {
    let (cloudflare, broker) = with_cloudflare().await;
    eventually("the probe", async || cloudflare.history().probes() > 0).await;
    assert_eq!((cloudflare.history().probes(), cloudflare.history().mints()), (1, 0));
    provider_is(&broker, "up").await;
    let status = broker.status().await;
    assert_eq!((&status["reservedGB"], &status["grants"]["issued"]), (&json!("0.00"), &json!(0)));
}

#[tokio::test]
async fn a_broker_that_may_not_mint_does_not_probe() {
    let (cloudflare, broker) = with_cloudflare_and(&[("TURN_ENABLED", "false")]).await;
    provider_is(&broker, "up").await;
    broker.finish().await;
    assert_eq!(cloudflare.history().probes(), 0);
}

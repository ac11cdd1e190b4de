//! The operator's routes and the health checks.

use crate::support::prelude::*;

#[tokio::test]
async fn health_reports_uptime_and_ready_is_503_with_the_reason_while_the_process_shuts_down() {
    let broker = TestBroker::start(&[]).await;
    broker.advance(61);
    let healthy = json!({"status": "ok", "uptimeSeconds": 61, "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(broker.get("/health").await.json(), healthy);
    let minting = broker.status().await["minting"].clone();
    assert_eq!(broker.operator("/ready").await.json(), json!({"status": "ready", "minting": minting}));
    broker.app.draining.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(broker.get("/ready").await.error(), (503, "SHUTTING_DOWN"));
    assert_eq!(broker.get("/health").await.json(), healthy, "the process is alive");
}

#[tokio::test]
async fn the_open_connections_are_listed_with_their_reports_and_charges() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    broker.open(&grant, "a").await;
    let named = json!({"connectionId": "b", "relayed": true, "user": "bob", "label": "room-2"});
    broker.post(REPORTER, "/api/connections", named).await;
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
    broker.advance(90);
    let given_up = r#"turn_broker_connections_ended_total{outcome="given_up"}"#;
    eventually("both are closed without a request", async || broker.metric(given_up).await == Some(2)).await;
}

#[tokio::test]
async fn the_usage_series_adds_up_to_the_total_and_counts_nothing_twice() {
    let broker =
        TestBroker::start(&[("ESTIMATED_MBPS_PER_CONNECTION", "8"), ("HEARTBEAT_SECONDS", "3600")]).await;
    broker.open(REPORTER, "c").await;
    broker.advance(150);
    let series = async |query: &str| broker.operator(&format!("/api/usage?{query}")).await.json();
    let from_a_minute = series("from=2025-01-15T12:00:00Z&step=60").await;
    let used = |series: &serde_json::Value| -> Vec<u64> {
        series["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["usedBytes"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(used(&from_a_minute), [60_000_000, 60_000_000, 30_000_000]);
    assert_eq!(from_a_minute["points"][1]["at"], "2025-01-15T12:01:00.000Z");
    let within_a_minute = used(&series("from=2025-01-15T11:59:30Z&step=60").await);
    assert_eq!(within_a_minute.iter().sum::<u64>(), 150_000_000);
    let whole = series("").await;
    assert_eq!(json!([whole["stepSeconds"], whole["pastPeriods"]]), json!([3_600, []]));
    assert_eq!(used(&whole).len(), 14 * 24 + 13, "from the period's start to now");
    for query in ["step=0", "step=90", "step=abc", "from=yesterday", "to=1", "step=60"] {
        let answer = broker.operator(&format!("/api/usage?{query}")).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{query}");
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
async fn after_20_wrong_tokens_in_a_minute_the_tokens_of_an_address_are_not_looked_at_for_a_minute() {
    let broker = TestBroker::start(&[]).await;
    let show = |token: &'static str, path: &'static str, method, from: &'static str| {
        let request = broker.request(method, path).header("x-forwarded-for", from);
        Answer::of(request.bearer_auth(token))
    };
    let wrong = |path, method, from| show("a-wrong-token-of-32-characters-01", path, method, from);
    let right = |token, from| show(token, "/metrics", Method::GET, from);
    let (guesser, dashboard) = ("203.0.113.1", "203.0.113.2");
    assert_eq!(right(OPERATOR, dashboard).await.status, 200);
    let paths = ["/metrics", "/api/overview", "/api/usage", "/api/alerts", "/api/connections"];
    for n in 0..20 {
        for from in [guesser, dashboard] {
            let answer = wrong(paths[n % 5], Method::GET, from).await;
            assert_eq!(answer.error(), (401, "UNAUTHORIZED"), "{n}");
        }
    }
    let reports = ["/api/connections", "/api/connections/c/heartbeat", "/api/connections/c/close"];
    let further =
        paths.map(|path| (path, Method::GET)).into_iter().chain(reports.map(|path| (path, Method::POST)));
    for (path, method) in further {
        let answer = wrong(path, method, guesser).await;
        assert_eq!(answer.error(), (429, "RATE_LIMITED"), "{path}");
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    for token in [OPERATOR, MONITOR] {
        assert_eq!(right(token, guesser).await.error(), (429, "RATE_LIMITED"), "a right guess");
        assert_eq!(right(token, "203.0.113.3").await.status, 200, "another address");
    }
    let reported = show(REPORTER, "/api/connections", Method::POST, guesser).await;
    assert_eq!(reported.error(), (429, "RATE_LIMITED"));
    let public = show(OPERATOR, "/api/bandwidth-status", Method::GET, guesser).await;
    assert_eq!(public.status, 200, "as without a token");
    assert_eq!(right(MONITOR, dashboard).await.error(), (429, "RATE_LIMITED"));
    let open = right(OPERATOR, dashboard).await;
    assert_eq!(open.status, 200, "the token that this address used last");
    for line in [r#"wrong_tokens_total{role="operator"} 49"#, r#"wrong_tokens_total{role="reporter"} 4"#] {
        assert!(open.text.contains(line), "{line} is missing: {}", open.text);
    }
    broker.advance(59);
    assert_eq!(right(OPERATOR, guesser).await.status, 429);
    broker.advance(1);
    assert_eq!(right(OPERATOR, guesser).await.status, 200);
}

#[tokio::test]
async fn the_token_of_monitoring_reads_metrics_also_without_an_operator() {
    let broker = TestBroker::start(&[("OPERATOR_TOKEN", "")]).await;
    assert_eq!(broker.get_as(MONITOR, "/metrics").await.status, 200);
    assert_eq!(broker.get_as(MONITOR, "/metrics?a=b").await.error(), (400, "INVALID_REQUEST"));
    assert_eq!(broker.get("/metrics").await.error(), (401, "UNAUTHORIZED"));
    assert_eq!(broker.get_as(MONITOR, "/api/overview").await.error(), (404, "NOT_FOUND"));
    let closed = TestBroker::start(&[("OPERATOR_TOKEN", ""), ("METRICS_TOKEN", "")]).await;
    assert_eq!(closed.get_as(MONITOR, "/metrics").await.error(), (404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_missing_token_and_a_grant_of_an_earlier_key_are_no_guesses() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let mut grant = broker.grant().await;
    let last = if grant.pop() == Some('A') { 'B' } else { 'A' };
    grant.push(last);
    for _ in 0..30 {
        let missing = broker.get("/metrics").await;
        assert_eq!(missing.error(), (401, "UNAUTHORIZED"));
        assert!(missing.json()["message"].as_str().unwrap().starts_with("Send the OPERATOR_TOKEN"));
        assert_eq!(broker.open(&grant, "c").await.error(), (401, "INVALID_GRANT"));
    }
}

/// Waits until the broker says this about its provider.
async fn provider_is(broker: &TestBroker, wanted: &str) {
    eventually(wanted, async || broker.get("/ready").await.json()["provider"] == wanted).await;
}

#[tokio::test]
async fn a_wrong_token_of_the_provider_is_found_without_a_caller() {
    let cloudflare = FakeCloudflare::start().await;
    let broker = broker_at(&cloudflare, &[("CLOUDFLARE_TURN_API_TOKEN", "a-wrong-token")]).await;
    provider_is(&broker, "down").await;
    assert_eq!(broker.get("/ready").await.status, 200, "callers get STUN");
    let hint = broker.hint("PROVIDER_DOWN").await.unwrap();
    assert!(hint.starts_with("The TURN provider issues no credentials, or none of your relays answers the broker's probes. Cloudflare: answered 401 Unauthorized. To fix it, compare CLOUDFLARE_TURN_API_TOKEN"), "{hint}");
    // Everybody else gets the code and the constant sentences.
    let public = broker.get("/api/bandwidth-status").await.json();
    let hint = public["hints"].as_array().unwrap().iter().find(|hint| hint["code"] == "PROVIDER_DOWN");
    let message = "The TURN provider issues no credentials, or none of your relays answers the broker's probes. Run turn-broker doctor. Do what the line provider says; if that is ok, restart the service.";
    assert_eq!(hint.unwrap()["message"], message);
    assert_eq!(public["minting"]["message"], message);
    assert_eq!(broker.get("/ready").await.json()["minting"], public["minting"]);
    let failure = broker.overview().await["provider"]["failure"].clone();
    assert_eq!(failure["what"], "answered 401 Unauthorized");
    assert!(
        failure["remedy"].as_str().unwrap().starts_with("compare CLOUDFLARE_TURN_API_TOKEN"),
        "{failure}"
    );
    assert_eq!(broker.status().await["reservedGB"], "0.00");
    assert_eq!(broker.metric("turn_broker_provider_up").await, Some(0));
    assert_eq!((cloudflare.history().probes(), cloudflare.history().mints()), (1, 0));
    cloudflare.require_token("a-wrong-token");
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    provider_is(&broker, "up").await;
    assert!(!broker.has_hint("PROVIDER_DOWN").await);
    assert!(broker.overview().await["provider"]["failure"].is_null());
}

#[tokio::test]
async fn the_probe_after_the_start_hands_out_nothing_and_a_broker_that_may_not_mint_makes_none() {
    let (cloudflare, broker) = with_cloudflare().await;
    eventually("the probe", async || cloudflare.history().probes() > 0).await;
    assert_eq!((cloudflare.history().probes(), cloudflare.history().mints()), (1, 0));
    provider_is(&broker, "up").await;
    let status = broker.status().await;
    assert_eq!(json!([status["reservedGB"], status["grants"]["issued"]]), json!(["0.00", 0]));

    let (cloudflare, broker) = with_cloudflare_and(&[("TURN_ENABLED", "false")]).await;
    provider_is(&broker, "up").await;
    broker.finish().await;
    assert_eq!(cloudflare.history().probes(), 0);
}

//! The source `http`: any other provider that answers with a list of ICE servers.

use crate::support::prelude::*;

const LIST: &str =
    r#"[{"urls":"stun:a.example:3478"},{"urls":"turn:a.example:3478","username":"u","credential":"c"}]"#;
/// Twilio's form, with a life of an hour.
const AN_HOUR: &str = r#"{"ttl":"3600","ice_servers":[{"url":"turn:a.example:3478","urls":"turn:a.example:3478","username":"u","credential":"c"}]}"#;

/// A broker whose only source is this provider.
async fn with_provider(plan: &[Reply], settings: &[(&str, &str)]) -> (FakeWebhook, TestBroker) {
    let provider = FakeWebhook::start(plan).await;
    let url = provider.url();
    let source = [("ICE_SOURCES", "http"), ("HTTP_ICE_URL", url.as_str())];
    let broker = TestBroker::start(&[&source[..], settings].concat()).await;
    (provider, broker)
}

fn reserved(status: &Value) -> &str {
    status["reservedGB"].as_str().unwrap()
}

#[tokio::test]
async fn a_list_of_any_provider_becomes_a_credential_of_the_setting_s_life() {
    let (provider, broker) = with_provider(&[Reply::Text(LIST)], &[("HTTP_ICE_TTL_SECONDS", "600")]).await;
    let body = broker.mint().await.json();
    assert_eq!(json!([body["source"], body["degraded"]]), json!(["http", false]));
    assert_eq!(json!([body["ttl"], body["expiresAt"]]), json!([600, "2025-01-15T12:10:00.000Z"]));
    let expected = json!([
        {"urls": ["stun:a.example:3478"]},
        {"urls": ["turn:a.example:3478"], "username": "u", "credential": "c"},
    ]);
    assert_eq!(body["iceServers"], expected);
    assert!(body["grant"].is_string());
    let [asked] = &provider.history()[..] else { panic!("one request") };
    assert_eq!((&asked.method, asked.header("accept")), (&Method::GET, Some("application/json")));
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn method_and_authorization_are_those_of_the_settings() {
    let settings = [("HTTP_ICE_METHOD", "POST"), ("HTTP_ICE_AUTHORIZATION", "Basic dXNlcjpodXNo")];
    let (provider, broker) = with_provider(&[Reply::Text(AN_HOUR)], &settings).await;
    assert_eq!(broker.mint().await.json()["source"], "http");
    let asked = &provider.history()[0];
    assert_eq!((&asked.method, asked.header("content-length")), (&Method::POST, Some("0")));
    assert_eq!(asked.header("authorization"), Some("Basic dXNlcjpodXNo"));
}

/// Each lasts its life, 7,200 s of tail and 4 s, outward to whole minutes of 15 MB.
#[tokio::test]
async fn a_client_is_told_the_shortest_life_and_the_longest_is_promised() {
    for (set, asked, answered, promised) in
        [("600", "", 600, "2.72"), ("7200", "", 3_600, "3.62"), ("7200", "?ttl=60", 60, "3.62")]
    {
        let (_provider, broker) =
            with_provider(&[Reply::Text(AN_HOUR)], &[("HTTP_ICE_TTL_SECONDS", set)]).await;
        let body = broker.get(&format!("/api/turn-credentials{asked}")).await.json();
        assert_eq!(body["ttl"], answered, "{set} {asked}");
        assert_eq!(reserved(&broker.status().await), promised, "{set} {asked}");
    }
}

#[tokio::test]
async fn a_longer_tail_is_promised_after_the_time_that_a_credential_works() {
    let state = StateDir::new();
    let settings = |tail| {
        [("STATE_DIR", state.path()), ("HTTP_ICE_TTL_SECONDS", "7200"), ("TURN_EXPIRY_TAIL_SECONDS", tail)]
    };
    let (provider, broker) = with_provider(&[Reply::Text(LIST)], &settings("600")).await;
    assert_eq!(broker.get("/api/turn-credentials?ttl=60").await.json()["ttl"], 60);
    assert_eq!(reserved(&broker.status().await), "1.97");
    let clock = broker.clock();
    broker.finish().await;
    let url = provider.url();
    let source = [("ICE_SOURCES", "http"), ("HTTP_ICE_URL", url.as_str())];
    let broker = TestBroker::start_at(&[&source[..], &settings("7200")].concat(), clock).await;
    assert_eq!(reserved(&broker.status().await), "3.62", "7,200 s of life and as many of tail");
}

#[tokio::test]
async fn strict_mode_hands_out_a_credential_of_the_whole_life_or_none() {
    let strict = [
        ("BUDGET_MODE", "strict"),
        ("BANDWIDTH_LIMIT_GB", "1"),
        ("TURN_EXPIRY_TAIL_SECONDS", "0"),
        ("RESERVED_PERCENT_PER_CLIENT", "100"),
    ];
    // 10 of 11 minutes each take more than a hundredth of the limit. A share would shorten the life of one that can be shortened.
    let (provider, broker) =
        with_provider(&[Reply::Text(LIST); 2], &[&strict[..], &[("HTTP_ICE_TTL_SECONDS", "600")]].concat())
            .await;
    assert_eq!(broker.mint().await.json()["ttl"], 600);
    let status = broker.status().await;
    assert_eq!((reserved(&status), &status["overshootBoundGB"]), ("0.17", &json!("0.00")));
    drop((provider, broker));

    let tail = ("TURN_EXPIRY_TAIL_SECONDS", "1200");
    let settings = [&strict[..2], &[("HTTP_ICE_TTL_SECONDS", "600"), tail]].concat();
    let (_provider, broker) = with_provider(&[Reply::Text(LIST)], &settings).await;
    let body = broker.get("/api/turn-credentials?ttl=60").await.json();
    assert_eq!(body["ttl"], 300, "a quarter of the tail, so that few credentials of a page work at a time");

    // What the provider states is longer than what was reserved, and does not fit.
    let day = AN_HOUR.replace("3600", "86400").leak();
    let (provider, broker) =
        with_provider(&[Reply::Text(day)], &[&strict[..], &[("HTTP_ICE_TTL_SECONDS", "60")]].concat()).await;
    assert_eq!(broker.mint().await.error(), (429, "BUDGET_EXHAUSTED"));
    assert_eq!(provider.history().len(), 1, "the life is known only from the answer");
    let status = broker.status().await;
    assert_eq!((reserved(&status), &status["grants"]["issued"]), ("0.00", &json!(0)));
}

#[tokio::test]
async fn what_the_client_sends_is_charged_and_priced_too_where_the_provider_bills_both_directions() {
    let settings = [("BILLED_DIRECTIONS", "egress,http=both"), ("PRICE_PER_GB", "0.05,http=100")];
    let (_provider, broker) = with_provider(&[Reply::Text(LIST)], &settings).await;
    let grant = broker.mint().await.grant();
    broker.open(&grant, "c").await;
    broker.advance(20);
    broker.heartbeat(&grant, "c", json!({"bytesSent": 9_000_000, "bytesReceived": 3_000_000})).await;
    assert_eq!(broker.used().await, 12_000_000);
    assert_eq!(broker.operator("/api/overview").await.json()["cost"]["soFar"], "1.20");
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_once_more_and_then_named_without_its_url() {
    let bad =
        [Reply::Status(502), Reply::Text(LIST), Reply::Status(502), Reply::Status(502), Reply::Status(401)];
    let (provider, broker) = with_provider(&bad, &[]).await;
    assert_eq!(broker.mint().await.json()["source"], "http");
    assert_eq!(provider.history().len(), 2);
    for calls in [4, 5] {
        let body = broker.mint().await.json();
        assert_eq!(json!([body["source"], body["reason"]]), json!(["stun", "PROVIDER_UNAVAILABLE"]));
        assert_eq!(provider.history().len(), calls, "only a failed connection and a 5xx are tried again");
    }
    assert_eq!(broker.status().await["grants"]["issued"], 1);
}

#[tokio::test]
async fn after_five_failures_the_breaker_opens_and_a_hint_says_what_to_do() {
    let (provider, broker) = with_provider(&[Reply::Status(403); 5], &[]).await;
    for _ in 0..6 {
        assert_eq!(broker.mint().await.json()["source"], "stun");
    }
    assert_eq!(provider.history().len(), 5);
    let status = broker.status().await;
    assert!(hint_codes(&status).contains(&"PROVIDER_DOWN"), "{}", status["hints"]);
    let hints = status["hints"].to_string();
    assert!(hints.contains("answered 403") && hints.contains("HTTP_ICE_AUTHORIZATION"), "{hints}");
    assert!(!hints.contains("hush"), "{hints}");
    assert_eq!(broker.get("/ready").await.json()["provider"], "down");
    assert_eq!(broker.metric("turn_broker_provider_requests_total{outcome=\"status_4xx\"}").await, Some(5));
}

/// All callers are served by the first source, so none of them would find out.
#[tokio::test]
async fn a_second_provider_that_works_again_is_noticed_without_a_caller() {
    let provider = FakeWebhook::start(&[Reply::Status(403), Reply::Text(LIST)]).await;
    let url = provider.url();
    let (cloudflare, broker) =
        with_cloudflare_and(&[("ICE_SOURCES", "cloudflare,http"), ("HTTP_ICE_URL", url.as_str())]).await;
    eventually("the key is tested", async || cloudflare.history().probes() == 1).await;
    let mint = &broker.app.mint;
    mint.probe_providers().await;
    assert_eq!((provider.history().len(), mint.provider_is_up()), (0, Some(true)), "not before it fails");
    cloudflare.next(Fault::NotFound404);
    assert_eq!(broker.mint().await.json()["source"], "stun");
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    assert_eq!(mint.provider_is_up(), Some(false));
    mint.probe_providers().await;
    assert_eq!((provider.history().len(), mint.provider_is_up()), (2, Some(true)));
    mint.probe_providers().await;
    assert_eq!(provider.history().len(), 2, "it is known to work");
}

#[tokio::test]
async fn an_endless_answer_and_one_without_a_relay_are_failures() {
    let stun = Reply::Text(r#"{"iceServers":[{"urls":"stun:a.example"}]}"#);
    for reply in [Reply::EndlessBody, Reply::Redirect, Reply::Text("<html>"), stun] {
        let (_provider, broker) = with_provider(&[reply], &[]).await;
        assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE", "{reply:?}");
        assert_eq!(reserved(&broker.status().await), "0.00", "{reply:?}");
    }
}

#[tokio::test]
async fn the_log_has_neither_the_url_nor_the_authorization() {
    let (log, _guard) = Log::of_this_thread();
    let settings = [("HTTP_ICE_AUTHORIZATION", "Bearer hush-token")];
    let (_provider, broker) = with_provider(&[Reply::Status(500); 2], &settings).await;
    broker.mint().await;
    let log = log.text();
    // The HTTP client's own lines of the level `trace` have the URL.
    let log = log.lines().filter(|line| line.contains(" turn_broker::")).collect::<Vec<_>>().join("\n");
    assert!(log.contains("HTTP_ICE_URL did not mint: answered 500"), "{log}");
    assert!(!log.contains("hush"), "{log}");
}

#[tokio::test]
async fn the_bound_does_not_hold_while_sessions_may_outlive_every_promise() {
    let state = StateDir::new();
    let durable = [("STATE_DIR", state.path())];
    let (provider, broker) = with_provider(&[Reply::Text(LIST)], &durable).await;
    let status = broker.status().await;
    assert_eq!(
        (status["boundHolds"].as_bool(), hint_codes(&status).contains(&"SESSIONS_UNSEEN")),
        (Some(true), false)
    );
    broker.mint().await;
    let status = broker.status().await;
    assert_eq!(status["boundHolds"], false);
    assert!(hint_codes(&status).contains(&"SESSIONS_UNSEEN"), "{}", status["hints"]);
    let clock = broker.clock();
    broker.finish().await;

    let url = provider.url();
    let source = [("ICE_SOURCES", "http"), ("HTTP_ICE_URL", url.as_str()), durable[0]];
    let broker = TestBroker::start_at(&source, clock).await;
    for (at, holds) in
        [("2025-01-20T00:00:00Z", false), ("2025-02-28T00:00:00Z", false), ("2025-03-01T00:00:01Z", true)]
    {
        broker.advance_to(at);
        assert_eq!(broker.status().await["boundHolds"], holds, "{at}");
    }
}

#[tokio::test]
async fn the_bound_holds_with_a_life_and_a_tail_of_the_settings() {
    let known = [("HTTP_ICE_TTL_SECONDS", "600"), ("TURN_EXPIRY_TAIL_SECONDS", "600")];
    for (settings, holds) in [(&known[..], true), (&known[..1], false), (&known[1..], false)] {
        let (_provider, broker) = with_provider(&[Reply::Text(LIST)], settings).await;
        broker.mint().await;
        assert_eq!(broker.status().await["boundHolds"], holds, "{settings:?}");
    }
}

#[tokio::test]
async fn what_pages_report_is_charged_and_a_revocation_ends_the_renewal() {
    let (_provider, broker) = with_provider(&[Reply::Text(LIST)], &[]).await;
    let grant = broker.grant().await;
    broker.open(&grant, "c").await;
    broker.advance(10);
    broker.heartbeat(&grant, "c", json!({"bytesReceived": 5_000_000})).await;
    assert_eq!(broker.used().await, 5_000_000);
    let revoked = broker.order(Method::POST, &format!("/api/credentials/{grant}/revoke")).await;
    assert_eq!(revoked.json()["provider"], "unsupported");
    assert_eq!(broker.heartbeat(&grant, "c", json!({})).await.error(), (401, "INVALID_GRANT"));
}

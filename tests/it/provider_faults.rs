//! A Cloudflare that misbehaves. Whatever it does, the caller gets a response, no text of the provider's body leaks, and no
//! credential that no client has is charged.

use crate::support::prelude::*;

/// Every fault after which there is no credential.
const FATAL: [Fault; 15] = [
    Fault::Hang,
    Fault::SlowDrip,
    Fault::ResetMidBody,
    Fault::ResetBeforeAnswer,
    Fault::TooManyRequests,
    Fault::AsksForPause,
    Fault::ServerErrorHtml(500),
    Fault::ServerErrorHtml(503),
    Fault::Forbidden1010,
    Fault::Unauthorized401,
    Fault::NotFound404,
    Fault::MalformedJson,
    Fault::HugeJson,
    Fault::Redirect,
    Fault::EmptyBody201,
];

#[tokio::test]
async fn every_fault_becomes_a_stun_response_in_time_and_reserves_nothing() {
    assert!(turn_broker::ice::call::DEADLINE <= Duration::from_secs(3));
    let mut checks = vec![];
    for fault in FATAL {
        let (cloudflare, broker) = with_cloudflare().await;
        cloudflare.always(fault);
        checks.push(tokio::spawn(async move {
            check_fault(&broker, fault).await;
            assert_eq!(cloudflare.history().redirect_hits(), 0, "a redirect is never followed");
        }));
    }
    for check in checks {
        check.await.unwrap();
    }
}

async fn check_fault(broker: &TestBroker, fault: Fault) {
    let answer = finished("the answer", broker.mint()).await;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{fault:?}");
    let told = json!([body["source"], body["degraded"], body["reason"]]);
    assert_eq!(told, json!(["stun", true, "PROVIDER_UNAVAILABLE"]), "{fault:?}");
    assert!(body.get("grant").is_none(), "{fault:?}");
    assert_eq!(body["iceServers"][0]["urls"][0], "stun:stun.l.google.com:19302", "{fault:?}");
    let status = broker.status().await;
    assert_eq!(status["reservedGB"], "0.00", "{fault:?}: nobody can use it, so the hold was released");
    let grants = [&status["grants"]["issued"], &status["grants"]["live"]];
    assert_eq!(grants, [0, 0], "{fault:?}");
    for leak in [Fault::BODY_MARK, "1010", API_TOKEN] {
        assert!(!answer.text.contains(leak), "{fault:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_slow_response_a_200_and_a_wrong_content_type_are_accepted() {
    let (cloudflare, broker) = with_cloudflare().await;
    for fault in [Fault::Latency(Duration::from_millis(200)), Fault::Status200, Fault::WrongContentType] {
        cloudflare.next(fault);
        assert_eq!(broker.mint().await.json()["source"], "cloudflare", "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_error_and_a_broken_connection_are_repeated_once_and_nothing_else() {
    for (faults, source, calls) in [
        (vec![Fault::ServerErrorHtml(502)], "cloudflare", 2),
        (vec![Fault::ServerErrorHtml(502); 2], "stun", 2),
        (vec![Fault::ResetBeforeAnswer], "cloudflare", 2),
        (vec![Fault::ResetBeforeAnswer; 2], "stun", 2),
        (vec![Fault::TooManyRequests], "stun", 1),
        (vec![Fault::ResetMidBody], "stun", 1),
        (vec![Fault::MalformedJson], "stun", 1),
        (vec![Fault::Unauthorized401], "stun", 1),
    ] {
        let (cloudflare, broker) = with_cloudflare().await;
        for fault in &faults {
            cloudflare.next(*fault);
        }
        assert_eq!(broker.mint().await.json()["source"], source, "{faults:?}");
        assert_eq!(cloudflare.history().mints(), calls, "{faults:?}");
    }
}

#[tokio::test]
async fn the_pause_that_the_provider_asks_for_is_kept_and_is_no_failure_of_the_provider() {
    let (cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    cloudflare.next(Fault::TooManyRequests);
    for _ in 0..7 {
        assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE");
    }
    assert_eq!(cloudflare.history().mints(), 2, "one credential, and one refusal with `Retry-After: 5`");
    assert_eq!(broker.revoke(&grant).await.json()["provider"], "revoked", "only mints wait");
    assert_eq!(broker.metric("turn_broker_breaker_state").await, Some(0));
    let outcome = "turn_broker_provider_requests_total{outcome=\"paused\"}";
    assert_eq!(broker.metric(outcome).await, Some(6));
    broker.advance(5);
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn a_pause_is_stated_with_its_end_and_ends_with_the_first_try_that_succeeds() {
    let (cloudflare, broker) = with_cloudflare().await;
    broker.grant().await;
    cloudflare.next(Fault::AsksForPause);
    broker.mint().await;
    broker.advance(9);
    assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE");
    assert_eq!(cloudflare.history().mints(), 2, "no try yet");
    let end = "2025-01-15T12:05:00.000Z";
    let status = broker.status().await;
    let minting = &status["minting"];
    assert_eq!(*minting, broker.operator("/ready").await.json()["minting"]);
    assert_eq!(json!([minting["code"], minting["until"]]), json!(["PROVIDER_UNAVAILABLE", end]));
    let hints = status["hints"].as_array().unwrap();
    let hint = hints.iter().find(|hint| hint["code"] == "PROVIDER_DOWN").unwrap();
    assert_eq!(hint["until"], end);
    let cause = format!(
        "answered 503 Service Unavailable. To fix it, wait; if the error continues, see https://www.cloudflarestatus.com. A pause was requested until {end}; one request each 10 s tries"
    );
    assert!(hint["message"].as_str().unwrap().contains(&cause), "{hint}");
    broker.advance(1);
    assert_eq!(broker.mint().await.json()["source"], "cloudflare", "the try");
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    assert_eq!(broker.operator("/ready").await.json()["minting"]["on"], true);
    assert!(!broker.has_hint("PROVIDER_DOWN").await);
}

#[tokio::test]
async fn a_pause_of_revocations_stops_no_mint() {
    let (cloudflare, broker) = with_cloudflare().await;
    let grants = [broker.grant().await, broker.grant().await];
    cloudflare.next(Fault::TooManyRequests);
    for grant in &grants {
        assert_eq!(broker.revoke(grant).await.json()["provider"], "failed");
    }
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    broker.advance(5);
    assert_eq!(broker.revoke(&grants[1]).await.json()["provider"], "revoked");
}

#[tokio::test]
async fn a_retry_that_the_deadline_ends_does_not_hide_the_first_failure() {
    let (cloudflare, broker) = with_cloudflare().await;
    cloudflare.next(Fault::ServerErrorHtml(503));
    cloudflare.next(Fault::Hang);
    assert_eq!(broker.mint().await.json()["source"], "stun");
    let outcome = "turn_broker_provider_requests_total{outcome=\"status_5xx\"}";
    assert_eq!(broker.metric(outcome).await, Some(1));
}

#[tokio::test]
async fn a_closed_port_is_a_failure_and_its_return_is_noticed() {
    let (cloudflare, broker) = with_cloudflare().await;
    cloudflare.stop().await;
    assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE");
    cloudflare.restart().await;
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn after_five_failures_the_provider_is_not_called_for_a_while() {
    let (cloudflare, broker) = with_cloudflare().await;
    cloudflare.always(Fault::NotFound404);
    for _ in 0..5 {
        broker.mint().await;
    }
    assert_eq!(cloudflare.history().mints(), 5);
    assert_eq!(broker.metric("turn_broker_breaker_state").await, Some(2));

    cloudflare.heal();
    assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE", "the breaker is open");
    assert_eq!(cloudflare.history().mints(), 5);

    broker.advance(10);
    // Ten seconds are the longest that it stays open.
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    assert_eq!(broker.metric("turn_broker_breaker_state").await, Some(0));
}

/// The budget may refuse all callers until the reset, and the status would say so long that the provider does not mint.
#[tokio::test]
async fn a_provider_that_works_again_is_noticed_without_a_caller() {
    let (cloudflare, broker) = with_cloudflare().await;
    eventually("the key is tested", async || cloudflare.history().probes() == 1).await;
    cloudflare.always(Fault::ServerErrorHtml(503));
    for _ in 0..5 {
        broker.mint().await;
    }
    let provider = broker.app.mint.provider().unwrap();
    provider.probe().await;
    assert_eq!(cloudflare.history().probes(), 1, "not while the breaker is open");
    assert!(!provider.is_up());
    broker.advance(30);
    provider.probe().await;
    assert!(provider.is_up());
    assert_eq!(cloudflare.history().probes(), 2);
    provider.probe().await;
    assert_eq!(cloudflare.history().probes(), 2, "it is known to work");
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_no_reservation() {
    let (cloudflare, broker) = with_cloudflare().await;
    cloudflare.always(Fault::Hang);
    tokio::select! {
        _ = broker.mint() => panic!("the provider hangs"),
        () = eventually("the provider is asked", async || cloudflare.history().mints() == 1) => {}
    }
    eventually("the hold is released", async || broker.status().await["reservedGB"] == "0.00").await;
}

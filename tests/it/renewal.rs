//! Tests of renewals. A grant allows one renewal, which counts against the client's allowance for renewals.

use crate::support::prelude::*;

/// A broker that allows one request per client, and the grant of a client that has made it.
async fn spent() -> (FakeCloudflare, TestBroker, String) {
    let settings = [("RATE_LIMIT_REQUESTS", "1"), ("TURN_TTL_SECONDS", "3600")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    let grant = broker.grant().await;
    assert_eq!(broker.mint().await.status, 429);
    (cloudflare, broker, grant)
}

#[tokio::test]
async fn a_grant_can_be_renewed_once_after_refresh_after_and_so_can_its_successor() {
    let (cloudflare, broker, grant) = spent().await;
    broker.advance(2_699);
    assert_eq!(broker.mint_with(&grant).await.status, 429, "too early, so the token is ignored");
    broker.advance(1);
    let renewed = broker.mint_with(&grant).await.json();
    assert_eq!(renewed["source"], "cloudflare");
    assert_eq!(broker.mint_with(&grant).await.status, 429, "a token renews only once");
    broker.advance(2_700);
    let next = renewed["grant"].as_str().unwrap();
    assert_ne!(next, grant);
    assert_eq!(broker.mint_with(next).await.json()["source"], "cloudflare");
    assert_eq!(cloudflare.history().mints(), 3);
}

#[tokio::test]
async fn a_token_that_may_not_renew_is_ignored() {
    let (_cloudflare, broker, grant) = spent().await;
    broker.advance(2_700);
    let other = if grant.ends_with('A') { 'B' } else { 'A' };
    let forged = format!("{}{other}", &grant[..grant.len() - 1]);
    for token in [forged.as_str(), "x", REPORTER] {
        assert_eq!(broker.mint_with(token).await.status, 429, "{token}");
    }
    broker.advance(900);
    assert_eq!(broker.mint_with(&grant).await.status, 429, "expired");
}

#[tokio::test]
async fn renewals_have_an_allowance_of_their_own() {
    let settings = [("RATE_LIMIT_REQUESTS", "3"), ("RATE_LIMIT_RENEWALS", "2"), ("TURN_TTL_SECONDS", "3600")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    let mut grants = Vec::new();
    for _ in 0..3 {
        grants.push(broker.grant().await);
    }
    broker.advance(2_700);
    let first = broker.mint_with(&grants[0]).await;
    assert_eq!(first.header("ratelimit-limit"), Some("2"));
    assert_eq!(first.header("ratelimit-remaining"), Some("1"));
    assert_eq!(broker.mint_with(&grants[1]).await.status, 200);
    let refused = broker.mint_with(&grants[2]).await;
    assert_eq!(refused.error(), (429, "RATE_LIMITED"));
    assert_eq!(refused.header("ratelimit-limit"), Some("2"));
    assert_eq!(cloudflare.history().mints(), 5);
    let elsewhere = broker.request(Method::GET, "/api/turn-credentials").bearer_auth(&grants[2]);
    let elsewhere = Answer::of(elsewhere.header("x-forwarded-for", "203.0.113.9")).await;
    assert_eq!(elsewhere.status, 200, "the refused renewal has not used up the right");
}

#[tokio::test]
async fn a_failed_renewal_can_be_retried() {
    let (cloudflare, broker, grant) = spent().await;
    broker.advance(2_700);
    cloudflare.next(Fault::NotFound404);
    assert_eq!(broker.mint_with(&grant).await.json()["reason"], "PROVIDER_UNAVAILABLE");
    assert_eq!(broker.mint_with(&grant).await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn of_many_concurrent_renewals_one_succeeds() {
    let (cloudflare, broker, grant) = spent().await;
    broker.advance(2_700);
    cloudflare.next(Fault::Latency(Duration::from_millis(300)));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(Answer::of(broker.request(Method::GET, "/api/turn-credentials").bearer_auth(&grant)))
        })
        .collect();
    let mut served = 0;
    for call in calls {
        served += usize::from(call.await.unwrap().status == 200);
    }
    assert_eq!((served, cloudflare.history().mints()), (1, 2));
}

#[tokio::test]
async fn the_budget_applies_to_a_renewal() {
    let settings =
        [("BANDWIDTH_LIMIT_GB", "1"), ("ESTIMATED_MBPS_PER_CONNECTION", "8000"), ("TURN_TTL_SECONDS", "60")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let grant = broker.grant().await;
    broker.post(&grant, "/api/connections", serde_json::json!({})).await;
    broker.advance(50);
    assert_eq!(broker.mint_with(&grant).await.error(), (429, "BUDGET_EXHAUSTED"));
}

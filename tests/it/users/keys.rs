//! The keys of an issuer: when they are fetched, and what is served while they cannot be.

use crate::support::fake_issuer::{FakeIssuer, Signer};
use crate::support::{Answer, TestBroker};
use reqwest::StatusCode;
use serde_json::json;

use super::{NOW, claims, mint_with};

#[tokio::test]
async fn a_new_key_is_fetched_when_its_first_token_comes_and_a_withdrawn_one_is_forgotten() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let issuer = FakeIssuer::start(&[old.public("old")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let (by_old, by_new) = (old.sign(Some("old"), &claims("ann")), new.sign(Some("new"), &claims("ann")));
    assert_eq!(mint_with(&broker, &by_old).await.status, 200);
    issuer.publish(&[new.public("new")]);
    for _ in 0..3 {
        assert_eq!(mint_with(&broker, &by_new).await.error(), (401, "INVALID_TOKEN".into()));
    }
    assert_eq!(issuer.requests(), 1, "the last call is too recent");
    broker.advance(10);
    assert_eq!(mint_with(&broker, &by_new).await.status, 200);
    assert_eq!((mint_with(&broker, &by_old).await.error().0, issuer.requests()), (401, 2));
}

#[tokio::test]
async fn unknown_keys_cause_one_call_in_ten_seconds() {
    let signer = Signer::es256();
    let issuer = FakeIssuer::start(&[signer.public("a")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    for round in 1..=3 {
        let tokens: Vec<String> =
            (0..20).map(|n| signer.sign(Some(&format!("unknown-{n}")), &claims("ann"))).collect();
        let answers = tokens.iter().map(|token| mint_with(&broker, token));
        for answer in futures_join(answers).await {
            assert_eq!(answer.error(), (401, "INVALID_TOKEN".into()));
        }
        assert_eq!(issuer.requests(), round);
        broker.advance(10);
    }
}

/// Waits for all of them at the same time.
async fn futures_join(all: impl Iterator<Item = impl Future<Output = Answer>>) -> Vec<Answer> {
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test]
async fn while_the_issuer_is_down_the_last_good_keys_stay() {
    let signer = Signer::rs256();
    let issuer = FakeIssuer::start(&[signer.public("a")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let known = signer.sign(Some("a"), &json!({"sub": "ann", "exp": NOW + 86_400}));
    let unknown = signer.sign(Some("b"), &json!({"sub": "ann", "exp": NOW + 86_400}));
    assert_eq!(mint_with(&broker, &known).await.status, 200);
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, "x".repeat(65 * 1_024)),
        (StatusCode::FOUND, String::new()),
    ] {
        issuer.answer(status, body);
        broker.advance(10);
        let answer = mint_with(&broker, &unknown).await;
        assert_eq!(answer.error(), (503, "OVERLOADED".into()), "nobody knows whether the key is good");
        assert_eq!(answer.header("retry-after"), Some("10"));
        assert_eq!(mint_with(&broker, &known).await.status, 200);
    }
    for (outcome, count) in [("status_5xx", 1), ("bad_body", 3), ("status_other", 1)] {
        let line = format!("turn_broker_key_fetches_total{{outcome=\"{outcome}\"}}");
        assert_eq!(broker.metric(&line).await, Some(count), "{outcome}");
    }
    issuer.publish(&[signer.public("b")]);
    broker.advance(10);
    assert_eq!(mint_with(&broker, &unknown).await.status, 200);
}

#[tokio::test]
async fn a_broker_that_starts_while_the_issuer_is_down_serves_users_once_it_is_back() {
    let signer = Signer::ed_dsa();
    let issuer = FakeIssuer::start(&[]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let token = signer.sign(Some("a"), &claims("ann"));
    assert_eq!(mint_with(&broker, &token).await.error().0, 503);
    assert_eq!(broker.mint().await.status, 200, "anonymous callers are served");
    issuer.publish(&[signer.public("a")]);
    broker.advance(10);
    assert_eq!(mint_with(&broker, &token).await.status, 200);
}

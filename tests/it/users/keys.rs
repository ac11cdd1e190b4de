//! The keys of an issuer: when they are fetched, and what is served while they cannot be.

use crate::support::prelude::*;

use super::{NOW, claims};

#[tokio::test]
async fn a_new_key_is_fetched_when_its_first_token_comes_and_a_withdrawn_one_is_forgotten() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let issuer = FakeIssuer::start(&[old.public("old")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let (by_old, by_new) = (old.sign(Some("old"), &claims("ann")), new.sign(Some("new"), &claims("ann")));
    assert_eq!(broker.mint_with(&by_old).await.status, 200);
    let requests = issuer.requests();
    issuer.publish(&[new.public("new")]);
    assert_eq!(broker.mint_with(&by_new).await.status, 200, "at once");
    for _ in 0..3 {
        assert_eq!(broker.mint_with(&by_old).await.error(), (401, "INVALID_TOKEN"));
    }
    assert_eq!(issuer.requests(), requests + 1, "the last such call is too recent");
    issuer.publish(&[old.public("old")]);
    broker.advance(10);
    assert_eq!(broker.mint_with(&by_old).await.status, 200);
    assert_eq!(issuer.requests(), requests + 2);
}

#[tokio::test]
async fn while_the_issuer_is_down_the_last_good_keys_stay() {
    let signer = Signer::rs256();
    let issuer = FakeIssuer::start(&[signer.public("a")]).await;
    let url = issuer.url();
    let broker = TestBroker::start(&[("AUTH_JWKS_URL", &url)]).await;
    let known = signer.sign(Some("a"), &json!({"sub": "ann", "exp": NOW + 86_400}));
    let unknown = signer.sign(Some("b"), &json!({"sub": "ann", "exp": NOW + 86_400}));
    assert_eq!(broker.mint_with(&known).await.status, 200);
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, "x".repeat(65 * 1_024)),
        (StatusCode::FOUND, String::new()),
    ] {
        issuer.answer(status, body);
        broker.advance(10);
        let answer = broker.mint_with(&unknown).await;
        assert_eq!(answer.error(), (503, "OVERLOADED"), "nobody knows whether the key is good");
        assert_eq!(answer.header("retry-after"), Some("10"));
        assert_eq!(broker.mint_with(&known).await.status, 200);
    }
    for (outcome, count) in [("status_5xx", 1), ("bad_body", 3), ("status_other", 1)] {
        let line = format!("turn_broker_key_fetches_total{{outcome=\"{outcome}\"}}");
        assert_eq!(broker.metric(&line).await, Some(count), "{outcome}");
    }
    issuer.publish(&[signer.public("b")]);
    broker.advance(10);
    assert_eq!(broker.mint_with(&unknown).await.status, 200);
}

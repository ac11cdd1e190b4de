//! Credentials of pages whose session is refused.

use reqwest::Method;
use serde_json::json;

use super::{at, sent};
use crate::support::fake_sfu::{FakeSfu, SfuFault};
use crate::support::{Answer, OPERATOR, TestBroker};

const ANN: &str = "203.0.113.1";
const BOB: &str = "203.0.113.2";

/// `mints_max`: how many credentials an address may get.
async fn start(mints_max: &str) -> (FakeSfu, TestBroker) {
    let sfu = FakeSfu::start().await;
    let settings = [
        ("ICE_SOURCES", "coturn"),
        ("COTURN_URLS", "turn:turn.example:3478"),
        ("COTURN_SECRET", "s"),
        ("RATE_LIMIT_REQUESTS", mints_max),
    ];
    let broker = at(&sfu, &settings).await;
    (sfu, broker)
}

/// The user name of the credential that a page gets. `None` for STUN servers only.
async fn credential(broker: &TestBroker, address: &str) -> Option<String> {
    let answer = Answer::of(sent(broker, Method::GET, "/partytracks/generate-ice-servers", address)).await;
    assert_eq!(answer.status, 200);
    answer.json()["iceServers"][0]["username"].as_str().map(str::to_owned)
}

/// Tries to open a session. Returns whether it began.
async fn opens(broker: &TestBroker, address: &str) -> bool {
    let path = "/partytracks/sessions/new?correlationId=r";
    Answer::of(sent(broker, Method::POST, path, address)).await.status == 201
}

#[tokio::test]
async fn an_outage_of_the_sfu_costs_a_page_one_credential() {
    let (sfu, broker) = start("2").await;
    let faults = [SfuFault::Html(503), SfuFault::Json(429), SfuFault::Redirect];
    let mut last = None;
    for fault in faults.iter().cycle().take(9) {
        let minted = credential(&broker, ANN).await;
        assert!(minted.is_some() && (last.is_none() || minted == last), "{last:?} {minted:?}");
        last = minted;
        sfu.next(fault.clone());
        assert!(!opens(&broker, ANN).await);
    }
    assert_ne!(credential(&broker, BOB).await, last, "nobody else gets it");
    assert_eq!(credential(&broker, ANN).await, last);
    assert!(opens(&broker, ANN).await);
    let next = credential(&broker, ANN).await;
    assert!(next.is_some() && next != last, "the first one is in use");
    assert_eq!(broker.status().await["grants"]["issued"], 3);
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_credential_frees_it_the_next_time() {
    let (sfu, broker) = start("2").await;
    let mut minted = vec![];
    for _ in 0..6 {
        sfu.next(SfuFault::Html(503));
        assert!(!opens(&broker, ANN).await);
        minted.push(credential(&broker, ANN).await.expect("a relay"));
    }
    minted.sort();
    minted.dedup();
    assert!(minted.len() <= 2, "{minted:?}");
}

#[tokio::test]
async fn a_page_whose_address_opens_too_many_sessions_keeps_its_credential() {
    let (_sfu, broker) = start("2").await;
    for _ in 0..20 {
        assert!(opens(&broker, ANN).await);
    }
    let first = credential(&broker, ANN).await;
    assert!(!opens(&broker, ANN).await);
    assert_eq!(credential(&broker, ANN).await, first);
}

#[tokio::test]
async fn a_credential_that_would_not_be_minted_is_not_handed_out_again() {
    let (sfu, broker) = start("9").await;
    let refuse = async || {
        sfu.next(SfuFault::Html(503));
        assert!(!opens(&broker, ANN).await);
    };
    let post = async |path: &str, body: serde_json::Value| {
        let answer = Answer::of(broker.request(Method::POST, path).bearer_auth(OPERATOR).json(&body)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
    };
    let first = credential(&broker, ANN).await;
    refuse().await;
    post("/api/budget/freeze", json!({})).await;
    assert_eq!(credential(&broker, ANN).await, None, "while minting is stopped");
    post("/api/budget/freeze", json!({ "frozen": false })).await;
    assert_eq!(credential(&broker, ANN).await, first);
    refuse().await;
    let grants = Answer::of(broker.request(Method::GET, "/api/grants").bearer_auth(OPERATOR)).await.json();
    let grant = grants["grants"][0]["id"].as_str().unwrap().to_owned();
    post(&format!("/api/credentials/{grant}/revoke"), json!({})).await;
    let second = credential(&broker, ANN).await;
    assert!(second.is_some() && second != first, "it was revoked");
    refuse().await;
    broker.advance(60);
    assert_ne!(credential(&broker, ANN).await, second, "it is too old");
}

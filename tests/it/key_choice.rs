//! Several TURN keys: which one mints, and what happens when one is refused.

use crate::support::prelude::*;

const EU_AND_US: &str = "eu=key-eu:token-of-eu-fixture:3,us=key-us:token-of-us-fixture:0";

async fn with_keys(keys: &str, settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.add_key("key-eu", "token-of-eu-fixture");
    cloudflare.add_key("key-us", "token-of-us-fixture");
    let broker = broker_with(&cloudflare, keys, settings).await;
    (cloudflare, broker)
}

async fn broker_with(cloudflare: &FakeCloudflare, keys: &str, settings: &[(&str, &str)]) -> TestBroker {
    let base = cloudflare.base_url();
    let mut all = vec![
        ("CLOUDFLARE_API_BASE", base.as_str()),
        ("CLOUDFLARE_ANALYTICS_BASE", base.as_str()),
        ("CLOUDFLARE_TURN_KEYS", keys),
    ];
    all.extend_from_slice(settings);
    TestBroker::start(&all).await
}

/// How many mints each key was asked for.
fn mints(cloudflare: &FakeCloudflare) -> BTreeMap<String, usize> {
    let mut mints = BTreeMap::new();
    for request in cloudflare.history().requests() {
        if request.path.ends_with("/generate-ice-servers") {
            *mints.entry(request.key_id.unwrap()).or_default() += 1;
        }
    }
    mints
}

#[tokio::test]
async fn a_key_mints_by_its_weight_or_by_its_name() {
    let (cloudflare, broker) = with_keys(EU_AND_US, &[]).await;
    for _ in 0..5 {
        assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    }
    assert_eq!(mints(&cloudflare), BTreeMap::from([("key-eu".into(), 5)]));
    for path in ["/api/turn-credentials?region=us", "/api/turn-credentials?ttl=600&region=us"] {
        assert_eq!(broker.get(path).await.json()["degraded"], false);
    }
    assert_eq!(mints(&cloudflare)["key-us"], 2);
    assert_eq!(broker.get("/api/turn-credentials?region=").await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn an_unknown_region_is_an_invalid_request() {
    let (cloudflare, broker) = with_keys(EU_AND_US, &[]).await;
    for query in ["region=asia", "region=EU", "region=key-eu", "region=eu&region=eu", "region=%00"] {
        let answer = broker.get(&format!("/api/turn-credentials?{query}")).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{query}");
    }
    assert!(mints(&cloudflare).is_empty());
    let broker = TestBroker::start(&[]).await;
    assert_eq!(broker.get("/api/turn-credentials?region=eu").await.error().0, 400, "without any key");
}

#[tokio::test]
async fn a_credential_is_revoked_with_the_key_that_minted_it_also_after_a_restart() {
    let state = StateDir::new();
    let (cloudflare, broker) = with_keys(EU_AND_US, &[("STATE_DIR", state.path())]).await;
    broker.get("/api/turn-credentials?region=us&ttl=3600").await;
    let grant = cloudflare.history().requests().pop().unwrap().custom_identifier.unwrap();
    broker.finish().await;
    let broker = broker_with(&cloudflare, EU_AND_US, &[("STATE_DIR", state.path())]).await;
    assert_eq!(broker.revoke(&grant).await.json()["provider"], "revoked");
    assert_eq!(cloudflare.history().requests().pop().unwrap().key_id.as_deref(), Some("key-us"));
}

#[tokio::test]
async fn a_key_that_cloudflare_refuses_costs_no_mint() {
    let keys = "eu=key-eu:token-of-eu-fixture,us=key-us:token-of-us-fixture";
    let (cloudflare, broker) = with_keys(keys, &[]).await;
    cloudflare.remove_key("key-us");
    for _ in 0..40 {
        let body = broker.get("/api/turn-credentials?region=us").await.json();
        assert_eq!(json!([body["source"], body["degraded"]]), json!(["cloudflare", false]));
    }
    assert_eq!(mints(&cloudflare)["key-us"], 5, "the breaker of that key is open");
    let overview = broker.overview().await;
    assert_eq!(overview["provider"]["breaker"], "closed", "one key mints");
    let states = overview["provider"]["keys"].as_array().unwrap().iter();
    let states: Vec<_> = states.map(|key| (key["name"].clone(), key["breaker"].clone())).collect();
    assert_eq!(states, [(json!("eu"), json!("closed")), (json!("us"), json!("open"))]);
    assert_eq!(broker.metric("turn_broker_provider_up").await, Some(1));
}

#[tokio::test]
async fn a_key_for_which_a_pause_holds_costs_no_mint_while_another_works() {
    let keys = "eu=key-eu:token-of-eu-fixture,us=key-us:token-of-us-fixture";
    let (cloudflare, broker) = with_keys(keys, &[]).await;
    cloudflare.next(Fault::AsksForPause);
    broker.get("/api/turn-credentials?region=us").await;
    for _ in 0..5 {
        assert_eq!(broker.get("/api/turn-credentials?region=us").await.json()["source"], "cloudflare");
    }
    assert_eq!(mints(&cloudflare), BTreeMap::from([("key-eu".into(), 5), ("key-us".into(), 1)]));
}

#[tokio::test]
async fn one_mint_tries_two_keys_at_most() {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.add_key("another", "token-of-another-fixture");
    let keys = "a=key-a:token-a-fixture,b=key-b:token-b-fixture,c=key-c:token-c-fixture";
    let broker = broker_with(&cloudflare, keys, &[]).await;
    assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE");
    assert_eq!(mints(&cloudflare).values().copied().collect::<Vec<_>>(), [1, 1]);
}

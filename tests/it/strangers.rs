//! The limits of one client address, and of a revoked grant, over HTTP. The tests of the books check the arithmetic.

use crate::support::prelude::*;

const HUGE: u64 = 9_007_199_254_740_991;

async fn open(broker: &TestBroker, token: &str, id: &str) -> Answer {
    broker.open(token, id).await
}

async fn claim(broker: &TestBroker, token: &str, id: &str) -> Answer {
    broker.heartbeat(token, id, json!({"bytesReceived": HUGE})).await
}

#[tokio::test]
async fn the_grants_of_one_address_share_one_allowance_for_claims_over_a_restart() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path()), ("CLAIMS_MBPS_PER_CLIENT", "10")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let mut grants = vec![];
    for address in ["203.0.113.9", "203.0.113.9", "198.51.100.7"] {
        grants.push(broker.mint_from(address).await.grant());
    }
    broker.finish().await;
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    for grant in &grants {
        open(&broker, grant, "c").await;
    }
    broker.advance(8);
    for grant in &grants {
        claim(&broker, grant, "c").await;
    }
    assert_eq!(broker.used().await, 2 * 10_000_000, "10 Mbps for 8 s, of each of the two addresses");
    assert_eq!(broker.overview().await["connections"]["claimsClamped"], 3);
    assert_eq!(broker.metric("turn_broker_claims_clamped_total").await, Some(3));
}

/// A credential that costs nothing gets no row when it is issued. Its address is that of its reports.
#[tokio::test]
async fn one_address_opens_256_connections_and_others_are_served() {
    let cloudflare = with_cloudflare().await;
    for broker in [&cloudflare.1, &TestBroker::start(&MANUAL).await] {
        let mut grants = vec![];
        for _ in 0..5 {
            grants.push(broker.mint_from("2001:db8:1:2::1").await.grant());
        }
        let open_from = async |address: &str, token: &str, id: &str| {
            let request = broker.request(Method::POST, "/api/connections").bearer_auth(token);
            let body = json!({"connectionId": id});
            Answer::of(request.header("x-forwarded-for", address).json(&body)).await
        };
        for n in 0..256 {
            assert_eq!(open_from("2001:db8:1:2::1", &grants[n / 64], &n.to_string()).await.status, 201);
        }
        let refused = open_from("2001:db8:1:2::1", &grants[4], "one-more").await;
        assert_eq!(refused.error(), (429, "RATE_LIMITED"));
        assert!(refused.json()["message"].as_str().unwrap().contains("of this client"));
        let refusals = "turn_broker_connections_refused_total{outcome=\"address\"}";
        assert_eq!(broker.metric(refusals).await, Some(1));
        let neighbour = broker.mint_from("2001:db8:1:3::1").await.grant();
        assert_eq!(open_from("2001:db8:1:3::1", &neighbour, "c").await.status, 201);
        assert_eq!(open(broker, REPORTER, "c").await.status, 201);
    }
}

#[tokio::test]
async fn in_strict_mode_an_address_that_has_used_its_share_gets_budget_exhausted_and_others_are_served() {
    let settings = [("BUDGET_MODE", "strict"), ("RATE_LIMIT_REQUESTS", "1000")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let mut lives = vec![];
    let refused = loop {
        let answer = broker.mint_from("203.0.113.9").await;
        match answer.json()["ttl"].as_u64() {
            Some(ttl) => lives.push(ttl),
            None => break answer,
        }
    };
    assert!(lives.len() > 10 && lives.is_sorted_by(|a, b| a >= b), "{lives:?}");
    assert_eq!(refused.error(), (429, "BUDGET_EXHAUSTED"));
    let expected = "Monthly bandwidth limit of 1000 GB has room, but your address or your user has reserved its share of it with credentials already issued. Please try again later.";
    assert_eq!(refused.json()["message"], expected);
    assert_eq!(refused.json()["error"], "Bandwidth limit reached");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((9_000..=9_300).contains(&wait), "until the first half hour and its tail are over: {wait}");
    let reserved: f64 = broker.reserved_gb().await;
    assert!((40.0..=50.0).contains(&reserved), "{reserved}");
    assert_eq!(broker.metric("turn_broker_address_refusals_total").await, Some(1));
    assert_eq!(broker.mint_from("198.51.100.7").await.json()["source"], "cloudflare");
    broker.advance(wait);
    assert_eq!(broker.mint_from("203.0.113.9").await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn a_revoked_grant_gets_401_its_connections_close_and_the_time_is_shown() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.mint_from("203.0.113.9").await.grant();
    open(&broker, &grant, "c").await;
    broker.advance(10);
    let revoked = broker.revoke(&grant).await.json();
    assert_eq!(revoked["revokedAt"], "2025-01-15T12:00:10.000Z");
    let charged = broker.used().await;
    assert_eq!(charged, 10 * 250_000);
    assert_eq!(broker.status().await["activeConnections"], 0);
    broker.advance(20);
    let calls = [
        open(&broker, &grant, "d").await,
        claim(&broker, &grant, "c").await,
        broker.post(&grant, "/api/connections/c/close", json!({"bytesReceived": HUGE})).await,
        Answer::of(broker.request(Method::DELETE, "/api/connections/c").bearer_auth(&grant)).await,
    ];
    for call in calls {
        assert_eq!(call.error(), (401, "INVALID_GRANT"));
    }
    assert_eq!(broker.used().await, charged);
    let again = broker.revoke(&grant).await.json();
    assert_eq!(again["revokedAt"], "2025-01-15T12:00:10.000Z", "the time of the first revocation");
    let shown = broker.overview().await["revoked"].clone();
    assert_eq!(shown[0]["grant"], revoked["grant"]);
    assert_eq!(shown[0]["revokedAt"], "2025-01-15T12:00:10.000Z");
    assert_eq!(shown.as_array().unwrap().len(), 1);
}

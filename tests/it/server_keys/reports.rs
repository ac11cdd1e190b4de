//! Reports of servers with a key, and of pages that have a grant from one. 10 Mbps for 8 s are 10 MB.

use super::{KEY, grants, with_keys};
use crate::support::{Answer, TestBroker};
use reqwest::Method;
use serde_json::{Value, json};

const HUGE: u64 = 9_007_199_254_740_991;
const SLOW: (&str, &str) = ("CLAIMS_MBPS_PER_CLIENT", "10");

/// The call of a page behind the trusted proxy.
async fn from_page(broker: &TestBroker, address: &str, token: &str, path: &str, body: Value) -> Answer {
    let request = broker.request(Method::POST, path).header("x-forwarded-for", address);
    Answer::of(request.bearer_auth(token).json(&body)).await
}

/// Grants of the key, for these users; without a name for nobody.
async fn grants_for(broker: &TestBroker, users: impl Iterator<Item = String>) -> Vec<String> {
    let mut granted = vec![];
    for user in users {
        let path = format!("/api/turn-credentials?user={user}");
        granted.push(broker.get_as(KEY, &path).await.grant());
    }
    granted
}

/// What is charged if each of these pages reports as much as it can after eight seconds.
async fn claimed(broker: &TestBroker, pages: &[(String, &String)]) -> u64 {
    for (address, grant) in pages {
        let opened =
            from_page(broker, address, grant, "/api/connections", json!({"connectionId": "c"})).await;
        assert_eq!(opened.status, 201, "{}", opened.text);
    }
    broker.advance(8);
    for (address, grant) in pages {
        let body = json!({"bytesReceived": HUGE});
        from_page(broker, address, grant, "/api/connections/c/heartbeat", body).await;
    }
    broker.used().await
}

#[tokio::test]
async fn the_reports_of_a_key_are_vouched_and_name_its_label() {
    let (_cloudflare, broker) = with_keys(&[SLOW]).await;
    let body = json!({"connectionId": "call-1", "user": "ann"});
    assert_eq!(broker.post(KEY, "/api/connections", body).await.status, 201);
    broker.advance(10);
    // 80 Mbps: more than an address may claim, less than a relay can carry.
    let bytes = json!({"bytesReceived": 100_000_000});
    assert_eq!(broker.heartbeat(KEY, "call-1", bytes).await.status, 200);
    assert_eq!(broker.used().await, 100_000_000);
    let open = broker.operator("/api/connections").await.json()["connections"][0].clone();
    assert_eq!((&open["user"], &open["label"]), (&json!("ann"), &json!("app")));
    assert_eq!(broker.post(KEY, "/api/connections/call-1/close", json!({})).await.status, 204);
    for field in ["connectionId", "user", "label"] {
        let in_log = broker.post(KEY, "/api/connections", json!({field: KEY})).await;
        assert_eq!(in_log.error(), (400, "INVALID_REQUEST".into()), "{field}");
    }
    let wrong = broker.post(&KEY.replace('0', "1"), "/api/connections", json!({})).await;
    assert_eq!(wrong.error(), (401, "INVALID_GRANT".into()));
    assert_eq!(broker.metric("turn_broker_wrong_tokens_total{role=\"reporter\"}").await, Some(1));
}

/// Each call sends one every `HEARTBEAT_SECONDS`, so a rate for mints would end the reports of a server with a hundred calls.
#[tokio::test]
async fn reports_of_a_server_are_not_taken_out_of_the_rate_of_its_key() {
    let (_cloudflare, broker) = with_keys(&[("SERVER_KEY_REQUESTS", "2")]).await;
    for call in 0..20 {
        let body = json!({"connectionId": format!("call-{call}")});
        assert_eq!(broker.post(KEY, "/api/connections", body).await.status, 201);
    }
    let mint = async || broker.mint_with(KEY).await.status.as_u16();
    assert_eq!([mint().await, mint().await, mint().await], [200, 200, 429]);
    let body = json!({"bytesReceived": 1});
    assert_eq!(broker.heartbeat(KEY, "call-0", body).await.status, 200);
}

#[tokio::test]
async fn a_page_without_a_named_user_has_the_allowance_of_its_own_address() {
    let (_cloudflare, broker) = with_keys(&[SLOW]).await;
    let granted = grants_for(&broker, (0..3).map(|_| String::new())).await;
    let addresses = ["203.0.113.9", "203.0.113.9", "203.0.113.10"].map(str::to_owned);
    let pages: Vec<_> = addresses.into_iter().zip(&granted).collect();
    assert_eq!(claimed(&broker, &pages).await, 2 * 10_000_000, "two addresses");
    let of_addresses: Vec<_> = grants(&broker).await.iter().map(|grant| grant["address"].clone()).collect();
    assert!(
        of_addresses.contains(&json!("203.0.113.10")),
        "the page's own, not the server's: {of_addresses:?}"
    );
}

/// 50 users at as many addresses would have 500 MB.
#[tokio::test]
async fn all_pages_of_a_key_together_have_ten_times_the_allowance_of_an_address() {
    let (_cloudflare, broker) = with_keys(&[SLOW]).await;
    let granted = grants_for(&broker, (0..50).map(|user| format!("user-{user}"))).await;
    let pages: Vec<_> =
        granted.iter().enumerate().map(|(page, grant)| (format!("203.0.113.{page}"), grant)).collect();
    assert_eq!(claimed(&broker, &pages).await, 10 * 10_000_000);
}

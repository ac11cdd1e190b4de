//! Reports of servers with a key, and of pages that have a grant from one. 10 Mbps for 8 s are 10 MB.

use super::{KEY, OTHER_KEY, grants, with_keys};
use crate::support::prelude::*;

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
        let name = if user.is_empty() { String::new() } else { format!("?user={user}") };
        let path = format!("/api/turn-credentials{name}");
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
    assert_eq!(json!([open["user"], open["label"]]), json!(["ann", "app"]));
    assert_eq!(broker.post(KEY, "/api/connections/call-1/close", json!({})).await.status, 204);
    // A key speaks for what it opened, and for what it minted: nobody else's connection is known to it.
    let wrong = broker.post(&KEY.replace('0', "1"), "/api/connections", json!({})).await;
    assert_eq!(wrong.error(), (401, "INVALID_GRANT"));
    assert_eq!(broker.metric("turn_broker_wrong_tokens_total{role=\"reporter\"}").await, Some(1));
}

/// No count ever comes.
#[tokio::test]
async fn what_a_key_vouches_above_what_is_promised_is_charged_in_full_in_both_modes() {
    for mode in ["estimate", "strict"] {
        let settings = [
            ("BUDGET_MODE", mode),
            ("BANDWIDTH_LIMIT_GB", "20"),
            ("HEARTBEAT_SECONDS", "60"),
            ("AT_LIMIT", "none"),
        ];
        let (_cloudflare, broker) = with_keys(&settings).await;
        let page = broker.mint_with(KEY).await.grant();
        assert_eq!(broker.open(&page, "c").await.status, 201);
        // 80 Mbps, forty times what is promised.
        for minute in 1..=33 {
            broker.advance(60);
            let report = json!({"bytesReceived": minute * 600_000_000_u64});
            assert!(broker.heartbeat(KEY, "c", report).await.status.is_success());
            assert_eq!(broker.used().await, minute * 600_000_000, "{mode}");
        }
        let report = json!({"bytesReceived": 20_000_000_000_u64});
        broker.advance(60);
        broker.heartbeat(KEY, "c", report).await;
        assert_eq!(broker.status().await["status"], "LIMIT_EXCEEDED", "{mode}");
        assert_eq!(broker.mint_with(KEY).await.error(), (429, "BUDGET_EXHAUSTED"), "{mode}");
    }
}

#[tokio::test]
async fn a_key_reports_and_closes_what_it_opened_and_minted_and_others_are_404() {
    let (_cloudflare, broker) = with_keys(&[]).await;
    let (page, own_page) = (broker.grant().await, broker.mint_with(KEY).await.grant());
    let other_page = broker.mint_with(OTHER_KEY).await.grant();
    let others =
        [(OTHER_KEY, "of-key"), (REPORTER, "of-reporter"), (&page, "of-page"), (&other_page, "of-other")];
    for (token, id) in others {
        assert_eq!(broker.open(token, id).await.status, 201);
        assert_eq!(broker.heartbeat(KEY, id, json!({})).await.error(), (404, "NOT_FOUND"), "{id}");
        let close = broker.post(KEY, &format!("/api/connections/{id}/close"), json!({})).await;
        assert_eq!(close.error(), (404, "NOT_FOUND"), "{id}");
        let delete = broker.request(Method::DELETE, &format!("/api/connections/{id}"));
        assert_eq!(Answer::of(delete.bearer_auth(KEY)).await.error().0, 404, "{id}");
        assert_eq!(broker.heartbeat(token, id, json!({})).await.status, 200, "{id} is still open");
        // The reporter reports for all.
        assert_eq!(broker.heartbeat(REPORTER, id, json!({})).await.status, 200);
    }
    // Each key has names of its own.
    assert_eq!(broker.open(KEY, "of-key").await.status, 201);
    assert_eq!(broker.open(&own_page, "own").await.status, 201);
    for id in ["of-key", "own"] {
        assert_eq!(broker.heartbeat(KEY, id, json!({})).await.status, 200, "{id}");
        assert_eq!(broker.post(KEY, &format!("/api/connections/{id}/close"), json!({})).await.status, 204);
    }
    assert_eq!(broker.heartbeat(OTHER_KEY, "of-key", json!({})).await.status, 200);
}

/// 2 Mbps for the 90 s until a silent connection is closed are 22.5 MB.
#[tokio::test]
async fn what_a_key_opens_and_vouches_is_at_most_its_share() {
    let (_cloudflare, broker) = with_keys(&[("SERVER_KEY_LIMITS", "app=0.5")]).await;
    let open = async |id: usize| broker.open(KEY, &format!("c{id}")).await;
    for id in 0..22 {
        assert_eq!(open(id).await.status, 201, "{id}");
    }
    let refused = open(22).await;
    assert_eq!(refused.error(), (429, "KEY_LIMIT_REACHED"));
    assert_eq!(refused.json()["bandwidthLimit"], json!(0.5));
    let direct = json!({"connectionId": "direct", "relayed": false});
    assert_eq!(broker.post(KEY, "/api/connections", direct).await.status, 201, "it costs nothing");
    let begins = broker.heartbeat(KEY, "direct", json!({"relayed": true})).await;
    assert_eq!(begins.error(), (429, "KEY_LIMIT_REACHED"), "and may not begin to");
    broker.advance(30);
    let mut answers = vec![];
    for id in 0..22 {
        let report = broker.heartbeat(KEY, &format!("c{id}"), json!({"bytesReceived": HUGE})).await;
        answers.push(report.status.as_u16());
    }
    assert_eq!((answers[0], answers[21]), (200, 429), "{answers:?}");
    // One report alone may have 375 MB.
    assert!(broker.used().await <= 500_000_000 + 22 * 7_500_000, "{}", broker.used().await);
    assert_eq!(broker.heartbeat(KEY, "c21", json!({})).await.error(), (429, "KEY_LIMIT_REACHED"));
    assert_eq!(broker.open(OTHER_KEY, "c").await.status, 201, "another key has no such limit");
    let close = broker.post(KEY, "/api/connections/c0/close", json!({"bytesReceived": HUGE})).await;
    assert_eq!(close.status, 204, "a connection can always end");
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
    // The page's own, not the server's.
    assert!(of_addresses.contains(&json!("203.0.113.10")), "{of_addresses:?}");
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

//! Reports of connections.

use crate::support::{Answer, OPERATOR, REPORTER, TestBroker, with_cloudflare, with_cloudflare_and};
use reqwest::Method;
use serde_json::{Value, json};

async fn beat(broker: &TestBroker, token: &str, id: &str, body: Value) -> Answer {
    broker.heartbeat(token, id, body).await
}

#[tokio::test]
async fn opening_returns_201_and_opening_again_200_with_one_connection() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("HEARTBEAT_SECONDS", "20")]).await;
    let grant = broker.grant().await;
    for token in [grant.as_str(), REPORTER] {
        let body = json!({"connectionId": "call:1/a", "relayed": true});
        let first = broker.post(token, "/api/connections", body.clone()).await;
        assert_eq!(first.status, 201);
        assert_eq!(first.json(), json!({"connectionId": "call:1/a", "heartbeatSeconds": 20}));
        let second = broker.post(token, "/api/connections", body).await;
        assert_eq!((second.status.as_u16(), second.json()), (200, first.json()));
    }
    let status = broker.status().await;
    assert_eq!(status["activeConnections"], 2);
    assert_eq!(status["grants"]["reported"], 1);
}

#[tokio::test]
async fn a_connection_without_an_id_gets_one_that_works() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    let opened = Answer::of(broker.request(Method::POST, "/api/connections").bearer_auth(&grant)).await;
    assert_eq!(opened.status, 201, "an empty body is fine");
    let id = opened.json()["connectionId"].as_str().unwrap().to_owned();
    assert_eq!(beat(&broker, &grant, &id, json!({})).await.status, 200);
}

#[tokio::test]
async fn ids_that_cannot_be_logged_are_refused() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let (longest, long) = ("x".repeat(128), "x".repeat(129));
    let grant = broker.grant().await;
    for id in ["", "a b", "a\nb", "ü", &long, &grant] {
        let answer = broker.open(REPORTER, id).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{id:?}");
    }
    for id in [long.as_str(), "%20", "a%00", "%ff", "%C3%A9"] {
        let path = format!("/api/connections/{id}");
        let requests = [(Method::POST, "/heartbeat"), (Method::POST, "/close"), (Method::DELETE, "")];
        for (method, call) in requests {
            let request = broker.request(method, &format!("{path}{call}")).bearer_auth(REPORTER);
            assert_eq!(Answer::of(request).await.error(), (400, "INVALID_REQUEST".into()), "{path}{call}");
        }
    }
    let in_body = broker.post(REPORTER, "/api/connections/a/close", json!({"connectionId": long})).await;
    assert_eq!(in_body.error(), (400, "INVALID_REQUEST".into()));
    let opened = broker.open(REPORTER, &longest).await;
    assert_eq!(opened.status, 201);
    let closed = broker.post(REPORTER, &format!("/api/connections/{longest}/close"), json!({})).await;
    assert_eq!(closed.status, 204);
}

#[tokio::test]
async fn reported_bytes_replace_the_estimate_in_the_directions_that_are_billed() {
    for (billed, first) in [("egress", 3_000_000), ("both", 12_000_000)] {
        let (_cloudflare, broker) = with_cloudflare_and(&[("BILLED_DIRECTIONS", billed)]).await;
        let grant = broker.grant().await;
        broker.open(&grant, "c").await;
        broker.advance(20);
        assert_eq!(broker.used().await, 5_000_000, "2 Mbps while no bytes are reported");
        let report = json!({"bytesSent": 9_000_000, "bytesReceived": 3_000_000, "relayed": true});
        beat(&broker, &grant, "c", report).await;
        assert_eq!(broker.used().await, first, "{billed}");
        beat(&broker, &grant, "c", json!({"bytesReceived": 8_000_000})).await;
        beat(&broker, &grant, "c", json!({"bytesReceived": 5_000_000})).await;
        assert_eq!(broker.used().await, first + 5_000_000, "claims never go backwards");
    }
}

#[tokio::test]
async fn closing_returns_204_each_time_and_ends_the_charge() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    broker.open(&grant, "c").await;
    broker.advance(20);
    for _ in 0..2 {
        assert_eq!(broker.post(&grant, "/api/connections/c/close", json!({})).await.status, 204);
    }
    let delete = Answer::of(broker.request(Method::DELETE, "/api/connections/c").bearer_auth(&grant)).await;
    assert_eq!((delete.status.as_u16(), delete.text.as_str()), (204, ""));
    broker.advance(600);
    assert_eq!(broker.used().await, 5_000_000);
    assert_eq!(broker.status().await["activeConnections"], 0);
}

#[tokio::test]
async fn a_beacon_closes_with_the_token_in_a_text_body_and_may_report_the_last_counts() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    broker.open(&grant, "c").await;
    broker.advance(20);
    let body = json!({"token": grant, "bytesReceived": 1_234}).to_string();
    let beacon =
        broker.request(Method::POST, "/api/connections/c/close").header("content-type", "text/plain");
    assert_eq!(Answer::of(beacon.body(body)).await.status, 204);
    assert_eq!(broker.used().await, 1_234);
    assert_eq!(broker.status().await["activeConnections"], 0);
}

#[tokio::test]
async fn another_grants_connection_and_an_unknown_one_are_not_found() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let (mine, other) = (broker.grant().await, broker.grant().await);
    broker.open(&mine, "c").await;
    for id in ["c", "unknown"] {
        assert_eq!(beat(&broker, &other, id, json!({})).await.error(), (404, "NOT_FOUND".into()), "{id}");
    }
    let close = broker.post(&other, "/api/connections/c/close", json!({})).await;
    assert_eq!(close.error(), (404, "NOT_FOUND".into()));
    assert_eq!(broker.status().await["activeConnections"], 1);
}

#[tokio::test]
async fn no_token_is_unauthorized_and_a_wrong_one_is_an_invalid_grant() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    let mut forged = grant.clone();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.pop();
    forged.push(last);
    for (method, path) in [
        (Method::POST, "/api/connections"),
        (Method::POST, "/api/connections/c/heartbeat"),
        (Method::POST, "/api/connections/c/close"),
        (Method::DELETE, "/api/connections/c"),
    ] {
        let request = || broker.request(method.clone(), path);
        assert_eq!(Answer::of(request()).await.error(), (401, "UNAUTHORIZED".into()), "{path}");
        let basic = request().header("authorization", "Basic dTpw");
        assert_eq!(Answer::of(basic).await.error(), (401, "UNAUTHORIZED".into()), "{path}");
        for token in [forged.as_str(), "x", OPERATOR] {
            let answer = Answer::of(request().bearer_auth(token)).await;
            assert_eq!(answer.error(), (401, "INVALID_GRANT".into()), "{path} {token}");
        }
    }
}

#[tokio::test]
async fn an_expired_grant_opens_no_connection_but_keeps_and_closes_open_ones() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("TURN_TTL_SECONDS", "60")]).await;
    let grant = broker.grant().await;
    broker.open(&grant, "c").await;
    broker.advance(60);
    let open = broker.open(&grant, "d").await;
    assert_eq!(open.error(), (401, "INVALID_GRANT".into()));
    let again = broker.open(&grant, "c").await;
    assert_eq!(again.status, 200);
    assert_eq!(beat(&broker, &grant, "c", json!({})).await.status, 200);
    assert_eq!(broker.post(&grant, "/api/connections/c/close", json!({})).await.status, 204);
}

#[tokio::test]
async fn a_grant_opens_sixty_four_connections_and_gets_a_wait_for_more() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    for n in 0..64 {
        let body = json!({"connectionId": format!("c{n}")});
        assert_eq!(broker.post(&grant, "/api/connections", body).await.status, 201);
    }
    let one_more = broker.post(&grant, "/api/connections", json!({})).await;
    assert_eq!(one_more.error(), (429, "RATE_LIMITED".into()));
    assert_eq!(one_more.header("retry-after"), Some("90"));
}

#[tokio::test]
async fn bodies_that_are_not_json_or_have_wrong_types_are_rejected_without_quoting_them() {
    let broker = TestBroker::start(&[]).await;
    for body in
        ["{", "[]", "nonsense", r#"{"relayed":"yes"}"#, r#"{"bytesReceived":-1}"#, r#"{"bytesReceived":1.5}"#]
    {
        let request = broker.request(Method::POST, "/api/connections").bearer_auth(REPORTER).body(body);
        let answer = Answer::of(request).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{body}");
        assert!(!answer.text.contains("nonsense") && !answer.text.contains("yes"), "{}", answer.text);
    }
}

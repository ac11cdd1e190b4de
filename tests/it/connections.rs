//! Reports of connections.

use crate::support::prelude::*;

/// Each call about the connection `c`.
const CALLS: [(Method, &str); 4] = [
    (Method::POST, "/api/connections"),
    (Method::POST, "/api/connections/c/heartbeat"),
    (Method::POST, "/api/connections/c/close"),
    (Method::DELETE, "/api/connections/c"),
];

async fn close(broker: &TestBroker, token: &str, id: &str) -> Answer {
    broker.post(token, &format!("/api/connections/{id}/close"), json!({})).await
}

#[tokio::test]
async fn a_connection_may_be_opened_and_closed_twice_and_costs_nothing_afterwards() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("HEARTBEAT_SECONDS", "20")]).await;
    let grant = broker.grant().await;
    for (token, id) in [(grant.as_str(), "call:1/a"), (REPORTER, "call:1/b")] {
        let body = json!({"connectionId": id, "relayed": true});
        let first = broker.post(token, "/api/connections", body.clone()).await;
        assert_eq!(first.status, 201);
        assert_eq!(first.json(), json!({"connectionId": id, "heartbeatSeconds": 20}));
        let second = broker.post(token, "/api/connections", body).await;
        assert_eq!((second.status.as_u16(), second.json()), (200, first.json()));
    }
    let status = broker.status().await;
    assert_eq!(json!([status["activeConnections"], status["grants"]["reported"]]), json!([2, 1]));
    broker.advance(20);
    for (token, id) in [(grant.as_str(), "call:1%2Fa"), (REPORTER, "call:1%2Fb")] {
        for _ in 0..2 {
            let closed = close(&broker, token, id).await;
            assert_eq!(closed.status, 204, "{token}: {}", closed.text);
        }
    }
    broker.advance(600);
    assert_eq!(broker.used().await, 2 * 5_000_000);
    assert_eq!(broker.status().await["activeConnections"], 0);

    let opened = Answer::of(broker.request(Method::POST, "/api/connections").bearer_auth(&grant)).await;
    assert_eq!(opened.status, 201, "an empty body is fine, and gives an id");
    let id = opened.json()["connectionId"].as_str().unwrap().to_owned();
    assert_eq!(broker.heartbeat(&grant, &id, json!({})).await.status, 200);
    let path = format!("/api/connections/{id}");
    let delete = Answer::of(broker.request(Method::DELETE, &path).bearer_auth(&grant)).await;
    assert_eq!((delete.status.as_u16(), delete.text.as_str()), (204, ""));
}

#[tokio::test]
async fn ids_that_cannot_be_logged_and_bodies_of_another_form_are_refused_without_quoting_them() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let (longest, long) = ("x".repeat(128), "x".repeat(129));
    let grant = broker.grant().await;
    for id in ["", "a b", "a\nb", "ü", &long, &grant, ".", ".."] {
        assert_eq!(broker.open(REPORTER, id).await.error(), (400, "INVALID_REQUEST"), "{id:?}");
    }
    for id in [long.as_str(), "%20", "a%00", "%ff", "%C3%A9"] {
        for (method, path) in &CALLS[1..3] {
            let path = path.replace("/c/", &format!("/{id}/"));
            let request = broker.request(method.clone(), &path).bearer_auth(REPORTER);
            assert_eq!(Answer::of(request).await.error(), (400, "INVALID_REQUEST"), "{method} {path}");
        }
    }
    let packed = broker.request(Method::POST, "/api/connections").bearer_auth(REPORTER).body("\u{1f}packed");
    let packed = Answer::of(packed.header("content-encoding", "gzip")).await;
    assert_eq!(packed.json()["message"], "Send a JSON object without Content-Encoding.");
    let in_body = broker.post(REPORTER, "/api/connections/a/close", json!({"connectionId": long})).await;
    assert_eq!(in_body.error(), (400, "INVALID_REQUEST"));
    assert_eq!(broker.open(REPORTER, &longest).await.status, 201);
    assert_eq!(close(&broker, REPORTER, &longest).await.status, 204);
    for body in
        ["{", "[]", "nonsense", r#"{"relayed":"yes"}"#, r#"{"bytesReceived":-1}"#, r#"{"bytesReceived":1.5}"#]
    {
        let request = broker.request(Method::POST, "/api/connections").bearer_auth(REPORTER).body(body);
        let answer = Answer::of(request).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{body}");
        assert!(!answer.text.contains("nonsense") && !answer.text.contains("yes"), "{}", answer.text);
    }
}

#[tokio::test]
async fn reported_bytes_replace_the_estimate_in_the_directions_that_are_billed() {
    for (billed, first) in [("egress,http=both", 3_000_000), ("both,http=egress", 12_000_000)] {
        let (_cloudflare, broker) = with_cloudflare_and(&[("BILLED_DIRECTIONS", billed)]).await;
        let grant = broker.grant().await;
        broker.open(&grant, "c").await;
        broker.advance(20);
        assert_eq!(broker.used().await, 5_000_000, "2 Mbps while no bytes are reported");
        let report = json!({"bytesSent": 9_000_000, "bytesReceived": 3_000_000, "relayed": true});
        broker.heartbeat(&grant, "c", report).await;
        assert_eq!(broker.used().await, first, "{billed}");
        broker.heartbeat(&grant, "c", json!({"bytesReceived": 8_000_000})).await;
        broker.heartbeat(&grant, "c", json!({"bytesReceived": 5_000_000})).await;
        assert_eq!(broker.used().await, first + 5_000_000, "claims never go backwards");
    }
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
async fn only_the_right_token_reports_and_another_grants_connection_is_not_found() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let (mine, other) = (broker.grant().await, broker.grant().await);
    broker.open(&mine, "c").await;
    for id in ["c", "unknown"] {
        assert_eq!(broker.heartbeat(&other, id, json!({})).await.error(), (404, "NOT_FOUND"), "{id}");
    }
    assert_eq!(close(&broker, &other, "c").await.error(), (404, "NOT_FOUND"));
    assert_eq!(broker.status().await["activeConnections"], 1);

    let last = if mine.ends_with('A') { 'B' } else { 'A' };
    let forged = format!("{}{last}", &mine[..mine.len() - 1]);
    for (method, path) in CALLS {
        let request = || broker.request(method.clone(), path);
        for none in [request(), request().header("authorization", "Basic dTpw")] {
            assert_eq!(Answer::of(none).await.error(), (401, "UNAUTHORIZED"), "{path}");
        }
        for token in [forged.as_str(), "x", OPERATOR] {
            let answer = Answer::of(request().bearer_auth(token)).await;
            assert_eq!(answer.error(), (401, "INVALID_GRANT"), "{path} {token}");
        }
    }
}

#[tokio::test]
async fn an_expired_grant_opens_no_connection_but_keeps_and_closes_open_ones() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("TURN_TTL_SECONDS", "60")]).await;
    let grant = broker.grant().await;
    broker.open(&grant, "c").await;
    broker.advance(60);
    assert_eq!(broker.open(&grant, "d").await.error(), (401, "INVALID_GRANT"));
    assert_eq!(broker.open(&grant, "c").await.status, 200);
    assert_eq!(broker.heartbeat(&grant, "c", json!({})).await.status, 200);
    assert_eq!(close(&broker, &grant, "c").await.status, 204);
}

#[tokio::test]
async fn a_grant_opens_sixty_four_connections_and_gets_a_wait_for_more() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    for n in 0..64 {
        assert_eq!(broker.open(&grant, &format!("c{n}")).await.status, 201);
    }
    let one_more = broker.open(&grant, "one-more").await;
    assert_eq!(one_more.error(), (429, "RATE_LIMITED"));
    assert_eq!(one_more.header("retry-after"), Some("90"));
}

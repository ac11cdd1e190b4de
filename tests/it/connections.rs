//! Reports of connections.

use crate::support::{Answer, OPERATOR, REPORTER, TestBroker, with_cloudflare, with_cloudflare_and};
use reqwest::Method;
use serde_json::{Value, json};

async fn grant(broker: &TestBroker) -> String {
    broker.mint().await.json()["grant"].as_str().unwrap().to_owned()
}

async fn used_bytes(broker: &TestBroker) -> u64 {
    broker.metric("turn_broker_used_bytes").await.unwrap()
}

async fn beat(broker: &TestBroker, token: &str, id: &str, body: Value) -> Answer {
    broker.post(token, &format!("/api/connections/{id}/heartbeat"), body).await
}

#[tokio::test]
async fn opening_returns_201_and_opening_again_200_with_one_connection() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("HEARTBEAT_SECONDS", "20")]).await;
    let grant = grant(&broker).await;
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
    let grant = grant(&broker).await;
    let opened = Answer::of(broker.request(Method::POST, "/api/connections").bearer_auth(&grant)).await;
    assert_eq!(opened.status, 201, "an empty body is fine");
    let id = opened.json()["connectionId"].as_str().unwrap().to_owned();
    assert_eq!(beat(&broker, &grant, &id, json!({})).await.status, 200);
}

#[tokio::test]
async fn a_whole_number_is_a_count_in_any_form() {
    let (_cloudflare, broker) = with_cloudflare().await;
    broker.post(REPORTER, "/api/connections", json!({"connectionId": "c", "relayed": true})).await;
    broker.advance(10);
    let report = async |count: &str| {
        let request = broker.request(Method::POST, "/api/connections/c/heartbeat").bearer_auth(REPORTER);
        Answer::of(request.body(format!("{{\"bytesReceived\":{count}}}"))).await.status.as_u16()
    };
    for (count, used) in [("198.0", 198), ("2e2", 200)] {
        assert_eq!((report(count).await, used_bytes(&broker).await), (200, used), "{count}");
    }
    for count in ["9223372036854775808", "18446744073709551616", "1e30"] {
        assert_eq!(report(count).await, 200, "{count}");
    }
    for not_whole in ["0.5", "-1", "\"1\""] {
        assert_eq!(report(not_whole).await, 400, "{not_whole}");
    }
}

#[tokio::test]
async fn an_id_in_a_path_obeys_the_same_rule() {
    let broker = TestBroker::start(&[]).await;
    let long = "x".repeat(129);
    for id in [long.as_str(), "%20", "a%00", "%ff", "%C3%A9"] {
        let path = format!("/api/connections/{id}");
        for (method, path) in [
            (Method::POST, format!("{path}/heartbeat")),
            (Method::POST, format!("{path}/close")),
            (Method::DELETE, path.clone()),
        ] {
            let answer = Answer::of(broker.request(method, &path).bearer_auth(REPORTER)).await;
            assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{path}");
        }
    }
    let in_body = broker.post(REPORTER, "/api/connections/a/close", json!({"connectionId": long})).await;
    assert_eq!(in_body.error(), (400, "INVALID_REQUEST".into()));
    let longest = format!("/api/connections/{}/close", "x".repeat(128));
    assert_eq!(broker.post(REPORTER, &longest, json!({})).await.status, 204);
}

#[tokio::test]
async fn ids_that_cannot_be_logged_are_refused() {
    let broker = TestBroker::start(&[]).await;
    for id in ["", "a b", "a\nb", "ü", &"x".repeat(129)] {
        let answer = broker.post(REPORTER, "/api/connections", json!({"connectionId": id})).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{id:?}");
    }
    let longest = broker.post(REPORTER, "/api/connections", json!({"connectionId": "x".repeat(128)})).await;
    assert_eq!(longest.status, 201);
}

#[tokio::test]
async fn two_mbps_are_charged_while_no_bytes_are_reported() {
    let broker = TestBroker::start(&[]).await;
    broker.post(REPORTER, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(20);
    assert_eq!(used_bytes(&broker).await, 5_000_000);
}

#[tokio::test]
async fn reported_bytes_replace_the_estimate_and_are_charged_in_one_direction() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = grant(&broker).await;
    broker.post(&grant, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(20);
    let report = json!({"bytesSent": 9_000_000, "bytesReceived": 3_000_000, "relayed": true});
    beat(&broker, &grant, "c", report).await;
    assert_eq!(used_bytes(&broker).await, 3_000_000);
    broker.advance(20);
    assert_eq!(used_bytes(&broker).await, 3_000_000, "its bytes are known, so no estimate is added");
    beat(&broker, &grant, "c", json!({"bytesReceived": 8_000_000})).await;
    beat(&broker, &grant, "c", json!({"bytesReceived": 5_000_000})).await;
    assert_eq!(used_bytes(&broker).await, 8_000_000, "claims never go backwards");
}

#[tokio::test]
async fn both_directions_are_charged_with_billed_directions_both() {
    let broker = TestBroker::start(&[("BILLED_DIRECTIONS", "both")]).await;
    broker.post(REPORTER, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(20);
    beat(&broker, REPORTER, "c", json!({"bytesSent": 2_000_000, "bytesReceived": 3_000_000})).await;
    assert_eq!(used_bytes(&broker).await, 5_000_000);
}

#[tokio::test]
async fn a_direct_connection_costs_nothing_while_it_is_direct() {
    let broker = TestBroker::start(&[]).await;
    broker.post(REPORTER, "/api/connections", json!({"connectionId": "c", "relayed": false})).await;
    broker.advance(20);
    beat(&broker, REPORTER, "c", json!({"bytesReceived": 4_000_000, "relayed": false})).await;
    broker.advance(20);
    assert_eq!(used_bytes(&broker).await, 0);
    beat(&broker, REPORTER, "c", json!({"bytesReceived": 5_000_000, "relayed": true})).await;
    assert_eq!(used_bytes(&broker).await, 1_000_000);
}

#[tokio::test]
async fn all_claims_of_one_grant_together_are_limited_to_what_a_relay_carries() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("CLAIMS_MBPS_PER_CLIENT", "1000")]).await;
    let grant = grant(&broker).await;
    for id in ["a", "b"] {
        broker.post(&grant, "/api/connections", json!({"connectionId": id})).await;
    }
    broker.advance(8);
    for id in ["a", "b"] {
        beat(&broker, &grant, id, json!({"bytesReceived": 9_007_199_254_740_991_u64})).await;
    }
    assert_eq!(used_bytes(&broker).await, 100_000_000, "100 Mbps for 8 s, however many connections claim");
    assert_eq!(broker.metric("turn_broker_claims_clamped_total").await, Some(2));
}

#[tokio::test]
async fn closing_returns_204_each_time_and_ends_the_charge() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = grant(&broker).await;
    broker.post(&grant, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(20);
    for _ in 0..2 {
        assert_eq!(broker.post(&grant, "/api/connections/c/close", json!({})).await.status, 204);
    }
    let delete = Answer::of(broker.request(Method::DELETE, "/api/connections/c").bearer_auth(&grant)).await;
    assert_eq!((delete.status.as_u16(), delete.text.as_str()), (204, ""));
    broker.advance(600);
    assert_eq!(used_bytes(&broker).await, 5_000_000);
    assert_eq!(broker.status().await["activeConnections"], 0);
}

#[tokio::test]
async fn a_beacon_closes_with_the_token_in_a_text_body_and_may_report_the_last_counts() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = grant(&broker).await;
    broker.post(&grant, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(20);
    let body = json!({"token": grant, "bytesReceived": 1_234}).to_string();
    let beacon =
        broker.request(Method::POST, "/api/connections/c/close").header("content-type", "text/plain");
    assert_eq!(Answer::of(beacon.body(body)).await.status, 204);
    assert_eq!(used_bytes(&broker).await, 1_234);
    assert_eq!(broker.status().await["activeConnections"], 0);
}

#[tokio::test]
async fn three_missed_heartbeats_close_a_connection_as_of_its_last_report_plus_one_interval() {
    let broker = TestBroker::start(&[]).await;
    broker.post(REPORTER, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(10);
    beat(&broker, REPORTER, "c", json!({})).await;
    broker.advance(89);
    assert_eq!(broker.status().await["activeConnections"], 1);
    broker.advance(1);
    assert_eq!(broker.status().await["activeConnections"], 0);
    assert_eq!(used_bytes(&broker).await, 40 * 250_000);
    assert_eq!(beat(&broker, REPORTER, "c", json!({})).await.error(), (404, "NOT_FOUND".into()));
}

#[tokio::test]
async fn another_grants_connection_and_an_unknown_one_are_not_found() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let (mine, other) = (grant(&broker).await, grant(&broker).await);
    broker.post(&mine, "/api/connections", json!({"connectionId": "c"})).await;
    for id in ["c", "unknown"] {
        assert_eq!(beat(&broker, &other, id, json!({})).await.error(), (404, "NOT_FOUND".into()), "{id}");
    }
    let close = broker.post(&other, "/api/connections/c/close", json!({})).await;
    assert_eq!(close.error(), (404, "NOT_FOUND".into()));
    assert_eq!(broker.status().await["activeConnections"], 1);
}

#[tokio::test]
async fn an_app_server_may_close_a_clients_connection() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = grant(&broker).await;
    broker.post(&grant, "/api/connections", json!({"connectionId": "c"})).await;
    assert_eq!(beat(&broker, REPORTER, "c", json!({})).await.status, 200);
    assert_eq!(broker.post(REPORTER, "/api/connections/c/close", json!({})).await.status, 204);
    assert_eq!(broker.status().await["activeConnections"], 0);
}

#[tokio::test]
async fn no_token_is_unauthorized_and_a_wrong_one_is_an_invalid_grant() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = grant(&broker).await;
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
    let grant = grant(&broker).await;
    broker.post(&grant, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(60);
    let open = broker.post(&grant, "/api/connections", json!({"connectionId": "d"})).await;
    assert_eq!(open.error(), (401, "INVALID_GRANT".into()));
    assert_eq!(beat(&broker, &grant, "c", json!({})).await.status, 200);
    assert_eq!(broker.post(&grant, "/api/connections/c/close", json!({})).await.status, 204);
}

#[tokio::test]
async fn a_grant_opens_sixty_four_connections_and_gets_a_wait_for_more() {
    let (_cloudflare, broker) = with_cloudflare().await;
    let grant = grant(&broker).await;
    for n in 0..64 {
        let body = json!({"connectionId": format!("c{n}")});
        assert_eq!(broker.post(&grant, "/api/connections", body).await.status, 201);
    }
    let one_more = broker.post(&grant, "/api/connections", json!({})).await;
    assert_eq!(one_more.error(), (429, "RATE_LIMITED".into()));
    assert_eq!(one_more.header("retry-after"), Some("90"));
}

#[tokio::test]
async fn a_connection_is_charged_to_its_grants_source_and_unmetered_ones_cost_nothing() {
    let manual = r#"[{"urls":"turn:own.example","username":"u","credential":"c"}]"#;
    let broker = TestBroker::start(&[("ICE_SOURCES", "manual"), ("MANUAL_ICE_SERVERS", manual)]).await;
    let grant = grant(&broker).await;
    broker.post(&grant, "/api/connections", json!({"connectionId": "c"})).await;
    broker.advance(20);
    assert_eq!(used_bytes(&broker).await, 0);
    assert_eq!(broker.status().await["activeConnections"], 1);
    let listed = broker.operator("/api/connections").await.json();
    assert_eq!(listed["connections"][0]["source"], "manual");
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

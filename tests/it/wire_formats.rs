//! Other wire formats of the mint: their fields, and that the same rules apply to them as to `/api/turn-credentials`.

use crate::support::{API_TOKEN, Answer, FakeCloudflare, TestBroker, with_cloudflare_and};
use reqwest::Method;
use serde_json::json;

const ROUTES: [&str; 3] =
    ["/turn?service=turn&username=me", "/_matrix/client/v3/voip/turnServer", "/ice?service=turn"];
const ALL: (&str, &str) = ("DOORS", "turn,matrix,ice");

async fn with_all(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    with_cloudflare_and(&[&[ALL], settings].concat()).await
}

#[tokio::test]
async fn a_route_does_not_exist_until_its_format_is_named() {
    let (cloudflare, broker) = with_cloudflare_and(&[]).await;
    for route in ROUTES {
        assert_eq!(broker.get(route).await.error(), (404, "NOT_FOUND".into()), "{route}");
    }
    assert_eq!(cloudflare.history().mints(), 0);
}

#[tokio::test]
async fn turn_rest_and_matrix_responses_have_the_same_four_fields() {
    let (cloudflare, broker) = with_all(&[("TURN_TTL_SECONDS", "3600")]).await;
    for route in &ROUTES[..2] {
        let answer = broker.get(route).await;
        let (username, credential) = cloudflare.history().last_credential();
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().len(), 4, "{body}");
        assert_eq!(
            (&body["username"], &body["password"], &body["ttl"]),
            (&json!(username), &json!(credential), &json!(3600))
        );
        let uris: Vec<_> = body["uris"].as_array().unwrap().iter().map(|uri| uri.as_str().unwrap()).collect();
        assert!(
            uris.contains(&"turn:turn.cloudflare.com:3478?transport=udp")
                && uris.contains(&"stun:stun.cloudflare.com:3478"),
            "{uris:?}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("ratelimit-remaining").is_some());
    }
}

#[tokio::test]
async fn a_response_in_stunners_format_configures_a_peer_connection() {
    let (cloudflare, broker) = with_all(&[]).await;
    let body = broker.get("/ice?service=turn").await.json();
    assert_eq!(body["iceTransportPolicy"], "all");
    let (username, _) = cloudflare.history().last_credential();
    assert_eq!(body["iceServers"][1]["username"], username);
}

#[tokio::test]
async fn without_a_relay_the_response_has_public_stun_servers_and_an_empty_user() {
    let broker = TestBroker::start(&[ALL]).await;
    for route in &ROUTES[..2] {
        let body = broker.get(route).await.json();
        assert_eq!(body["uris"], json!(["stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302"]));
        assert_eq!(
            (&body["username"], &body["password"], &body["ttl"]),
            (&json!(""), &json!(""), &json!(300))
        );
    }
    let body = broker.get("/ice?service=turn").await.json();
    assert_eq!(body["iceServers"][0]["urls"], "stun:stun.l.google.com:19302");
}

#[tokio::test]
async fn every_format_shares_the_rate_limit_the_origin_rule_and_the_budget() {
    let (cloudflare, broker) = with_all(&[("RATE_LIMIT_REQUESTS", "3")]).await;
    for route in ROUTES {
        let foreign = broker.request(Method::GET, route).header("origin", "https://foreign.example");
        assert_eq!(Answer::of(foreign).await.error(), (403, "ORIGIN_NOT_ALLOWED".into()), "{route}");
        assert_eq!(Answer::of(broker.request(Method::HEAD, route)).await.status, 405, "a HEAD must not mint");
        assert_eq!(broker.get(route).await.status, 200, "{route}");
    }
    assert_eq!(cloudflare.history().mints(), 3);
    for route in ROUTES {
        assert_eq!(broker.get(route).await.error(), (429, "RATE_LIMITED".into()), "{route}");
    }
    assert_eq!(broker.mint().await.status, 429, "one limiter");
    assert_eq!(broker.status().await["grants"]["issued"], 3);

    let (_cloudflare, spent) = with_all(&[("BANDWIDTH_LIMIT_GB", "0")]).await;
    for route in ROUTES {
        assert_eq!(spent.get(route).await.error(), (429, "BUDGET_EXHAUSTED".into()), "{route}");
    }
}

#[tokio::test]
async fn any_service_but_turn_is_an_invalid_request() {
    let (cloudflare, broker) = with_all(&[]).await;
    for path in
        ["/turn", "/turn?service=sip", "/ice", "/ice?service=turn&service=turn", "/turn?service=turn&ttl=5"]
    {
        let answer = broker.get(path).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{path}");
        assert!(!answer.text.contains(API_TOKEN));
    }
    assert_eq!(cloudflare.history().mints(), 0);
}

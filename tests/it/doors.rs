//! Further doors to the one mint: their forms, and that they pass what the first one passes.

use crate::support::{API_TOKEN, Answer, FakeCloudflare, TestBroker, with_cloudflare_and};
use reqwest::Method;
use serde_json::json;

const DOORS: [&str; 3] =
    ["/turn?service=turn&username=me", "/_matrix/client/v3/voip/turnServer", "/ice?service=turn"];
const ALL: (&str, &str) = ("DOORS", "turn,matrix,ice");

async fn with_doors(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    with_cloudflare_and(&[&[ALL], settings].concat()).await
}

#[tokio::test]
async fn a_door_is_not_there_until_it_is_named() {
    let (cloudflare, broker) = with_cloudflare_and(&[]).await;
    for door in DOORS {
        assert_eq!(broker.get(door).await.error(), (404, "NOT_FOUND".into()), "{door}");
    }
    assert_eq!(cloudflare.history().mints(), 0);
}

#[tokio::test]
async fn turn_rest_and_matrix_answer_the_same_four_fields() {
    let (cloudflare, broker) = with_doors(&[("TURN_TTL_SECONDS", "3600")]).await;
    for door in &DOORS[..2] {
        let answer = broker.get(door).await;
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
async fn stunners_form_is_a_configuration_for_a_peer_connection() {
    let (cloudflare, broker) = with_doors(&[]).await;
    let body = broker.get("/ice?service=turn").await.json();
    assert_eq!(body["iceTransportPolicy"], "all");
    let (username, _) = cloudflare.history().last_credential();
    assert_eq!(body["iceServers"][1]["username"], username);
}

#[tokio::test]
async fn what_no_relay_serves_are_public_stun_servers_with_an_empty_user() {
    let broker = TestBroker::start(&[ALL]).await;
    for door in &DOORS[..2] {
        let body = broker.get(door).await.json();
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
async fn every_door_shares_the_limiter_the_origin_rule_and_the_budget() {
    let (cloudflare, broker) = with_doors(&[("RATE_LIMIT_REQUESTS", "3")]).await;
    for door in DOORS {
        let foreign = broker.request(Method::GET, door).header("origin", "https://foreign.example");
        assert_eq!(Answer::of(foreign).await.error(), (403, "ORIGIN_NOT_ALLOWED".into()), "{door}");
        assert_eq!(
            Answer::of(broker.request(Method::HEAD, door)).await.status,
            405,
            "a HEAD would mint and throw away"
        );
        assert_eq!(broker.get(door).await.status, 200, "{door}");
    }
    assert_eq!(cloudflare.history().mints(), 3);
    for door in DOORS {
        assert_eq!(broker.get(door).await.error(), (429, "RATE_LIMITED".into()), "{door}");
    }
    assert_eq!(broker.mint().await.status, 429, "one limiter");
    assert_eq!(broker.status().await["grants"]["issued"], 3);

    let (_cloudflare, spent) = with_doors(&[("BANDWIDTH_LIMIT_GB", "0")]).await;
    for door in DOORS {
        assert_eq!(spent.get(door).await.error(), (429, "BUDGET_EXHAUSTED".into()), "{door}");
    }
}

#[tokio::test]
async fn only_the_turn_service_is_there() {
    let (cloudflare, broker) = with_doors(&[]).await;
    for path in
        ["/turn", "/turn?service=sip", "/ice", "/ice?service=turn&service=turn", "/turn?service=turn&ttl=5"]
    {
        let answer = broker.get(path).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".into()), "{path}");
        assert!(!answer.text.contains(API_TOKEN));
    }
    assert_eq!(cloudflare.history().mints(), 0);
}

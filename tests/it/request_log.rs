//! The log as an operator reads it: one line for each mint, no line for a poll, summaries of refusals, and the trace of a
//! caller.

use crate::support::fake_issuer::{USERS, user_token};
use crate::support::{COTURN, OPERATOR, http_client, with_cloudflare};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::process::Process;

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// A broker with a source that needs no network, and its lines until it ends.
fn start(settings: &[(&str, &str)]) -> Process {
    Process::start(&[&COTURN[..], &[("OPERATOR_TOKEN", OPERATOR)], settings].concat())
}

fn lines(process: Process) -> Vec<Value> {
    process.signal("-TERM");
    let (log, _) = process.finish();
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn of<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

async fn send(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn a_mint_is_one_line_with_its_outcome() {
    let process = start(&[("TURN_TTL_SECONDS", "600")]);
    let request = http_client()
        .get(process.url("/api/turn-credentials"))
        .header("origin", "http://localhost:5173")
        .header("traceparent", format!("00-{TRACE_ID}-b7ad6b7169203331-01"));
    assert_eq!(send(request).await, 200);
    let lines = lines(process);
    let (minted, requests) = (of(&lines, "mint"), of(&lines, "request"));
    assert_eq!((minted.len(), requests.len()), (1, 0), "{lines:#?}");
    let line = minted[0];
    assert_eq!(line["grant.id"].as_str().unwrap().len(), 22, "{line}");
    for (field, value) in [
        ("level", "INFO"),
        ("outcome", "minted"),
        ("source", "coturn"),
        ("origin", "http://localhost:5173"),
        ("trace_id", TRACE_ID),
        ("client", "127.0.0.1"),
        ("route", "/api/turn-credentials"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert_eq!((&line["ttl"], &line["status"]), (&600.into(), &200.into()));
}

#[tokio::test]
async fn the_line_of_a_mint_names_user_and_label_if_there_are_any() {
    let process = start(&[USERS]);
    let token = user_token("ann");
    let named = http_client().get(process.url("/api/turn-credentials?label=room-1")).bearer_auth(token);
    assert_eq!(send(named).await, 200);
    assert_eq!(send(http_client().get(process.url("/api/turn-credentials"))).await, 200);
    let lines = lines(process);
    let spenders: Vec<_> =
        of(&lines, "mint").iter().map(|line| json!([line["user"], line["label"]])).collect();
    assert_eq!(spenders, [json!(["ann", "room-1"]), json!([null, null])]);
}

#[tokio::test]
async fn the_line_of_a_refused_mint_names_user_and_label_as_far_as_they_are_known() {
    let process = start(&[USERS, ("RATE_LIMIT_REQUESTS", "2")]);
    let block = http_client().post(process.url("/api/users/ann/block")).bearer_auth(OPERATOR);
    assert_eq!(send(block).await, 200);
    let token = user_token("ann");
    let cases = [("label=room-1", 403), ("label=room-2&ttl=1", 400), ("label=room-3", 429)];
    for (query, status) in cases {
        let url = process.url(&format!("/api/turn-credentials?{query}"));
        assert_eq!(send(http_client().get(url).bearer_auth(&token)).await, status, "{query}");
    }
    let lines = lines(process);
    let refused = of(&lines, "request").into_iter().filter(|line| line["route"] == "/api/turn-credentials");
    let named: Vec<_> = refused.map(|line| json!([line["code"], line["user"], line["label"]])).collect();
    let expected = [
        json!(["USER_BLOCKED", "ann", "room-1"]),
        json!(["INVALID_REQUEST", "ann", "room-2"]),
        json!(["RATE_LIMITED", "ann", "room-3"]),
    ];
    assert_eq!(named, expected);
}

#[tokio::test]
async fn a_mint_without_a_credential_says_why() {
    let process = start(&[("TURN_ENABLED", "false")]);
    assert_eq!(send(http_client().get(process.url("/api/turn-credentials"))).await, 200);
    let lines = lines(process);
    let line = of(&lines, "mint")[0];
    assert_eq!(
        (&line["outcome"], &line["source"], &line["reason"]),
        (&"stun".into(), &"stun".into(), &"DISABLED".into())
    );
    assert!(line["grant.id"].is_null() && line["ttl"].is_null(), "{line}");
}

#[tokio::test]
async fn of_the_polls_the_log_has_those_that_were_refused_with_their_ids() {
    let process = start(&[]);
    for path in
        ["/health", "/ready", "/api/bandwidth-status", "/metrics", "/api/overview", "/api/connections"]
    {
        assert_eq!(send(http_client().get(process.url(path)).bearer_auth(OPERATOR)).await, 200, "{path}");
    }
    let refused = http_client().get(process.url("/metrics")).send().await.unwrap();
    let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    let lines = lines(process);
    let requests = of(&lines, "request");
    assert_eq!(requests.iter().map(|line| &line["request_id"]).collect::<Vec<_>>(), [&id], "{lines:#?}");
}

#[tokio::test]
async fn of_many_refusals_the_log_has_one_line_for_each_code() {
    let process = start(&[("RATE_LIMIT_REQUESTS", "1")]);
    let mint = || http_client().get(process.url("/api/turn-credentials"));
    assert_eq!(send(mint()).await, 200);
    for _ in 0..5 {
        assert_eq!(send(mint()).await, 429);
        assert_eq!(send(mint().header("origin", "https://elsewhere.example")).await, 403);
    }
    let lines = lines(process);
    let requests = of(&lines, "request");
    let codes: Vec<_> = requests.iter().filter_map(|line| line["code"].as_str()).collect();
    // A window is 10 s, and a busy machine may take longer for these requests.
    assert!((2..10).contains(&codes.len()), "{requests:#?}");
    assert!(codes.contains(&"RATE_LIMITED") && codes.contains(&"ORIGIN_NOT_ALLOWED"), "{codes:?}");
    let refused = requests.iter().find(|line| line["code"] == "ORIGIN_NOT_ALLOWED").unwrap();
    assert_eq!(refused["origin"], "https://elsewhere.example");
    assert_eq!(refused["remedy"], "Add https://elsewhere.example to CLIENT_URL if the page is yours.");
    let limited = requests.iter().find(|line| line["code"] == "RATE_LIMITED").unwrap();
    assert!(limited["remedy"].as_str().unwrap().starts_with("Raise RATE_LIMIT_REQUESTS"), "{limited}");
}

#[tokio::test]
async fn the_line_of_a_spent_budget_names_the_setting() {
    let process = start(&[("BANDWIDTH_LIMIT_GB", "0")]);
    assert_eq!(send(http_client().get(process.url("/api/turn-credentials"))).await, 429);
    let lines = lines(process);
    let line = of(&lines, "request")[0];
    assert_eq!(line["code"], "BUDGET_EXHAUSTED");
    assert_eq!(line["remedy"], "Raise BANDWIDTH_LIMIT_GB, or block who spends most: turn-broker spenders.");
}

#[tokio::test]
async fn a_valid_trace_reaches_the_provider_and_an_invalid_one_does_not() {
    let (cloudflare, broker) = with_cloudflare().await;
    let valid = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
    let invalid = valid.replace("0af", "0AF");
    for value in [&valid, &invalid] {
        let request =
            broker.request(reqwest::Method::GET, "/api/turn-credentials").header("traceparent", value);
        assert_eq!(send(request).await, 200);
    }
    let sent: Vec<_> =
        cloudflare.history().requests().into_iter().map(|request| request.traceparent).collect();
    assert_eq!(sent, [Some(valid), None]);
}

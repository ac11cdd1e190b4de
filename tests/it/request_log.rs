//! The log as an operator reads it: one line for each mint, no line for a poll, and summaries of refusals.

use crate::support::prelude::*;

/// The texts that name a client.
const PERSONAL: [&str; 3] = ["203.0.113.77", "ann-smith", "127.0.0.1"];
const MINT: &str = "/api/turn-credentials";

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

#[tokio::test]
async fn a_mint_is_one_line_with_its_outcome() {
    let process = start(&[("TURN_TTL_SECONDS", "600"), USERS]);
    assert_eq!(process.get_with(MINT, &[("origin", "http://localhost:5173")]).await.status, 200);
    assert_eq!(process.get_as(&user_token("ann"), &format!("{MINT}?label=room-1")).await.status, 200);
    let lines = lines(process);
    let [line, named] = of(&lines, "mint")[..] else { panic!("{lines:#?}") };
    let mut line = line.clone();
    assert!(of(&lines, "request").is_empty(), "{lines:#?}");
    assert_eq!(line["grant.id"].take().as_str().map(str::len), Some(22));
    for (field, value) in [
        ("level", json!("INFO")),
        ("outcome", json!("minted")),
        ("source", json!("coturn")),
        ("origin", json!("http://localhost:5173")),
        ("client", json!("127.0.0.1")),
        ("route", json!(MINT)),
        ("ttl", json!(600)),
        ("status", json!(200)),
        ("user", json!(null)),
        ("label", json!(null)),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert_eq!(json!([named["user"], named["label"]]), json!(["ann", "room-1"]));
}

#[tokio::test]
async fn the_line_of_a_refused_mint_names_user_and_label_as_far_as_they_are_known() {
    let process = start(&[USERS, ("RATE_LIMIT_REQUESTS", "1")]);
    assert_eq!(process.order(Method::POST, "/api/users/ann/block").await.status, 200);
    let token = user_token("ann");
    for (query, status) in [("label=room-1", 403), ("label=room-2&ttl=1", 400), ("label=room-3", 429)] {
        assert_eq!(process.get_as(&token, &format!("{MINT}?{query}")).await.status, status, "{query}");
    }
    let lines = lines(process);
    let refused = of(&lines, "request").into_iter().filter(|line| line["route"] == MINT);
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
    assert_eq!(process.mint().await.status, 200);
    let lines = lines(process);
    let line = of(&lines, "mint")[0];
    let shown = json!([line["outcome"], line["source"], line["reason"], line["grant.id"], line["ttl"]]);
    assert_eq!(shown, json!(["stun", "stun", "DISABLED", null, null]));
}

#[tokio::test]
async fn of_the_polls_the_log_has_those_that_were_refused_with_their_ids() {
    let process = start(&[]);
    for path in
        ["/health", "/ready", "/api/bandwidth-status", "/metrics", "/api/overview", "/api/connections"]
    {
        assert_eq!(process.operator(path).await.status, 200, "{path}");
    }
    let id = process.get("/metrics").await.header("x-request-id").map(str::to_owned);
    let lines = lines(process);
    let requests: Vec<_> = of(&lines, "request").iter().map(|line| line["request_id"].as_str()).collect();
    assert_eq!(requests, [id.as_deref()], "{lines:#?}");
}

#[tokio::test]
async fn of_many_refusals_the_log_has_ten_lines_for_each_code_with_the_setting() {
    let process = start(&[("RATE_LIMIT_REQUESTS", "1")]);
    assert_eq!(process.mint().await.status, 200);
    for _ in 0..50 {
        assert_eq!(process.mint().await.status, 429);
        assert_eq!(process.get_with(MINT, &[("origin", "https://elsewhere.example")]).await.status, 403);
    }
    let mut lines = lines(process);
    let refusals = of(&lines, "request").len();
    // A window is 10 s, and a busy machine may take longer for these requests.
    assert!((20..100).contains(&refusals), "{lines:#?}");
    let spent = start(&[("BANDWIDTH_LIMIT_GB", "0")]);
    assert_eq!(spent.mint().await.status, 429);
    lines.extend(self::lines(spent));
    for (code, origin, remedy) in [
        (
            "ORIGIN_NOT_ALLOWED",
            json!("https://elsewhere.example"),
            "Add https://elsewhere.example to CLIENT_URL if the page is yours.",
        ),
        ("RATE_LIMITED", json!(null), "Raise RATE_LIMIT_REQUESTS"),
        (
            "BUDGET_EXHAUSTED",
            json!(null),
            "Raise BANDWIDTH_LIMIT_GB, or block who spends most: turn-broker spenders.",
        ),
    ] {
        let line = lines.iter().find(|line| line["code"] == code).unwrap();
        assert_eq!(line["origin"], origin, "{line}");
        assert!(line["remedy"].as_str().unwrap().starts_with(remedy), "{line}");
    }
}

/// `RUST_LOG=warn` keeps addresses and users out of the log.
#[tokio::test]
async fn a_log_of_warnings_names_no_client() {
    let process = start(&[
        ("RUST_LOG", "warn,turn_broker::telemetry::startup=info"),
        USERS,
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ]);
    let from = [("x-forwarded-for", PERSONAL[0])];
    let token = user_token(PERSONAL[1]);
    for header in [("authorization", "Bearer wrong"), ("authorization", &*format!("Bearer {token}"))] {
        for path in ["/metrics", MINT] {
            process.get_with(path, &[from[0], header]).await;
        }
    }
    process.order(Method::POST, &format!("/api/users/{}/block", PERSONAL[1])).await;
    process.order(Method::POST, &format!("/api/revoke?user={}", PERSONAL[1])).await;
    process.order(Method::DELETE, &format!("/api/users/{}/block", PERSONAL[1])).await;
    assert_eq!(process.get_with("/ready", &from).await.status, 200);
    let lines = lines(process);
    assert!(of(&lines, "a request had a wrong operator token").len() == 1, "{lines:#?}");
    for done in ["blocked a spender", "revoked all credentials of a spender"] {
        assert!(of(&lines, &format!("the operator has {done}")).len() == 1, "{lines:#?}");
    }
    let text = format!("{lines:?}");
    assert!(PERSONAL.iter().take(2).all(|personal| !text.contains(personal)), "{lines:#?}");
}

/// The other lines, which no test can bring about at once.
#[test]
fn no_warning_has_a_field_that_names_a_client() {
    let all: Vec<_> = ["src", "crates"].into_iter().flat_map(sources).collect();
    let warnings = all.iter().flat_map(|(path, source)| {
        let calls =
            ["tracing::warn!(", "tracing::error!("].into_iter().flat_map(|call| source.split(call).skip(1));
        calls.map(move |call| (path, call.split(");").next().unwrap()))
    });
    let mut count = 0;
    for (path, fields) in warnings {
        count += 1;
        let fields = fields.split('"').next().unwrap();
        let names = ["client", "peer", "user", "label"];
        let found =
            fields.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').find(|word| names.contains(word));
        assert!(found.is_none(), "{}: {fields}", path.display());
    }
    assert!(count > 50, "{count}");
}

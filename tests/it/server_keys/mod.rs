//! Servers with a key: they mint for their users without an origin rule and an allowance of an address, within a rate of their own.

mod cloudflare_door;
mod hostile;
mod limits;
mod reports;

use crate::support::prelude::*;

pub(super) const KEY: &str = "app-fixture-key-0123456789-0123456789";
pub(super) const OTHER_KEY: &str = "janus-fixture-key-0123456789-012345678";
pub(super) const KEYS: (&str, &str) =
    ("SERVER_KEYS", "app=app-fixture-key-0123456789-0123456789,janus=janus-fixture-key-0123456789-012345678");
const DOORS: (&str, &str) = ("DOORS", "turn,matrix,ice,link,metered,cloudflare");

/// A broker at Cloudflare with two server keys, all doors, and ten mints for an address.
pub(super) async fn with_keys(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    let base = [KEYS, DOORS, ("RATE_LIMIT_REQUESTS", "10")];
    let kept = base.iter().filter(|(name, _)| settings.iter().all(|(set, _)| set != name)).copied();
    with_cloudflare_and(&kept.chain(settings.iter().copied()).collect::<Vec<_>>()).await
}

async fn grants(broker: &TestBroker) -> Vec<Value> {
    let body = broker.operator("/api/grants?limit=1000").await.json();
    body["grants"].as_array().unwrap().clone()
}

#[tokio::test]
async fn one_address_mints_for_300_users_while_a_page_of_it_keeps_its_ten() {
    let (cloudflare, broker) = with_keys(&[]).await;
    for user in 0..300 {
        let path = format!("/api/turn-credentials?user=user-{user}");
        let answer = broker.get_as(KEY, &path).await;
        assert_eq!(answer.json()["source"], "cloudflare", "{user}");
        assert_eq!(answer.header("ratelimit-limit"), Some("1000"));
    }
    for _ in 0..10 {
        assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    }
    assert_eq!(broker.mint().await.error(), (429, "RATE_LIMITED"));
    assert_eq!(cloudflare.history().mints(), 310);
    let of_key = grants(&broker).await.into_iter().filter(|grant| grant["label"] == "app");
    let users: std::collections::BTreeSet<_> = of_key.map(|grant| grant["user"].to_string()).collect();
    assert_eq!(users.len(), 300, "each credential is of its user, with the key's name as its label");
}

#[tokio::test]
async fn a_stolen_key_is_bounded_by_its_own_rate_and_another_key_is_not_touched() {
    let (cloudflare, broker) = with_keys(&[("SERVER_KEY_REQUESTS", "20")]).await;
    let (mut minted, mut refused) = (0, 0);
    for request in 0..60 {
        // Neither another address nor another route or user gives it more.
        let path = ["/api/turn-credentials", "/ice?service=turn", "/turn?service=turn"][request % 3];
        let from = format!("203.0.113.{request}");
        let answer =
            Answer::of(broker.request(Method::GET, path).bearer_auth(KEY).header("x-forwarded-for", from))
                .await;
        match answer.status.as_u16() {
            200 => minted += 1,
            429 => refused += 1,
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert_eq!((minted, refused, cloudflare.history().mints()), (20, 40, 20));
    let over = broker.mint_with(KEY).await;
    assert_eq!(over.error(), (429, "RATE_LIMITED"));
    assert!(over.json()["message"].as_str().unwrap().contains("SERVER_KEY_REQUESTS"), "{}", over.text);
    assert!(over.header("retry-after").is_some());
    assert_eq!(broker.mint_with(OTHER_KEY).await.json()["source"], "cloudflare");
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
}

#[tokio::test]
async fn the_key_is_the_bearer_token_a_parameter_or_a_header_and_no_origin_matters() {
    let (cloudflare, broker) = with_keys(&[("RATE_LIMIT_REQUESTS", "1")]).await;
    let foreign = |request: RequestBuilder| request.header("origin", "https://foreign.example");
    for path in &MINT_PATHS[..4] {
        assert_eq!(
            Answer::of(foreign(broker.request(Method::GET, path)).bearer_auth(KEY)).await.status,
            200,
            "{path}"
        );
    }
    for path in ["/turn?service=turn", "/ice?service=turn"] {
        for name in ["key", "api"] {
            let request = foreign(broker.request(Method::GET, &format!("{path}&username=ann&{name}={KEY}")));
            assert_eq!(Answer::of(request).await.status, 200, "{path} {name}");
        }
    }
    for path in ["/turn?user=eve", "/ice?service=turn", "/link?user=eve", "/api/v1/turn/credentials?user=eve"]
    {
        let ask = |path: &str| foreign(broker.request(Method::GET, path));
        for (key, status) in [(KEY.to_owned(), None), (KEY.replace('0', "1"), Some(401))] {
            let shown = [
                ask(&format!("{path}&apiKey={key}")),
                ask(&format!("{path}&api_key={key}")),
                ask(path).header("x-api-key", &key),
                ask(path).basic_auth("edumeet", Some(&key)),
                ask(path).basic_auth(&key, Some("")),
            ];
            for request in shown {
                let answer = Answer::of(request).await;
                let expected = status.unwrap_or(if path.starts_with("/link") { 204 } else { 200 });
                assert_eq!(answer.status, expected, "{path}: {}", answer.text);
            }
        }
    }
    assert_eq!(cloudflare.history().mints(), 28);
    for form in
        [format!("service=turn&api={KEY}&username=bob"), format!("username=bob&key={KEY}&service=turn")]
    {
        let request = foreign(broker.request(Method::POST, "/turn")).body(form);
        assert_eq!(Answer::of(request).await.status, 200, "only in the form");
    }
    assert_eq!(cloudflare.history().mints(), 30);
    // After so many wrong keys, the operator's token is not looked at for a minute.
    broker.advance(60);
    let users: Vec<_> = grants(&broker).await.iter().map(|grant| grant["user"].clone()).collect();
    assert_eq!(users.iter().filter(|user| **user == "ann").count(), 4);
    assert!(users.contains(&json!("bob")), "{users:?}");
    for form in ["service=turn&username=bob", "service=turn&key=", "\u{0}\u{fffd}", &"x".repeat(20_000)] {
        let request = foreign(broker.request(Method::POST, "/turn")).body(form.to_owned());
        let refused = Answer::of(request).await;
        assert_eq!(refused.error(), (403, "ORIGIN_NOT_ALLOWED"), "{form}");
        assert_eq!(refused.header("access-control-allow-origin"), Some("https://foreign.example"));
        assert_eq!(refused.header("access-control-allow-credentials"), None);
    }
    assert_eq!(broker.metric("turn_broker_origins_refused_total").await, Some(4));
    // A key in the query of another route is not read.
    let other = broker.request(Method::GET, &format!("/api/turn-credentials?key={KEY}"));
    assert_eq!(Answer::of(foreign(other)).await.error(), (403, "ORIGIN_NOT_ALLOWED"));
}

#[tokio::test]
async fn parameters_that_janus_sends_in_query_and_form_count_once() {
    let (_cloudflare, broker) = with_keys(&[]).await;
    let sent = format!("service=turn&api={KEY}&key={KEY}&username=ann");
    let post = |query: &str, form: &str| {
        let path = format!("/turn?{query}");
        let request = broker.request(Method::POST, &path).body(form.to_owned());
        Answer::of(request.header("content-type", "application/x-www-form-urlencoded"))
    };
    assert_eq!(post(&sent, &sent).await.json()["ttl"], 86_400);
    assert_eq!(grants(&broker).await[0]["user"], "ann");
    assert_eq!(post(&sent, "&username=ann&&ttl=600&").await.json()["ttl"], 600);
    for form in ["username=bob", "service=turn%20", "ttl=600&ttl=600"] {
        assert_eq!(post(&sent, form).await.error(), (400, "INVALID_REQUEST"), "{form}");
    }
    assert_eq!(post(&sent, &format!("key={KEY}x")).await.error(), (401, "UNAUTHORIZED"));
}

#[tokio::test]
async fn a_wrong_key_is_401_and_counts_as_a_wrong_token_where_only_a_key_can_be() {
    let (cloudflare, broker) = with_keys(&[]).await;
    let wrong = KEY.replace('0', "1");
    for path in ["/turn?service=turn", "/ice?service=turn"] {
        for name in ["key", "api"] {
            let request = broker.request(Method::GET, &format!("{path}&{name}={wrong}"));
            let answer = Answer::of(request.header("origin", "https://foreign.example")).await;
            assert_eq!(answer.error(), (401, "UNAUTHORIZED"), "{path} {name}, whatever the origin");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.text.contains(&wrong), "{}", answer.text);
        }
    }
    let both = broker.get(&format!("/turn?service=turn&key={KEY}&api={wrong}")).await;
    assert_eq!(both.error(), (401, "UNAUTHORIZED"));
    assert_eq!(broker.metric("turn_broker_wrong_tokens_total{role=\"server\"}").await, Some(5));
    assert_eq!(cloudflare.history().mints(), 0);
    // An empty one is none.
    assert_eq!(broker.get("/turn?service=turn&key=&api=").await.status, 200);
    for _ in 0..20 {
        broker.get(&format!("/ice?service=turn&key={wrong}")).await;
    }
    for key in [&wrong, KEY] {
        let answer = broker.get(&format!("/ice?service=turn&key={key}")).await;
        assert_eq!(answer.error(), (429, "RATE_LIMITED"), "a right guess is answered alike");
    }
}

/// A typing error must not become an anonymous credential.
#[tokio::test]
async fn a_mistyped_key_and_a_user_without_a_key_get_401() {
    let (cloudflare, broker) = with_keys(&[USERS, ("RATE_LIMIT_REQUESTS", "11")]).await;
    for path in &MINT_PATHS[..4] {
        let mistyped = broker.get_as(&KEY.replace('0', "1"), path).await;
        assert_eq!(mistyped.error(), (401, "INVALID_TOKEN"), "{path}");
    }
    assert_eq!(broker.metric("turn_broker_wrong_tokens_total{role=\"server\"}").await, Some(4));
    for token in [None, Some(user_token("ann")), Some(broker.grant().await)] {
        let request = broker.request(Method::GET, "/api/turn-credentials?user=ann");
        let request = token.iter().fold(request, RequestBuilder::bearer_auth);
        assert_eq!(Answer::of(request).await.error(), (401, "INVALID_TOKEN"));
    }
    assert_eq!(broker.get("/api/turn-credentials?user=").await.error(), (401, "INVALID_TOKEN"));
    assert_eq!(cloudflare.history().mints(), 1);
    let without_bearer = broker.request(Method::GET, "/api/turn-credentials").header("authorization", KEY);
    assert_eq!(Answer::of(without_bearer).await.error(), (401, "INVALID_TOKEN"));
    // A page may hold a grant of an earlier ledger.
    let of_others = with_keys(&[]).await.1.grant().await;
    assert_eq!(broker.mint_with(&of_others).await.status, 200);
    assert_eq!(broker.mint_with(&user_token("ann")).await.status, 200);
}

#[tokio::test]
async fn a_name_is_answered_alike_whether_or_not_it_is_a_secret() {
    let (_cloudflare, broker) = with_keys(&[]).await;
    let page = broker.grant().await;
    for name in ["a-name-that-nobody-uses-as-a-secret", OTHER_KEY, OPERATOR, REPORTER, MONITOR] {
        for parameter in ["user", "label"] {
            let path = format!("/api/turn-credentials?{parameter}={name}");
            assert_eq!(broker.get_as(KEY, &path).await.status, 200, "{parameter}={name}");
        }
        let path = format!("/api/turn-credentials?label={name}");
        let anonymous = broker.request(Method::GET, &path).header("x-forwarded-for", "203.0.113.9");
        assert_eq!(Answer::of(anonymous).await.status, 200, "{name}");
        for token in [REPORTER, &page] {
            let body =
                json!({"connectionId": format!("{name}-{}", token.len()), "user": name, "label": name});
            assert_eq!(broker.post(token, "/api/connections", body).await.status, 201, "{name}");
        }
    }
    // Tokens of pages are refused by their form.
    for token in [&*page, &user_token("ann")[..64]] {
        let guess = broker.get_as(KEY, &format!("/api/turn-credentials?user={token}")).await;
        assert_eq!(guess.error(), (400, "INVALID_REQUEST"), "{token}");
    }
    assert_eq!(broker.metric("turn_broker_wrong_tokens_total{role=\"server\"}").await, Some(0));
}

#[tokio::test]
async fn without_server_keys_key_and_api_are_not_read() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("DOORS", "turn,ice")]).await;
    for path in ["/turn?service=turn&key=x&api=y", "/ice?service=turn&key=x", "/turn?api_key=x&apiKey=y"] {
        assert_eq!(broker.get(path).await.status, 200, "{path}");
    }
    assert_eq!(broker.get("/turn?service=turn&username=ann").await.status, 200);
    assert!(grants(&broker).await.iter().all(|grant| grant["user"].is_null()), "nobody may name a user");
}

#[tokio::test]
async fn a_key_names_user_and_label_and_a_blocked_user_gets_nothing() {
    let (_cloudflare, broker) = with_keys(&[("CLIENT_ADDRESSES", "full")]).await;
    let path = "/api/turn-credentials?user=ann&label=room-1&ttl=600";
    assert_eq!(broker.get_as(KEY, path).await.json()["ttl"], 600);
    let [grant] = &grants(&broker).await[..] else { panic!("one grant") };
    assert_eq!(json!([grant["user"], grant["label"]]), json!(["ann", "room-1"]));
    assert_eq!(grant["address"], Value::Null, "the server's address is nobody's");
    broker.order(Method::POST, "/api/users/ann/block").await;
    assert_eq!(broker.get_as(KEY, path).await.error(), (403, "USER_BLOCKED"));
    let long = "u".repeat(256);
    let queries = ["user=.", &format!("user={long}"), "user=a%00b", "label=a%20b", "ttl=5", "region=nowhere"];
    for query in queries.into_iter().chain([
        "user=ann&user=ann",
        "user=ann&username=bob",
        "username=a&customIdentifier=b",
        // Mistyped: the credential would have no user.
        "usr=ann",
        "User=ann",
        "user=",
        "user",
        "user=ann&username=",
        "key=0",
    ]) {
        let request = broker.request(Method::GET, &format!("/api/turn-credentials?{query}")).bearer_auth(KEY);
        assert_eq!(Answer::of(request).await.error(), (400, "INVALID_REQUEST"), "{query}");
    }
}

/// Programs send parameters of their own, and empty ones.
#[tokio::test]
async fn in_the_formats_of_programs_only_an_empty_user_is_refused() {
    let (_cloudflare, broker) = with_keys(&[("DOORS", "turn,ice")]).await;
    for (query, expected) in [
        ("turn?service=turn&username=&session=7", 200),
        ("ice?service=turn&namespace=default", 200),
        ("turn?service=turn&user=", 400),
        ("ice?service=turn&user", 400),
    ] {
        assert_eq!(broker.get_as(KEY, &format!("/{query}")).await.status, expected, "{query}");
    }
    assert_eq!(broker.get("/api/turn-credentials?usr=ann").await.status, 200, "a page's are ignored");
}

#[tokio::test]
async fn a_key_is_a_sign_in() {
    let (_cloudflare, broker) = with_keys(&[USERS, ("AUTH_REQUIRED", "true")]).await;
    assert_eq!(broker.mint().await.error(), (401, "UNAUTHORIZED"));
    assert_eq!(broker.mint_with(&user_token("ann")).await.status, 200);
    let minted = broker.mint_with(KEY).await;
    assert_eq!(minted.status, 200);
    // A page renews what the server has fetched for it.
    broker.advance(80_000);
    let renewed = broker.mint_with(&minted.grant()).await;
    assert_eq!(renewed.json()["source"], "cloudflare");
    let of_key = grants(&broker).await.into_iter().filter(|grant| grant["label"] == "app").count();
    assert_eq!(of_key, 2);

    let settings = [&COTURN[..], &[KEYS, ("AUTH_REQUIRED", "true")]].concat();
    let only_keys = TestBroker::start(&settings).await;
    assert_eq!(only_keys.mint().await.error(), (401, "UNAUTHORIZED"));
    assert_eq!(only_keys.mint_with(KEY).await.status, 200);
}

#[tokio::test]
async fn each_token_is_of_one_kind() {
    let (_cloudflare, broker) = with_keys(&[USERS]).await;
    assert_eq!(broker.operator("/metrics").await.status, 200);
    for token in [KEY, REPORTER] {
        let answer = broker.get_as(token, "/metrics").await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED"), "no operator");
    }
    for token in [REPORTER, OPERATOR] {
        let answer = broker.get(&format!("/turn?service=turn&key={token}")).await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED"), "no server key");
        let answer = broker.mint_with(token).await;
        assert_eq!(answer.error(), (401, "INVALID_TOKEN"), "no bearer of a mint");
        assert_eq!(answer.header("ratelimit-limit"), Some("10"), "it counts against its address");
    }
}

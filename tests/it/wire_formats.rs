//! Other wire formats of the mint: their fields, and that the same rules apply to them as to `/api/turn-credentials`.

use crate::support::prelude::*;

const ROUTES: [&str; 5] = [
    "/turn?username=me",
    "/_matrix/client/v3/voip/turnServer",
    "/ice?service=turn",
    "/link",
    "/api/v1/turn/credentials",
];

async fn with_all(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    with_cloudflare_and(&[&[ALL_DOORS], settings].concat()).await
}

/// A request of a page of another site.
async fn foreign(broker: &TestBroker, path: &str) -> Answer {
    broker.get_with(path, &[("origin", "https://foreign.example")]).await
}

#[tokio::test]
async fn a_route_does_not_exist_until_its_format_is_named() {
    let (cloudflare, broker) = with_cloudflare_and(&[]).await;
    for route in ROUTES {
        assert_eq!(broker.get(route).await.error(), (404, "NOT_FOUND"), "{route}");
    }
    assert_eq!(cloudflare.history().mints(), 0);
}

#[tokio::test]
async fn turn_rest_and_matrix_responses_have_the_same_four_fields() {
    let (cloudflare, broker) = with_all(&[("TURN_TTL_SECONDS", "3600")]).await;
    for route in &ROUTES[..2] {
        let answer = broker.get(route).await;
        let (username, credential) = cloudflare.history().last_credential();
        let mut body = answer.json();
        let uris = body["uris"].take();
        assert_eq!(body, json!({"username": username, "password": credential, "ttl": 3600, "uris": null}));
        let uris: Vec<_> = uris.as_array().unwrap().iter().map(|uri| uri.as_str().unwrap()).collect();
        assert!(uris.contains(&"turn:turn.cloudflare.com:3478?transport=udp"), "{uris:?}");
        assert!(uris.iter().all(|uri| uri.starts_with("turn")), "{uris:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("ratelimit-remaining").is_some());
    }
}

#[tokio::test]
async fn a_response_in_stunners_format_configures_a_peer_connection() {
    let (cloudflare, broker) = with_all(&[]).await;
    for (query, policy) in
        [("", "all"), ("&iceTransportPolicy=all", "all"), ("&iceTransportPolicy=relay", "relay")]
    {
        let body = broker.get(&format!("/ice?service=turn{query}")).await.json();
        assert_eq!(body["iceTransportPolicy"], policy);
        assert_eq!(body["iceServers"][1]["username"], cloudflare.history().last_credential().0);
    }
    let other = broker.get("/ice?service=turn&iceTransportPolicy=none").await;
    assert_eq!(other.error(), (400, "INVALID_REQUEST"));
    assert_eq!(cloudflare.history().mints(), 3);
}

#[tokio::test]
async fn links_of_whip_and_whep_have_one_header_for_each_url() {
    let servers = r#"[{"urls": "stun:stun.example"}, {"urls": ["turn:turn.example", "turns:turn.example"], "username": "a\"b\\", "credential": "ü"}]"#;
    let broker =
        TestBroker::start(&[ALL_DOORS, ("ICE_SOURCES", "manual"), ("MANUAL_ICE_SERVERS", servers)]).await;
    let answer = broker.get_with("/link", &[("origin", "http://localhost:5173")]).await;
    assert_eq!((answer.status.as_u16(), &*answer.text), (204, ""));
    let links = answer.headers.get_all("link").iter().map(|link| str::from_utf8(link.as_bytes()).unwrap());
    let credential = r#"username="a\"b\\"; credential="ü"; credential-type="password""#;
    let expected = [
        r#"<stun:stun.example>; rel="ice-server""#.to_owned(),
        format!(r#"<turn:turn.example>; rel="ice-server"; {credential}"#),
        format!(r#"<turns:turn.example>; rel="ice-server"; {credential}"#),
    ];
    assert_eq!(links.collect::<Vec<_>>(), expected);
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("link"), "a page may read it: {exposed}");
}

#[tokio::test]
async fn metered_has_a_list_with_one_url_in_each_entry() {
    let (cloudflare, broker) = with_all(&[]).await;
    let body = broker.get("/api/v1/turn/credentials?apiKey=none").await.json();
    let (username, credential) = cloudflare.history().last_credential();
    let entries = body.as_array().unwrap();
    assert_eq!(entries[0], json!({"urls": "stun:stun.cloudflare.com:3478"}));
    assert!(entries.len() > 2, "{body}");
    for entry in &entries[1..] {
        let (url, fields) = (entry["urls"].as_str().unwrap(), entry.as_object().unwrap().len());
        assert!(url.starts_with("turn"), "{entry}");
        assert_eq!(
            (&entry["username"], &entry["credential"], fields),
            (&json!(username), &json!(credential), 3)
        );
    }
}

/// edumeet sends no `service`. After ten refusals it was told to raise a rate.
#[tokio::test]
async fn a_request_that_is_refused_for_its_form_costs_no_allowance() {
    let keys = ("SERVER_KEYS", "app=app-fixture-key-0123456789-0123456789");
    let settings = [("RATE_LIMIT_REQUESTS", "1"), ("SERVER_KEY_REQUESTS", "1"), keys];
    let (cloudflare, broker) = with_all(&settings).await;
    let key = "key=app-fixture-key-0123456789-0123456789";
    for query in ["service=sip", "ttl=5", "label=a%20b", "region=nowhere", "username=a&username=b"] {
        for key in ["", key] {
            let refused = broker.get(&format!("/turn?{query}&{key}")).await;
            assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{query} {key}");
        }
    }
    for key in ["", key] {
        assert_eq!(broker.get(&format!("/turn?{key}")).await.status, 200);
        assert_eq!(broker.get(&format!("/turn?{key}")).await.error(), (429, "RATE_LIMITED"));
    }
    assert_eq!(cloudflare.history().mints(), 2);
}

/// A guest of a program asks again and again.
#[tokio::test]
async fn one_user_of_a_server_key_uses_up_a_sixteenth_of_its_allowance() {
    let keys = ("SERVER_KEYS", "app=app-fixture-key-0123456789-0123456789");
    let (_, broker) = with_all(&[("SERVER_KEY_REQUESTS", "32"), keys]).await;
    let mint = async |user: &str| {
        broker.get(&format!("/turn?key=app-fixture-key-0123456789-0123456789&username={user}")).await
    };
    for _ in 0..2 {
        assert_eq!(mint("guest").await.status, 200);
    }
    for _ in 0..40 {
        assert_eq!(mint("guest").await.error(), (429, "RATE_LIMITED"));
    }
    assert_eq!(mint("other").await.status, 200);
}

#[tokio::test]
async fn the_turn_rest_draft_may_be_asked_with_a_form_as_janus_does() {
    let (cloudflare, broker) = with_all(&[]).await;
    let post = |path: &str, body: &'static str| {
        let request = broker.request(Method::POST, path).body(body);
        Answer::of(request.header("content-type", "application/x-www-form-urlencoded"))
    };
    for (path, body) in [
        ("/turn", "service=turn&api=key&username=me"),
        ("/turn?service=turn&key=key", ""),
        ("/turn?service=turn", "ttl=3600"),
        ("/turn?service=turn&api=key&username=me", "service=turn&api=key&username=me"),
    ] {
        let answer = post(path, body).await;
        assert_eq!(answer.json()["username"], cloudflare.history().last_credential().0, "{path} {body}");
    }
    for (path, body) in
        [("/turn", "service="), ("/turn", "service=turn&ttl=5"), ("/turn?service=turn", "service=other")]
    {
        assert_eq!(post(path, body).await.error(), (400, "INVALID_REQUEST"), "{path} {body}");
    }
    for path in ["/turn?service=sip", "/ice", "/ice?service=turn&service=turn", "/turn?service=turn&ttl=5"] {
        let answer = broker.get(path).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{path}");
        assert!(!answer.text.contains(API_TOKEN));
    }
    assert_eq!(cloudflare.history().mints(), 4);
    let put = broker.send(Method::PUT, "/turn?service=turn").await;
    assert_eq!((put.status.as_u16(), put.header("allow")), (405, Some("GET,POST")));
}

#[tokio::test]
async fn matrix_clients_of_every_version_get_a_credential_and_errors_in_their_form() {
    let (cloudflare, broker) = with_all(&[("RATE_LIMIT_REQUESTS", "4")]).await;
    let paths = ["api/v1", "r0", "v3", "unstable"]
        .map(|version| format!("/_matrix/client/{version}/voip/turnServer"));
    for path in &paths {
        let answer = broker.get(path).await;
        assert_eq!(answer.json()["username"], cloudflare.history().last_credential().0, "{path}");
    }
    for path in &paths {
        let limited = broker.get(path).await;
        let body = limited.json();
        assert_eq!((limited.status.as_u16(), &body["errcode"]), (429, &json!("M_LIMIT_EXCEEDED")), "{body}");
        let wait = limited.header("retry-after").unwrap().parse::<u64>().unwrap();
        assert_eq!(body["retry_after_ms"], wait * 1_000);
    }
    assert_eq!(foreign(&broker, &paths[2]).await.json()["errcode"], "M_FORBIDDEN");
    assert_eq!(broker.send(Method::PUT, &paths[2]).await.json()["errcode"], "M_UNKNOWN");
    let other = broker.mint().await.json();
    assert!(other.get("errcode").is_none(), "only Matrix clients get their codes: {other}");
}

#[tokio::test]
async fn without_a_relay_the_response_has_public_stun_servers_and_an_empty_user() {
    let broker = TestBroker::start(&[ALL_DOORS]).await;
    let stun = ["stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302"];
    for route in &ROUTES[..2] {
        let expected = json!({"uris": stun, "username": "", "password": "", "ttl": 300});
        assert_eq!(broker.get(route).await.json(), expected);
    }
    assert_eq!(broker.get(ROUTES[2]).await.json()["iceServers"][0]["urls"], json!([stun[0]]));
}

#[tokio::test]
async fn every_format_shares_the_rate_limit_the_origin_rule_and_the_budget() {
    let (cloudflare, broker) = with_all(&[("RATE_LIMIT_REQUESTS", "5")]).await;
    for route in ROUTES {
        assert_eq!(foreign(&broker, route).await.error(), (403, "ORIGIN_NOT_ALLOWED"), "{route}");
        assert_eq!(broker.send(Method::HEAD, route).await.status, 405, "a HEAD must not mint");
        assert!(broker.get(route).await.status.is_success(), "{route}");
    }
    assert_eq!(cloudflare.history().mints(), 5);
    for route in ROUTES {
        assert_eq!(broker.get(route).await.error(), (429, "RATE_LIMITED"), "{route}");
    }
    assert_eq!(broker.mint().await.status, 429, "one limiter");
    assert_eq!(broker.status().await["grants"]["issued"], 5);

    let (_cloudflare, spent) = with_all(&[("BANDWIDTH_LIMIT_GB", "0")]).await;
    for route in ROUTES {
        assert_eq!(spent.get(route).await.error(), (429, "BUDGET_EXHAUSTED"), "{route}");
    }
}

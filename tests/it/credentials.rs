//! The response to a mint.

use crate::support::prelude::*;
use turn_broker::alert::StopCode;

#[tokio::test]
async fn a_minted_response_has_servers_times_source_grant_and_headers() {
    let (cloudflare, broker) = with_cloudflare_and(&[("RATE_LIMIT_REQUESTS", "10")]).await;
    let answer = broker.mint().await;
    let (username, credential) = cloudflare.history().last_credential();
    let mut body = answer.json();
    let grant = body["grant"].take();
    assert!(grant.as_str().unwrap().len() > 40, "{grant}");
    let expected = json!({
        "iceServers": [
            {"urls": ["stun:stun.cloudflare.com:3478"]},
            {
                "urls": [
                    "turn:turn.cloudflare.com:3478?transport=udp",
                    "turn:turn.cloudflare.com:3478?transport=tcp",
                    "turns:turn.cloudflare.com:443?transport=tcp",
                ],
                "username": username,
                "credential": credential,
            },
        ],
        "ttl": 86_400,
        "issuedAt": "2025-01-15T12:00:00.000Z",
        "expiresAt": "2025-01-16T12:00:00.000Z",
        "refreshAfter": "2025-01-16T06:00:00.000Z",
        "source": "cloudflare",
        "degraded": false,
        "grant": null,
    });
    assert_eq!(body, expected);

    for (name, value) in [
        ("cache-control", "no-store"),
        ("vary", "Origin"),
        ("content-type", "application/json"),
        ("ratelimit-limit", "10"),
        ("ratelimit-remaining", "9"),
        ("ratelimit-reset", "30"),
        ("ratelimit-policy", "\"mints\";q=10"),
        ("ratelimit", "\"mints\";r=9;t=30"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_provider_is_called_once_with_key_token_ttl_and_our_own_user_agent() {
    let (cloudflare, broker) = with_cloudflare().await;
    broker.mint().await;
    let [request] = &cloudflare.history().requests()[..] else { panic!("one request") };
    assert_eq!(request.path, "/v1/turn/keys/key-id/credentials/generate-ice-servers");
    assert_eq!(request.authorization.as_deref(), Some("Bearer provider-fixture-token"));
    assert!(request.user_agent.as_deref().unwrap().starts_with("turn-broker/"));
    assert_eq!(request.content_type.as_deref(), Some("application/json"));
    assert_eq!(request.ttl, Some(86_400));
    assert_eq!(request.custom_identifier.as_ref().map(String::len), Some(22));
}

#[tokio::test]
async fn a_client_may_request_a_shorter_life_and_one_out_of_range_mints_nothing() {
    let (cloudflare, broker) = with_cloudflare_and(&[("TURN_TTL_SECONDS", "3600")]).await;
    let answer = broker.get("/api/turn-credentials?ttl=60&ttl=60").await;
    assert_eq!(answer.error(), (400, "INVALID_REQUEST"));
    assert_eq!(answer.json()["message"], "Send `ttl` once.");
    for query in ["ttl=59", "ttl=3601", "ttl=abc", "ttl=", "ttl=60.5", "ttl=-60"] {
        let answer = broker.get(&format!("/api/turn-credentials?{query}")).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{query}");
        assert!(answer.json()["message"].as_str().unwrap().contains("3600"), "{query}");
    }
    for query in ["ttlAtMost=59", "ttlAtMost=172801", "ttlAtMost=60&ttl=3601"] {
        let answer = broker.get(&format!("/api/turn-credentials?{query}")).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{query}");
    }
    assert_eq!(cloudflare.history().mints(), 0);
    for (query, ttl) in [("ttlAtMost=172800", 3_600), ("ttlAtMost=1800", 1_800), ("ttlAtMost=60&ttl=600", 60)]
    {
        assert_eq!(broker.get(&format!("/api/turn-credentials?{query}")).await.json()["ttl"], ttl, "{query}");
    }
    let body = broker.get("/api/turn-credentials?ttl=60").await.json();
    assert_eq!(json!([body["ttl"], body["expiresAt"]]), json!([60, "2025-01-15T12:01:00.000Z"]));
    assert_eq!(body["refreshAfter"], "2025-01-15T12:00:45.000Z");
    assert_eq!(cloudflare.history().requests().last().unwrap().ttl, Some(60));
    assert_eq!(broker.mint().await.json()["ttl"], 3_600);
}

/// All URLs of the answer, port 53 must never be among them.
fn urls(body: &Value) -> Vec<String> {
    let servers = body["iceServers"].as_array().expect("always an array");
    let urls = servers.iter().flat_map(|server| server["urls"].as_array().expect("always a list").clone());
    urls.map(|url| url.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn by_default_a_response_has_one_url_for_each_way_to_the_relay_in_every_format() {
    let (cloudflare, broker) = with_cloudflare_and(&[("DOORS", "turn,ice,matrix")]).await;
    let expected = [
        "stun:stun.cloudflare.com:3478",
        "turn:turn.cloudflare.com:3478?transport=udp",
        "turn:turn.cloudflare.com:3478?transport=tcp",
        "turns:turn.cloudflare.com:443?transport=tcp",
    ];
    for shape in [Shape::Current, Shape::Legacy53, Shape::Single, Shape::Object, Shape::StringUrls] {
        cloudflare.shape(shape);
        assert_eq!(urls(&broker.mint().await.json()), expected, "{shape:?}");
        assert_eq!(urls(&broker.get("/ice?service=turn").await.json()), expected, "{shape:?}");
        for path in ["/turn?service=turn", "/_matrix/client/v3/voip/turnServer"] {
            let turn = &expected[1..];
            assert_eq!(broker.get(path).await.json()["uris"], json!(turn), "{shape:?} {path}");
        }
    }
    let (_cloudflare, broker) = with_cloudflare_and(&[("ICE_URLS", "all")]).await;
    assert_eq!(urls(&broker.mint().await.json()).len(), 7);
}

#[tokio::test]
async fn a_list_of_the_operator_is_answered_as_it_was_written() {
    let list = json!([
        {"urls": ["stun:a.example", "stun:b.example"]},
        {"urls": ["turn:a.example", "turn:b.example"], "username": "u", "credential": "c"},
    ]);
    let settings = [("ICE_SOURCES", "manual"), ("MANUAL_ICE_SERVERS", &*list.to_string())];
    let broker = TestBroker::start(&settings).await;
    assert_eq!(broker.mint().await.json()["iceServers"], list);
}

#[tokio::test]
async fn a_head_request_does_not_mint_and_does_not_count() {
    let (cloudflare, broker) = with_cloudflare_and(&[("RATE_LIMIT_REQUESTS", "10")]).await;
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
        let answer = broker.send(method.clone(), "/api/turn-credentials").await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET"), "{method}");
    }
    assert_eq!(cloudflare.history().mints(), 0);
    assert_eq!(broker.mint().await.header("ratelimit-remaining"), Some("9"));
}

#[tokio::test]
async fn without_any_configuration_the_response_is_stun() {
    let broker = TestBroker::start(&[]).await;
    let answer = broker.mint().await;
    let expected = json!({
        "iceServers": [{"urls": ["stun:stun.l.google.com:19302"]}, {"urls": ["stun:stun1.l.google.com:19302"]}],
        "source": "stun",
        "degraded": true,
        "reason": "NOT_CONFIGURED",
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_life_counts_from_the_request_to_the_provider() {
    let (cloudflare, broker) = with_cloudflare().await;
    cloudflare.next(Fault::Held);
    let minting = tokio::spawn(Answer::of(broker.request(Method::GET, "/api/turn-credentials")));
    eventually("the provider is asked", async || cloudflare.history().mints() == 1).await;
    broker.advance(2);
    cloudflare.release();
    let body = minting.await.unwrap().json();
    assert_eq!(body["issuedAt"], "2025-01-15T12:00:00.000Z");
    assert_eq!(body["expiresAt"], "2025-01-16T12:00:00.000Z");
}

/// What differs between the reasons to mint nothing: the settings, the status of a mint that is refused, and the reason of a degraded
/// response. Status 200: nothing is refused.
fn facts_of(code: StopCode) -> (&'static [(&'static str, &'static str)], u16, &'static str) {
    match code {
        StopCode::Frozen => (&[], 200, "DISABLED"),
        StopCode::Disabled => (&[("TURN_ENABLED", "false")], 200, "DISABLED"),
        StopCode::NotConfigured => (&[], 200, "NOT_CONFIGURED"),
        StopCode::ProviderUnavailable => {
            (&[("CLOUDFLARE_TURN_API_TOKEN", "a-wrong-token")], 200, "PROVIDER_UNAVAILABLE")
        }
        StopCode::BudgetExhausted => (&[("BANDWIDTH_LIMIT_GB", "0")], 429, "BUDGET_EXHAUSTED"),
        StopCode::LedgerUnavailable | StopCode::ClockDisagrees => (&[], 503, "LEDGER_UNAVAILABLE"),
        StopCode::GrantsFull => (&[("GRANTS_MAX", "1")], 503, "LEDGER_UNAVAILABLE"),
    }
}

/// A mint while nothing is minted for this reason, at a broker that has already minted if it could.
async fn stopped_mint(code: StopCode, action: &str) -> (TestBroker, Answer, [StateDir; 2]) {
    let (state, elsewhere) = (StateDir::new(), StateDir::new());
    let settings = [("STATE_DIR", state.path()), ("LIMIT_ACTION", action)];
    let settings = [facts_of(code).0, &settings].concat();
    let cloudflare = FakeCloudflare::start().await;
    let broker = match code {
        StopCode::NotConfigured => TestBroker::start(&settings).await,
        _ => broker_at(&cloudflare, &settings).await,
    };
    broker.mint().await;
    match code {
        StopCode::Frozen => drop(broker.freeze(true).await),
        StopCode::ClockDisagrees => {
            cloudflare.stop().await;
            broker.set_wall("2025-01-17T12:00:01Z");
        }
        StopCode::ProviderUnavailable => {
            // The first failures do not say yet that it is unavailable.
            for _ in 0..5 {
                broker.mint().await;
            }
        }
        StopCode::LedgerUnavailable => {
            let [path, away] =
                [&state, &elsewhere].map(|directory| Path::new(directory.path()).join(FILE_NAME));
            std::fs::rename(path, away).unwrap();
        }
        _ => {}
    }
    let answer = broker.mint().await;
    (broker, answer, [state, elsewhere])
}

#[tokio::test]
async fn each_reason_to_mint_nothing_is_the_same_in_the_status_in_ready_and_in_a_mint() {
    for code in StopCode::VARIANTS {
        let (name, (_, status, reason)) = (<&str>::from(code), facts_of(*code));
        for action in ["fallback", "refuse"] {
            let (broker, answer, _state) = stopped_mint(*code, action).await;
            let stated = broker.get("/api/bandwidth-status").await.json()["minting"].clone();
            assert_eq!(json!([stated["on"], stated["code"]]), json!([false, name]));
            let ready = broker.get("/ready").await;
            if *code == StopCode::LedgerUnavailable {
                assert_eq!(ready.error(), (503, name));
                assert_eq!(ready.json()["message"], stated["message"]);
            } else {
                assert_eq!(ready.json()["minting"], stated, "{name}");
            }
            if action == "fallback" || status == 200 {
                let body = answer.json();
                assert_eq!(json!([body["source"], body["reason"]]), json!(["stun", reason]), "{name}");
            } else {
                assert_eq!(answer.error(), (status, name));
            }
            if action == "refuse" && status == 503 {
                assert_eq!(answer.json()["message"], stated["message"], "{name}");
            }
        }
    }
}

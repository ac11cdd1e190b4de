//! Access to the mint: rate limit, origins and proxies. The limiter uses the library's own clock, so these tests set a short
//! window instead of moving the clock, and none of them asserts a duration.

use crate::support::prelude::*;
use reqwest::header::HeaderName;

#[tokio::test]
async fn ten_requests_at_once_pass_and_the_eleventh_gets_a_wait() {
    let broker =
        TestBroker::start(&[("RATE_LIMIT_REQUESTS", "10"), ("RATE_LIMIT_WINDOW_SECONDS", "300")]).await;
    for left in (0..10).rev() {
        let answer = broker.mint().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-remaining"), Some(left.to_string().as_str()));
    }
    let refused = broker.mint().await;
    let body = refused.json();
    assert_eq!(refused.error(), (429, "RATE_LIMITED"));
    assert_eq!(body["error"], "Too many credential requests, please try again later");
    assert_eq!(body["requestId"], refused.header("x-request-id").unwrap());
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "one request every 30 s: {wait}");
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("Try again in {wait} s.")), "{message}");
    assert!(message.contains("RATE_LIMIT_REQUESTS"), "{message}");
    assert_eq!(refused.header("ratelimit-reset"), refused.header("retry-after"));
    assert_eq!(refused.header("ratelimit-limit"), Some("10"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    assert!(refused.header("x-ratelimit-after").is_none());
    assert_eq!(broker.get("/api/bandwidth-status").await.status, 200, "only mints are limited");
    assert_eq!(broker.metric("turn_broker_rate_limited_total").await, Some(1));
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_rate_and_cannot_forge_another() {
    let broker =
        TestBroker::start(&[("RATE_LIMIT_REQUESTS", "1"), ("TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")]).await;
    assert_eq!(broker.mint_from("203.0.113.1").await.status, 200);
    assert_eq!(broker.mint_from("203.0.113.2, 10.1.2.3").await.status, 200);
    for forged in [
        "203.0.113.1",
        "198.51.100.9, 203.0.113.1",
        "198.51.100.9, 203.0.113.1, 10.9.9.9",
        "garbage, 203.0.113.1",
    ] {
        assert_eq!(broker.mint_from(forged).await.status, 429, "{forged}");
    }
}

#[tokio::test]
async fn ipv6_clients_are_distinguished_by_their_prefix() {
    let broker = TestBroker::start(&[("RATE_LIMIT_REQUESTS", "1"), ("RATE_LIMIT_IPV6_PREFIX", "56")]).await;
    assert_eq!(broker.mint_from("2001:db8:0:100::1").await.status, 200);
    assert_eq!(broker.mint_from("2001:db8:0:1ff:ffff::1").await.status, 429, "the same /56");
    assert_eq!(broker.mint_from("2001:db8:0:200::1").await.status, 200);
    assert_eq!(broker.mint_from("::ffff:203.0.113.1").await.status, 200);
    assert_eq!(broker.mint_from("203.0.113.1").await.status, 429, "the same client, mapped");
}

/// A carrier gives each phone a /64 of one /48.
#[tokio::test]
async fn heavy_clients_of_an_ipv6_network_share_four_allowances_and_the_others_do_not_wait_for_them() {
    let broker = TestBroker::start(&[("RATE_LIMIT_REQUESTS", "10")]).await;
    for phone in 0..9 {
        for nth in 0..10 {
            let status = broker.mint_from(&format!("2001:db8:7:{phone}::1")).await.status;
            let has_room = phone < 8 || nth < 5;
            assert_eq!(status, if has_room { 200 } else { 429 }, "{phone}, {nth}");
        }
    }
    for phone in 10..20 {
        assert_eq!(broker.mint_from(&format!("2001:db8:7:{phone}::1")).await.status, 200, "{phone}");
    }
}

async fn mint_with_origin(broker: &TestBroker, origin: &str) -> Answer {
    broker.get_with("/api/turn-credentials", &[("origin", origin)]).await
}

#[tokio::test]
async fn a_foreign_page_is_rejected_before_anything_is_minted_or_counted() {
    let settings =
        [("CLIENT_URL", "https://app.example, http://localhost:5173/"), ("RATE_LIMIT_REQUESTS", "10")];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    for origin in [
        "https://evil.example",
        "http://app.example",
        "https://app.example.evil.example",
        "null",
        "https://app.example:444",
    ] {
        let answer = mint_with_origin(&broker, origin).await;
        assert_eq!(answer.error(), (403, "ORIGIN_NOT_ALLOWED"), "{origin}");
        assert!(answer.json()["message"].as_str().unwrap().contains(origin), "{}", answer.text);
        // Its page may read this.
        assert_eq!(cors_headers(&answer), ["access-control-allow-origin"], "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    assert_eq!(cloudflare.history().mints(), 0);
    assert_eq!(broker.mint().await.header("ratelimit-remaining"), Some("9"));
    assert_eq!(broker.metric("turn_broker_origins_refused_total").await, Some(5));
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("access-control")).collect()
}

#[tokio::test]
async fn a_refused_origin_may_read_nothing_but_its_refusal() {
    let broker =
        TestBroker::start(&[("CLIENT_URL", "https://app.example"), ("RATE_LIMIT_REQUESTS", "1")]).await;
    let path = "/api/turn-credentials";
    for request in [
        broker.request(Method::GET, path).header("sec-fetch-site", "cross-site"),
        broker
            .request(Method::GET, path)
            .header("sec-purpose", "prefetch")
            .header("origin", "https://evil.example"),
        broker
            .request(Method::GET, path)
            .header("origin", "https://evil.example")
            .header("origin", "https://app.example"),
    ] {
        let answer = Answer::of(request).await;
        assert_eq!(answer.error(), (403, "ORIGIN_NOT_ALLOWED"));
        assert!(cors_headers(&answer).is_empty(), "{:?}", answer.headers);
    }
    for path in ["/api/bandwidth-status", "/api/connections", "/none"] {
        let answer = broker.get_with(path, &[("origin", "https://evil.example")]).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn an_allowed_page_may_read_successes_and_errors() {
    let broker =
        TestBroker::start(&[("CLIENT_URL", "https://app.example"), ("RATE_LIMIT_REQUESTS", "1")]).await;
    for expected in [200, 429] {
        let answer = mint_with_origin(&broker, "https://app.example").await;
        assert_eq!(answer.status, expected);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("retry-after") && exposed.contains("x-request-id"), "{exposed}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn an_allowed_page_may_read_that_the_budget_is_spent() {
    let spent = [("CLIENT_URL", "https://app.example"), ("BANDWIDTH_LIMIT_GB", "0")];
    let (_cloudflare, broker) = with_cloudflare_and(&spent).await;
    let answer = mint_with_origin(&broker, "https://app.example").await;
    assert_eq!(answer.error(), (429, "BUDGET_EXHAUSTED"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.header("ratelimit-remaining"), Some("999"), "it counts as a request");
}

#[tokio::test]
async fn a_preflight_is_answered_for_the_calls_that_pages_make() {
    let directory = StateDir::new();
    let broker = TestBroker::start(&[
        ("CLIENT_URL", "https://app.example"),
        ("SIGNALING", "peerjs,rooms,reports"),
        ("REPORTS_DIR", directory.path()),
    ])
    .await;
    for (path, method) in [
        ("/api/turn-credentials", "GET"),
        ("/api/connections", "POST"),
        ("/api/connections/c", "DELETE"),
        ("/peerjs/peerjs/id", "GET"),
        ("/peerjs/id", "GET"),
        ("/set-username", "POST"),
        ("/api/reportRefresh", "POST"),
        ("/api/debugInfo", "GET"),
    ] {
        let request = broker
            .request(Method::OPTIONS, path)
            .header("origin", "https://app.example")
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "authorization,content-type,x-b3-traceid");
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"), "{path}");
        assert!(answer.header("access-control-allow-methods").unwrap().contains(method), "{path}");
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("authorization,content-type,x-b3-traceid"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn pages_without_an_origin_and_programs_with_the_origin_of_this_service_may_be_allowed() {
    let broker = TestBroker::start(&[
        ("CLIENT_URL", "https://app.example,null"),
        ("PUBLIC_URL", "https://turn.example/path"),
    ])
    .await;
    for origin in ["null", "https://turn.example", "https://app.example"] {
        assert_eq!(mint_with_origin(&broker, origin).await.status, 200, "{origin}");
    }
    let broker = TestBroker::start(&[("CLIENT_URL", "https://app.example")]).await;
    for origin in ["null", "https://turn.example"] {
        assert_eq!(mint_with_origin(&broker, origin).await.status, 403, "{origin}");
    }
}

/// The headers that a browser sends if another site causes the request, or if it fetches the URL ahead. It sends no `Origin`
/// with these.
const MINTS_NOTHING: [&[(&str, &str)]; 14] = [
    // Loaded by another page.
    &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
    &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")],
    &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
    &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "unheard-of")],
    // Opened by another page: a link, a popup.
    &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
    &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
    // Fetched ahead, by any page.
    &[("sec-purpose", "prefetch"), ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
    &[("sec-purpose", "prefetch;prerender"), ("sec-fetch-site", "same-origin")],
    &[("sec-purpose", "prefetch;anonymous-client-ip"), ("sec-fetch-site", "cross-site")],
    &[("purpose", "prefetch")],
    &[("purpose", "prefetch"), ("sec-fetch-site", "same-origin"), ("origin", "https://app.example")],
];

/// What a page of our own, a person and a program send.
const MINTS: [&[(&str, &str)]; 6] = [
    &[],
    &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
    &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
    &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("origin", "https://app.example")],
    &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("origin", "https://app.example")],
    // A person typed the URL.
    &[
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-user", "?1"),
    ],
];

/// A page could not read the response, but the request would have minted a credential.
#[tokio::test]
async fn only_a_fetch_by_an_allowed_page_a_person_or_a_program_mints_in_every_wire_format() {
    let settings = [("CLIENT_URL", "https://app.example"), ALL_DOORS];
    let (cloudflare, broker) = with_cloudflare_and(&settings).await;
    for route in MINT_PATHS {
        for headers in MINTS_NOTHING {
            let answer = broker.get_with(route, headers).await;
            assert_eq!(answer.error(), (403, "ORIGIN_NOT_ALLOWED"), "{route} {headers:?}");
            assert!(answer.json()["message"].is_string(), "{}", answer.text);
        }
    }
    assert_eq!(cloudflare.history().mints(), 0);
    let refused = u64::try_from(MINT_PATHS.len() * MINTS_NOTHING.len()).unwrap();
    assert_eq!(broker.metric("turn_broker_origins_refused_total").await, Some(refused));
    for route in MINT_PATHS {
        for headers in MINTS {
            let answer = broker.get_with(route, headers).await;
            assert!(answer.status.is_success(), "{route} {headers:?}");
            assert!(answer.header("link").is_some() || !answer.json().is_null());
        }
    }
}

/// `*` allows the pages of every site to fetch credentials. It does not allow a link, an image or a prefetch.
#[tokio::test]
async fn an_asterisk_allows_only_requests_that_a_page_makes_on_purpose() {
    let open = TestBroker::start(&[("CLIENT_URL", "*")]).await;
    for headers in MINTS_NOTHING {
        assert_eq!(open.get_with("/api/turn-credentials", headers).await.status, 403, "{headers:?}");
    }
    for headers in MINTS {
        assert_eq!(open.get_with("/api/turn-credentials", headers).await.status, 200, "{headers:?}");
    }
    let anywhere = mint_with_origin(&open, "https://anywhere.example").await;
    assert_eq!(anywhere.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn other_routes_are_not_minting_and_may_be_prefetched() {
    let broker = TestBroker::start(&[]).await;
    for path in ["/api/bandwidth-status", "/health", "/turn-client.js"] {
        assert_eq!(broker.get_with(path, &[("sec-purpose", "prefetch")]).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_page_without_an_origin_is_not_told_to_put_it_into_the_settings() {
    let broker = TestBroker::start(&[]).await;
    for (origin, shown) in [("https://evil.example", true), ("null", false), ("", false)] {
        let answer = mint_with_origin(&broker, origin).await;
        assert_eq!(answer.error(), (403, "ORIGIN_NOT_ALLOWED"), "{origin}");
        let told = format!("Add {origin} to CLIENT_URL");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(message.starts_with(&told), shown, "{origin}");
        assert_eq!(message.contains("If it cannot have one, add null"), origin == "null", "{message}");
    }
}

#[tokio::test]
async fn a_hint_names_a_proxy_that_is_not_trusted() {
    let codes = async |broker: &TestBroker| broker.status().await["hints"].to_string();
    let broker = TestBroker::start(&[("TRUSTED_PROXIES", "")]).await;
    broker.mint().await;
    assert!(!codes(&broker).await.contains("PROXY_NOT_TRUSTED"));
    broker.mint_from("203.0.113.1").await;
    let hints = codes(&broker).await;
    assert!(hints.contains("1 of the last 2 requests") && hints.contains("came from 127.0.0.1"), "{hints}");
    for _ in 0..2 {
        broker.mint().await;
    }
    assert!(!codes(&broker).await.contains("PROXY_NOT_TRUSTED"), "most clients come directly");
    let broker = TestBroker::start(&[]).await;
    broker.mint_from("203.0.113.1").await;
    assert!(!codes(&broker).await.contains("PROXY_NOT_TRUSTED"), "the proxy is trusted");
}

//! All error responses have one form.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::openapi::document;
use crate::support::prelude::*;
use turn_limits::MemoryUse;

fn assert_form(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.error(), (status, code));
    let body = answer.json();
    assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    assert_eq!(body["requestId"], answer.header("x-request-id").unwrap());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn an_unknown_path_is_404_a_wrong_method_405_and_a_long_body_413() {
    let broker = TestBroker::start(&[]).await;
    for path in ["/", "/nope", "/api", "/api/turn-credentials/", "/api/connections/c/nope", "/dashboard/nope"]
    {
        let answer = broker.get(path).await;
        assert_form(&answer, 404, "NOT_FOUND");
        let expected = "Open / in a browser, or see /openapi.json for all routes.";
        assert!(answer.json()["message"].as_str().unwrap().starts_with(expected));
    }

    for (method, path, allow) in [
        (Method::POST, "/api/turn-credentials", "GET"),
        (Method::PUT, "/api/bandwidth-status", "GET,HEAD"),
        (Method::DELETE, "/health", "GET,HEAD"),
        (Method::GET, "/api/connections/c/heartbeat", "POST"),
        (Method::PATCH, "/api/connections/c", "DELETE"),
    ] {
        let answer = broker.send(method, path).await;
        assert_form(&answer, 405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }

    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    let post = |body: String| {
        Answer::of(broker.request(Method::POST, "/api/connections").bearer_auth(REPORTER).body(body))
    };
    assert_eq!(post(padded(16 * 1024)).await.status, 201);
    assert_form(&post(padded(16 * 1024 + 1)).await, 413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_path_that_is_off_says_what_to_set_and_an_allowed_page_may_read_it() {
    let page = "https://app.example";
    let settings = [("SIGNALING", "yjs"), ("DOORS", "turn"), ("CLIENT_URL", page)];
    let broker = TestBroker::start(&settings).await;
    let of_signaling = [
        ("/signaling?roomId=r", "ayame"),
        ("/.ok", "ayame"),
        ("/peerjs", "peerjs"),
        ("/peerjs/id?ts=1", "peerjs"),
        ("/peerjs/peerjs/id", "peerjs"),
        ("/p2pcf", "p2pcf"),
        ("/p2pcf/", "p2pcf"),
        ("/parties/rooms/r", "rooms"),
        ("/set-username", "rooms"),
        ("/partytracks/sessions/new", "sfu"),
        ("/api/calls/apps", "sfu"),
        ("/api/bugReport", "reports"),
    ];
    let doors = [
        ("/ice", "ice"),
        ("/link", "link"),
        ("/api/v1/turn/credentials", "metered"),
        ("/_matrix/client/v3/voip/turnServer", "matrix"),
        ("/v1/turn/keys/k/credentials/generate", "cloudflare"),
    ];
    let of_signaling = of_signaling.map(|off| (off, "SIGNALING", "docs/SIGNALING.md"));
    let doors = doors.map(|off| (off, "DOORS", "docs/CLIENTS.md"));
    for ((path, name), setting, document) in of_signaling.into_iter().chain(doors) {
        for method in [Method::GET, Method::POST] {
            let answer = Answer::of(broker.request(method, path).header("origin", page)).await;
            assert_form(&answer, 404, "NOT_FOUND");
            let remedy = format!("Add {name} to the setting {setting} to serve this path ({document}).");
            assert_eq!(answer.json()["message"], remedy, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(page));
        }
    }
    for path in ["/yjs/nope", "/signalling", "/api/callsign", "/turn/nope", "/icecream"] {
        let message = broker.get(path).await.json()["message"].to_string();
        assert!(message.contains("Open / in a browser"), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_path_of_the_operator_says_which_setting_it_needs() {
    let broker = TestBroker::start(&[("OPERATOR_TOKEN", ""), ("METRICS_TOKEN", "")]).await;
    for path in ["/dashboard", "/metrics", "/api/usage"] {
        let answer = broker.get(path).await;
        assert_form(&answer, 404, "NOT_FOUND");
        assert!(answer.json()["message"].as_str().unwrap().starts_with("Set OPERATOR_TOKEN"), "{path}");
    }
}

/// The methods of each path in the `OpenAPI` document, sorted.
fn described_methods() -> BTreeMap<String, Vec<String>> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
    paths.map(|(path, item)| (path.replace("{sessionId}", "s1"), methods(item))).collect()
}

/// Every route but that of P2PCF, whose protocol has an `Allow` of its own.
fn routes() -> Vec<String> {
    let others = "/ /dashboard /dashboard/app.js /relay-check /relay-check/app.js /signaling /.ok /yjs /peerjs /peerjs/ /peerjs/peerjs /peerjs/k/id /peerjs/k/peers /parties/rooms/r
        /set-username /partytracks/x /api/bugReport /api/deadTrack /api/debugInfo /api/reportRefresh /call-quality-feedback";
    let described = described_methods().into_keys().filter(|path| path != "/p2pcf");
    described.chain(others.split_whitespace().map(str::to_owned)).collect()
}

#[tokio::test]
async fn allow_names_the_methods_that_are_not_refused() {
    let state = StateDir::new();
    let broker = TestBroker::start(&[
        ("SIGNALING", "ayame,p2pcf,rooms,sfu,peerjs,yjs,reports"),
        ("CALLS_APP_ID", "app"),
        ("CALLS_APP_SECRET", "s3cret"),
        ("CALLS_API_URL", "http://127.0.0.1:1"),
        ("FEEDBACK_URL", "http://127.0.0.1:1"),
        ("REPORTS_DIR", state.path()),
        ("DOORS", "turn,matrix,ice,link,metered,cloudflare"),
        ("SERVER_KEYS", "app=0123456789-0123456789-0123456789"),
    ])
    .await;
    let asked = AtomicU8::new(0);
    let ask = |method: &str, path: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        // No address asks so often that a rate refuses it.
        let client = format!("192.0.2.{}", asked.fetch_add(1, Ordering::Relaxed));
        let request = broker.request(method, path).bearer_auth(OPERATOR);
        Answer::of(request.header("x-forwarded-for", client))
    };
    let described = described_methods();
    for path in routes() {
        let mut served = vec![];
        for method in ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"] {
            if ask(method, &path).await.status != 405 {
                served.push(method);
            }
        }
        if let Some(described) = described.get(&path) {
            let without_head: Vec<_> = served.iter().copied().filter(|method| *method != "HEAD").collect();
            assert_eq!(*described, without_head, "{path} in the OpenAPI document");
        }
        for method in ["OPTIONS", "TRACE"] {
            if let Some(allow) = ask(method, &path).await.header("allow") {
                let mut named: Vec<_> = allow.split(',').map(str::trim).collect();
                named.sort_unstable();
                assert_eq!(named, served, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_becomes_a_500_and_the_next_request_is_served() {
    let broker = TestBroker::start(&[("CLIENT_URL", "https://app.example")]).await;
    broker.break_clock();
    let answer = broker.get_with("/api/bandwidth-status", &[("origin", "https://app.example")]).await;
    assert_form(&answer, 500, "INTERNAL");
    assert!(!answer.text.contains("broken on purpose"), "{}", answer.text);
    // The page may read it.
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    broker.repair_clock();
    assert_eq!(broker.get("/api/bandwidth-status").await.status, 200);
    assert_eq!(broker.metric("turn_broker_panics_total").await, Some(1));
}

/// So many requests in progress, each of a client of its own.
fn in_progress(broker: &TestBroker, count: u32) -> Vec<MemoryUse> {
    let of = |n: u32| {
        let mut place = broker.app.in_flight.open(ClientKey::V4(n.into()));
        assert!(place.try_resize(1), "{n}");
        place
    };
    (0..count).map(of).collect()
}

#[tokio::test]
async fn a_client_with_a_quarter_of_the_requests_in_progress_gets_503_and_others_are_served() {
    let broker = TestBroker::start(&[]).await;
    let client = ClientKey::of("203.0.113.9".parse().unwrap());
    let mut taken = broker.app.in_flight.open(client);
    assert!(taken.try_resize(256));
    assert_eq!(broker.mint_from("203.0.113.9").await.error(), (503, "OVERLOADED"));
    assert_eq!(broker.mint_from("198.51.100.7").await.status, 200);
    drop(taken);
    assert_eq!(broker.mint_from("203.0.113.9").await.status, 200);
}

#[tokio::test]
async fn with_too_many_requests_in_progress_further_ones_are_rejected_but_not_health() {
    let broker = TestBroker::start(&[]).await;
    let taken = in_progress(&broker, 1_024);
    let answer = broker.mint().await;
    assert_form(&answer, 503, "OVERLOADED");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(broker.get("/health").await.status, 200);
    drop(taken);
    assert_eq!(broker.mint().await.status, 200);
    assert_eq!(broker.metric("turn_broker_requests_shed_total").await, Some(1));
}

#[tokio::test]
async fn a_slow_body_does_not_count_as_a_request_in_progress() {
    let broker = TestBroker::start(&[]).await;
    let _taken = in_progress(&broker, 1_023);
    let mut slow = tokio::net::TcpStream::connect(broker.address).await.unwrap();
    let head =
        "POST /api/connections HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"HTTP/1.1 100", "the broker waits for the body");
    assert_eq!(broker.mint().await.status, 200);
}

#[tokio::test]
async fn a_plain_request_id_is_kept_and_any_other_is_replaced() {
    let broker = TestBroker::start(&[]).await;
    let ask = async |id: &str| {
        let answer = broker.get_with("/nope", &[("x-request-id", id)]).await;
        assert_form(&answer, 404, "NOT_FOUND");
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("trace-1.a_B").await, "trace-1.a_B");
    for bad in ["", "a b", "a\tb", "<script>", &"x".repeat(65)] {
        assert_ne!(ask(bad).await, bad);
    }
    assert_ne!(ask("").await, ask("").await, "generated ids differ");
}

#[tokio::test]
async fn the_operators_routes_need_the_token_and_do_not_exist_without_one() {
    let open = TestBroker::start(&[]).await;
    let closed = TestBroker::start(&[("OPERATOR_TOKEN", ""), ("METRICS_TOKEN", "")]).await;
    let document = document();
    let mut routes = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let is_list = |path: &str| path == "/api/connections";
        for (method, said) in methods.as_object().unwrap() {
            if said["tags"][0] != "operator" && !(is_list(path) && method == "get") {
                continue;
            }
            let path = path.replace("{user}", "ann").replace("{grant}", "x").replace("{room}", "r");
            let method: Method = method.to_uppercase().parse().unwrap();
            assert_form(&open.send(method.clone(), &path).await, 401, "UNAUTHORIZED");
            // No address shows so many wrong tokens that it is told to wait.
            let client = format!("192.0.2.{routes}");
            let wrong = open.request(method.clone(), &path).bearer_auth(REPORTER);
            let wrong = Answer::of(wrong.header("x-forwarded-for", client)).await;
            assert_form(&wrong, 401, "UNAUTHORIZED");
            if !is_list(&path) {
                assert_form(&closed.order(method, &path).await, 404, "NOT_FOUND");
            }
            routes += 1;
        }
    }
    assert!(routes > 12, "{routes}");
    assert_form(&closed.operator("/api/connections").await, 404, "NOT_FOUND");
    assert_form(&closed.send(Method::POST, "/metrics").await, 404, "NOT_FOUND");
    assert_eq!(closed.post(REPORTER, "/api/connections", serde_json::json!({})).await.status, 201);
}

/// The verbs with which a remedy may begin.
const VERBS: [&str; 23] = [
    "Add", "Ask", "Call", "Check", "Close", "Connect", "Correct", "Fetch", "Name", "Open", "Raise", "Remove",
    "Report", "Run", "See", "Send", "Serve", "Set", "Sign", "Try", "Unblock", "Use", "Wait",
];
/// What takes a remedy in the code of the routes.
const TAKES_REMEDY: [&str; 8] = [
    ".message(",
    ".remedy(",
    "::invalid(",
    "::unauthorized(",
    "::not_found(",
    "::full(",
    "::ledger_unavailable(",
    "let message = ",
];

/// Every text in the code that is given to an error. The texts of the two limits are not remedies: existing clients show them, so
/// their form is fixed.
#[test]
fn every_remedy_begins_with_a_verb() {
    let mut remedies: Vec<String> = Vec::new();
    let folders = ["src/http", "crates/base/src", "crates/sfu-proxy/src", "crates/signaling-server/src"];
    for (_, text) in folders.into_iter().flat_map(sources) {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for after in TAKES_REMEDY.iter().flat_map(|call| code.split(call).skip(1)) {
            // Only literals: a text that is passed as a value is not seen here.
            let value = after.trim_start().trim_start_matches("format!(").trim_start();
            let literal = value.strip_prefix('"').and_then(|text| text.split('"').next());
            remedies.extend(literal.map(str::to_owned));
        }
    }
    assert!(remedies.len() > 50, "{remedies:?}");
    remedies.retain(|text| !text.to_lowercase().contains("monthly bandwidth limit of "));
    remedies.retain(|text| !VERBS.iter().any(|verb| text.starts_with(&format!("{verb} "))));
    assert_eq!(remedies, [""; 0], "begin with what to do, or add the verb to the list");
}

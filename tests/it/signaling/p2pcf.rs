//! P2PCF as its client and a browser see it: statuses, texts and headers, over the real router.

use turn_base::BODY_OWN;
use turn_broker::app::LONG_BYTES_PER_CLIENT_MAX;

use crate::support::prelude::*;

/// `START` in milliseconds since 1970.
const NOW_MS: i64 = 1_736_942_400_000;
const ALLOWED: &str = "http://localhost:5173";
const FOREIGN: &str = "https://elsewhere.example";
const DTLS: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

async fn start(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::start(&[&[("SIGNALING", "p2pcf")], settings].concat()).await
}

/// The body of a poll. With `p` it is a publish, with `dk` a delete.
fn poll(page: &str, now_ms: i64) -> Value {
    let data = json!([format!("session-{page}"), "client", false, DTLS, now_ms, ["192.0.2.7"]]);
    json!({"r": "room-1", "k": format!("context-{page}"), "d": data, "t": now_ms, "x": 120_000})
}

fn publish(page: &str, packages: &Value) -> Value {
    let mut body = poll(page, NOW_MS);
    body["p"] = packages.clone();
    body
}

fn delete(page: &str, key: &Value) -> Value {
    let mut body = poll(page, NOW_MS);
    body["dk"] = key.clone();
    body
}

async fn post(broker: &TestBroker, body: &Value) -> Answer {
    Answer::of(broker.request(Method::POST, "/p2pcf").header("origin", ALLOWED).json(body)).await
}

/// A page of any origin can read the response.
fn assert_readable(answer: &Answer) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET,HEAD,POST,DELETE,OPTIONS"),
        ("access-control-max-age", "86400"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name} of {answer:?}");
    }
}

fn assert_refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (status, text));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_readable(answer);
}

#[tokio::test]
async fn two_pages_find_each_other_and_leave() {
    let broker = start(&[]).await;
    let read = json!({"r": "room-1", "k": "context-a"});
    assert_eq!(post(&broker, &read).await.json(), json!({"ps": [], "pk": []}));
    let published = post(&broker, &publish("a", &json!([]))).await;
    assert_eq!(published.header("content-type"), Some("application/json"));
    assert_eq!(published.header("cache-control"), Some("no-store"));
    assert_readable(&published);
    let key = published.json()["dk"].clone();
    assert_eq!(key.as_str().unwrap().len(), 24);

    let package =
        json!(["session-a", "session-b", "ufrag", "pwd", DTLS, null, null, NOW_MS, ["candidate:1"]]);
    let listing = post(&broker, &publish("b", &json!([package]))).await.json();
    assert_eq!(listing["ps"], json!([["session-a", "client", false, DTLS, NOW_MS, ["192.0.2.7"], NOW_MS]]));
    let listing = post(&broker, &poll("a", NOW_MS)).await.json();
    assert_eq!((listing["ps"][0][0].as_str(), &listing["pk"]), (Some("session-b"), &json!([package])));
    assert_eq!(listing.get("dk"), None);

    let unload = broker.request(Method::POST, "/p2pcf").header("x-worker-method", "DELETE");
    let deleted = Answer::of(unload.json(&delete("a", &key))).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (200, "{}"));
    assert_readable(&deleted);
    assert_eq!(post(&broker, &json!({"r": "room-1", "k": "context-b"})).await.json()["ps"], json!([]));
    broker.advance(150);
    assert_eq!(post(&broker, &json!({"r": "room-1"})).await.json()["ps"], json!([]), "b has expired");
}

#[tokio::test]
async fn one_path_is_served_with_and_without_a_slash_and_is_a_setting() {
    let broker = start(&[("P2PCF_PATH", "/rooms/p2pcf")]).await;
    for path in ["/rooms/p2pcf", "/rooms/p2pcf/"] {
        let greeting = broker.get(path).await;
        assert_eq!(greeting.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(greeting.status == 200 && greeting.text.contains("Hello from P2PCF"), "{greeting:?}");
        let head = broker.send(Method::HEAD, path).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
        let read = broker.request(Method::POST, path).json(&json!({"r": "room-1"}));
        assert_eq!(Answer::of(read).await.json()["ps"], json!([]));
    }
    assert_eq!(broker.get("/p2pcf").await.status, 404);
}

#[tokio::test]
async fn refusals_keep_their_texts_and_can_be_read() {
    let broker = start(&[]).await;
    assert_refused(&post(&broker, &json!({"r": "no"})).await, 400, "Bad room idno");
    assert_refused(&post(&broker, &poll("a", 1)).await, 400, "Bad timestamp");
    assert_refused(&post(&broker, &json!([])).await, 400, "Bad JSON");
    let request = |method| broker.request(method, "/p2pcf");
    for content_type in ["text/plain", "application/jsonx", ""] {
        for method in [Method::POST, Method::PUT] {
            let other = request(method).header("content-type", content_type).body("{}");
            assert_refused(&Answer::of(other).await, 400, "Expected content-type application/json");
        }
    }
    assert_refused(&Answer::of(request(Method::POST)).await, 400, "Expected content-type application/json");
    let read = request(Method::POST).header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(Answer::of(read.body(json!({"r": "room-1"}).to_string())).await.status, 200);
    let put = Answer::of(request(Method::PUT).json(&json!({}))).await;
    assert_refused(&put, 405, "Method not allowed");
    assert_eq!(put.header("allow"), Some("GET, POST, DELETE, OPTIONS"));
    let no_key = Answer::of(request(Method::DELETE).json(&json!({"r": "room-1"}))).await;
    assert_refused(&no_key, 400, "Missing delete key");
    let post = request(Method::POST).header("x-worker-method", "delete").json(&json!({}));
    assert_refused(&Answer::of(post).await, 400, "Bad room idundefined");
    let wrong_key = Answer::of(request(Method::DELETE).json(&delete("a", &json!("key")))).await;
    assert_refused(&wrong_key, 404, "No delete key");
    assert!(wrong_key.header("x-request-id").is_some());
}

#[tokio::test]
async fn a_preflight_has_an_origin_a_method_and_headers() {
    let broker = start(&[]).await;
    let options = async |headers: &[(&str, &str)]| {
        let request = broker.request(Method::OPTIONS, "/p2pcf");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = Answer::of(request).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
        assert_readable(&answer);
        ["access-control-allow-headers", "allow"].map(|name| answer.header(name).map(str::to_owned))
    };
    let asked = "content-type,x-worker-method";
    let headers = [
        ("origin", ALLOWED),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", asked),
    ];
    assert_eq!(options(&headers).await, [Some(asked.to_owned()), None]);
    for missing in headers {
        let rest: Vec<_> = headers.into_iter().filter(|header| *header != missing).collect();
        assert_eq!(
            options(&rest).await,
            [None, Some("GET, POST, DELETE, OPTIONS".to_owned())],
            "{missing:?}"
        );
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_or_have_a_quota() {
    let get = async |broker: &TestBroker, origin| broker.get_with("/p2pcf", &[("origin", origin)]).await;
    let broker = start(&[]).await;
    assert_refused(&get(&broker, FOREIGN).await, 401, "Unauthorized");
    assert_eq!(get(&broker, ALLOWED).await.status, 200);
    assert_eq!(broker.get("/p2pcf").await.status, 200, "not a page");
    let two = broker.request(Method::GET, "/p2pcf").header("origin", ALLOWED).header("origin", FOREIGN);
    assert_refused(&Answer::of(two).await, 401, "Unauthorized");
    assert_eq!(broker.metric("turn_broker_origins_refused_total").await, Some(2));
    assert_eq!(broker.metric("turn_broker_unauthorized_total{kind=\"operator\"}").await, None);

    let broker = start(&[("P2PCF_ORIGIN_QUOTA", "2")]).await;
    assert_eq!([get(&broker, FOREIGN).await.status, get(&broker, FOREIGN).await.status], [200, 200]);
    assert_refused(&get(&broker, FOREIGN).await, 429, "Over quota");
    let dropped = "turn_broker_signaling_dropped_total{protocol=\"p2pcf\",reason=\"quota\"}";
    assert_eq!(broker.metric(dropped).await, Some(1));

    let broker = start(&[("CLIENT_URL", "*")]).await;
    assert_eq!(get(&broker, FOREIGN).await.status, 200);
}

#[tokio::test]
async fn a_body_may_have_256_kib_here_and_16_kib_elsewhere() {
    let broker = start(&[]).await;
    let padded = |bytes: usize| {
        let mut body = json!({"r": "room-1"}).to_string();
        body.push_str(&" ".repeat(bytes - body.len()));
        body
    };
    let send = async |path: &str, bytes| {
        let request = broker.request(Method::POST, path).header("content-type", "application/json");
        Answer::of(request.body(padded(bytes))).await
    };
    assert_eq!(send("/p2pcf", 256 * 1024).await.json()["ps"], json!([]));
    let too_long = send("/p2pcf", 256 * 1024 + 1).await;
    assert_eq!(too_long.error(), (413, "PAYLOAD_TOO_LARGE"));
    assert_readable(&too_long);
    assert_eq!(send("/api/connections", 16 * 1024 + 1).await.error(), (413, "PAYLOAD_TOO_LARGE"));

    let taken: Vec<_> = (0..16)
        .map(|n| {
            let mut taken = broker.app.bodies.long.open(ClientKey::of([192, 0, 2, n].into()));
            assert!(taken.try_resize(BODY_OWN + LONG_BYTES_PER_CLIENT_MAX));
            taken
        })
        .collect();
    assert_eq!(send("/p2pcf", BODY_OWN).await.status, 200);
    let crowded = send("/p2pcf", BODY_OWN + 1).await;
    assert_eq!(crowded.error(), (503, "OVERLOADED"));
    assert_readable(&crowded);
    assert_eq!(send("/api/connections", BODY_OWN + 1).await.error(), (503, "OVERLOADED"));
    drop(taken);
    assert_eq!(send("/p2pcf", 16 * 1024 + 1).await.status, 200);
}

#[tokio::test]
async fn polling_has_an_allowance_of_its_own_for_each_address() {
    let broker = start(&[("RATE_LIMIT_REQUESTS", "1")]).await;
    let from = async |address: &str| {
        let request = broker.request(Method::POST, "/p2pcf").header("x-forwarded-for", address);
        Answer::of(request.json(&json!({"r": "room-1"}))).await
    };
    let address = "192.0.2.1".parse().unwrap();
    for _ in 0..1_199 {
        assert_eq!(broker.app.signaling.polls.count(address), Ok(()));
    }
    assert_eq!(from("192.0.2.1").await.status, 200);
    let refused = from("192.0.2.1").await;
    assert_eq!(refused.error(), (429, "RATE_LIMITED"));
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert_readable(&refused);
    assert_eq!(from("192.0.2.2").await.status, 200);
    assert_eq!(broker.mint_from("192.0.2.1").await.status, 200, "polls take nothing from the mints");
    broker.advance(60);
    assert_eq!(from("192.0.2.1").await.status, 200);
}

#[tokio::test]
async fn after_a_restart_a_poll_restores_an_entry_and_its_delete_key_still_works() {
    let directory = StateDir::new();
    let settings = [("STATE_DIR", directory.path())];
    let broker = start(&settings).await;
    let key = post(&broker, &publish("a", &json!([]))).await.json()["dk"].clone();
    broker.kill().await;

    let broker = start(&settings).await;
    let read = json!({"r": "room-1"});
    assert_eq!(post(&broker, &read).await.json()["ps"], json!([]));
    post(&broker, &poll("a", NOW_MS)).await;
    assert_eq!(post(&broker, &read).await.json()["ps"][0][0], json!("session-a"));
    assert_eq!(post(&broker, &publish("a", &json!([]))).await.json()["dk"], key);
    let deleted = broker.request(Method::DELETE, "/p2pcf").json(&delete("a", &key));
    assert_eq!(Answer::of(deleted).await.text, "{}");
    assert_eq!(post(&broker, &read).await.json()["ps"], json!([]));
}

#[tokio::test]
async fn the_log_has_foreign_origins_and_wrong_clocks_but_no_polls_and_no_secrets() {
    let process =
        Process::start(&[("SIGNALING", "p2pcf"), ("OPERATOR_TOKEN", OPERATOR), ("RUST_LOG", "debug")]);
    let send = async |origin: &str, body: &Value| {
        let request = process.request(Method::POST, "/p2pcf").header("origin", origin).json(body);
        Answer::of(request).await
    };
    let mut publish =
        poll("secret", turn_base::clock::Clock::now(&turn_base::clock::SystemClock).as_millis());
    publish["p"] = json!([]);
    let key = send(ALLOWED, &publish).await.json()["dk"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(send(ALLOWED, &poll("secret", 1)).await.text, "Bad timestamp");
        assert_eq!(send(FOREIGN, &publish).await.status, 401);
    }
    process.signal("-TERM");
    let (log, _) = process.finish();
    assert!(!log.contains("context-secret") && !log.contains(&key), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| {
        let found = lines.iter().filter(|line| line["message"].as_str().unwrap().starts_with(message));
        found.filter(|line| line["level"] != "DEBUG").collect::<Vec<_>>()
    };
    let requests: Vec<_> = of("request").into_iter().filter(|line| line["message"] == "request").collect();
    assert!(requests.iter().all(|line| line["code"] == "ORIGIN_NOT_ALLOWED"), "{requests:#?}");
    assert_eq!(json!([requests[0]["origin"], requests[0]["status"]]), json!([FOREIGN, 401]));
    let skewed = of("P2PCF refuses a page whose clock");
    assert_eq!((skewed.len(), &skewed[0]["client"]), (1, &json!("127.0.0.1")));
}

//! `PeerJS`. What follows from each message, and every limit, is tested in `turn_signaling::peerjs`. Here the same protocol runs
//! over real sockets, with the HTTP routes.

use super::{assert_next, next_text, refused};
use crate::support::prelude::*;

const OPEN: &str = r#"{"type":"OPEN"}"#;
const APP: &str = "https://app.example";

async fn start(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::start(&[&[("SIGNALING", "peerjs")], settings].concat()).await
}

fn path(id: &str, token: &str) -> String {
    format!("/peerjs/peerjs?key=peerjs&id={id}&token={token}&version=1.5.5")
}

/// A socket that holds an id.
async fn open(broker: &TestBroker, id: &str, token: &str) -> SocketClient {
    let mut socket = SocketClient::open(broker.address, &path(id, token), &[]).await.unwrap();
    assert_next(&mut socket, OPEN).await;
    socket
}

fn offer(dst: &str, n: usize) -> String {
    format!(r#"{{"type":"OFFER","payload":{{"n": {n}}},"dst":"{dst}"}}"#)
}

fn offered(src: &str, dst: &str, n: usize) -> String {
    format!(r#"{{"type":"OFFER","src":"{src}","dst":"{dst}","payload":{{"n": {n}}}}}"#)
}

#[tokio::test]
async fn a_page_gets_a_random_id_that_it_can_read() {
    let broker = start(&[("CLIENT_URL", APP)]).await;
    let mut ids = BTreeSet::new();
    for path in ["/peerjs/peerjs/id", "/peerjs/any-other-key/id", "/peerjs/id"] {
        let path = format!("{path}?ts=1234.5&version=1.5.5");
        let answer = broker.get_with(&path, &[("origin", APP)]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let bytes = answer.text.as_bytes();
        assert!(bytes.len() == 36 && bytes[14] == b'4' && b"89ab".contains(&bytes[19]), "{}", answer.text);
        ids.insert(answer.text);
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn an_address_asks_for_1200_ids_a_minute() {
    let broker = start(&[]).await;
    let path = "/peerjs/peerjs/id";
    let from = |address| broker.request(Method::GET, path).header("x-forwarded-for", address);
    let address = "203.0.113.1".parse().unwrap();
    for _ in 0..1_199 {
        assert_eq!(broker.app.signaling.polls.count(address), Ok(()));
    }
    assert_eq!(Answer::of(from("203.0.113.1")).await.status, 200);
    let answer = Answer::of(from("203.0.113.1").header("origin", "http://localhost:5173")).await;
    assert_eq!(answer.error(), (429, "RATE_LIMITED"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:5173"));
    assert_eq!(Answer::of(from("203.0.113.2")).await.status, 200);
    broker.advance(60);
    assert_eq!(Answer::of(from("203.0.113.1")).await.status, 200);
}

/// `new Peer()` without a `path` uses `/`.
#[tokio::test]
async fn a_client_with_its_default_path_meets_those_with_another_one() {
    let broker = start(&[("PEERJS_KEY", "k")]).await;
    let path = |path: &str, id: &str| format!("{path}?key=k&id={id}&token=t&version=1.5.5");
    let open = async |at: &str, id: &str| {
        let mut socket = SocketClient::open(broker.address, &path(at, id), &[]).await.unwrap();
        assert_next(&mut socket, OPEN).await;
        socket
    };
    let (mut a, mut b) = (open("/peerjs", "a").await, open("/peerjs/peerjs", "b").await);
    a.send(&offer("b", 1)).await;
    assert_next(&mut b, &offered("a", "b", 1)).await;
    b.send(&offer("a", 2)).await;
    assert_next(&mut a, &offered("b", "a", 2)).await;
    assert_eq!(broker.get("/k/id").await.text.len(), 36);
    assert_eq!(broker.get("/k/peers").await.text, "Unauthorized");
    assert_eq!(broker.get("/other/other").await.error(), (404, "NOT_FOUND"));
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(refused(&broker, &path("/peerjs", "c"), &foreign).await, Some(403));
}

/// A client without an id asks for one first, and shows no reason if it gets none.
#[tokio::test]
async fn a_page_with_a_wrong_key_is_told_so() {
    let settings = [("SIGNALING", "peerjs,p2pcf"), ("PEERJS_KEY", "k"), ("P2PCF_PATH", "/calls/id")];
    let broker = TestBroker::start(&settings).await;
    for path in ["/peerjs/id", "/other/id", "/peerjs/other/id"] {
        assert_eq!(broker.get(path).await.text.len(), 36, "{path}");
    }
    let mut socket = SocketClient::open(broker.address, &path("a", "t"), &[]).await.unwrap();
    assert_next(&mut socket, r#"{"type":"ERROR","payload":{"msg":"Invalid key provided"}}"#).await;
    assert_ne!(broker.get("/calls/id").await.text.len(), 36, "the path of another protocol");
}

/// Its client shows the page no close frame.
#[tokio::test]
async fn a_page_is_told_why_its_socket_is_closed() {
    let broker = start(&[USERS, ("AUTH_REQUIRED", "true")]).await;
    assert_eq!(broker.post(OPERATOR, "/api/users/eve/block", json!({})).await.status, 200);
    let expired = sign(&json!({"sub": "ann", "exp": 1}));
    for (token, code) in
        [("random", "UNAUTHORIZED"), (&*expired, "INVALID_TOKEN"), (&*user_token("eve"), "USER_BLOCKED")]
    {
        for path in [path("a", token), path("a", token).replacen("/peerjs", "", 1)] {
            let mut socket = SocketClient::open(broker.address, &path, &[]).await.unwrap();
            assert_next(&mut socket, &format!(r#"{{"type":"ERROR","payload":{{"msg":"{code}"}}}}"#)).await;
            assert_eq!(socket.closed().await, (1008, code.to_owned()));
        }
    }
}

#[tokio::test]
async fn nobody_learns_who_is_here() {
    let broker = start(&[]).await;
    for path in ["/peerjs/peerjs/peers", "/peerjs/peers"] {
        let answer = broker.get(&format!("{path}?ts=1&version=1.5.5")).await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (401, "Unauthorized"));
    }
    let missing = broker.metric("turn_broker_unauthorized_total{kind=\"operator\"}").await;
    assert_eq!(missing, None, "no token was missing");
}

#[tokio::test]
async fn the_root_describes_the_server_and_a_path_below_it_that_no_client_uses_is_not_found() {
    let broker = start(&[]).await;
    for path in ["/peerjs", "/peerjs/"] {
        let description = broker.get(path).await.json();
        let members: Vec<_> = description.as_object().unwrap().keys().collect();
        assert_eq!(members, ["description", "name", "website"]);
    }
    for path in ["/peerjs/other", "/peerjs/peerjs/other", "/peerjs/a/b/id"] {
        assert_eq!(broker.get(path).await.status, 404, "{path}");
        assert_eq!(refused(&broker, path, &[]).await, Some(404), "{path}");
    }
}

#[tokio::test]
async fn a_foreign_page_gets_no_id() {
    let broker = start(&[("CLIENT_URL", APP)]).await;
    let origin = "https://evil.example";
    let answer = broker.get_with("/peerjs/peerjs/id", &[("origin", origin)]).await;
    assert_eq!(answer.error(), (403, "ORIGIN_NOT_ALLOWED"));
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "the refused page may read why");
}

#[tokio::test]
async fn what_bounds_drop_is_counted() {
    let broker = start(&[]).await;
    let (mut a, mut b) = (open(&broker, "a", "t").await, open(&broker, "b", "t").await);
    for n in 0..130 {
        a.send(&offer("nobody", n)).await;
    }
    a.send(&offer("b", 1)).await;
    assert_next(&mut b, &offered("a", "b", 1)).await;
    let dropped = async |reason: &str| {
        let series =
            format!("turn_broker_signaling_dropped_total{{protocol=\"peerjs\",reason=\"{reason}\"}}");
        broker.metric(&series).await
    };
    assert_eq!(dropped("not_kept").await, Some(2), "128 wait");
    a.send(&"x".repeat(256 * 1024 + 1)).await;
    assert_eq!(a.closed().await.0, 1009);
    assert_eq!(dropped("too_long").await, Some(1));
    b.send(&"x".repeat(512 * 1024)).await;
    assert_eq!(b.closed().await.0, 1009, "longer than the library reads");
    assert_eq!(dropped("too_long").await, Some(2));
}

#[tokio::test]
async fn tokens_are_not_logged() {
    let settings = [("SIGNALING", "peerjs"), ("RUST_LOG", "debug"), ("ICE_SOURCES", "stun")];
    let process = Process::start(&settings);
    let address = process.url("").trim_start_matches("http://").parse().unwrap();
    let mut socket = SocketClient::open(address, &path("an-id", "s3cret-token"), &[]).await.unwrap();
    next_text(&mut socket).await;
    socket.send(&offer("a-destination", 1)).await;
    socket.close().await;
    process.signal("-TERM");
    let (log, _) = process.finish();
    assert!(log.contains("/peerjs/peerjs"), "{log}");
    assert!(!log.contains("s3cret-token"), "{log}");
}

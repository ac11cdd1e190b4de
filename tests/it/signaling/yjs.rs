//! y-webrtc. What follows from each message, and every limit, is tested in `turn_signaling::yjs`. Here the same protocol runs over
//! real sockets.

use serde_json::json;

use super::{assert_next, next_text, refused};
use crate::support::TestBroker;
use crate::support::socket_client::SocketClient;

const PATH: &str = "/yjs";
const ANNOUNCE: &str = r#"{"type":"announce","from":"x"}"#;

async fn start(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::start(&[&[("SIGNALING", "yjs")], settings].concat()).await
}

/// A socket, and the certainty that the broker has read what it was told.
async fn open(broker: &TestBroker, topics: &str) -> SocketClient {
    let mut socket = SocketClient::open(broker.address, PATH, &[]).await.unwrap();
    socket.send(&format!(r#"{{"type":"subscribe","topics":{topics}}}"#)).await;
    synchronize(&mut socket).await;
    socket
}

/// Waits until the broker has read what the socket sent.
async fn synchronize(socket: &mut SocketClient) {
    socket.send(r#"{"type":"ping"}"#).await;
    assert_next(socket, r#"{"type":"pong"}"#).await;
}

fn publish(topic: &str, data: &str) -> String {
    format!(r#"{{"type":"publish","topic":"{topic}","data":{data}}}"#)
}

fn published(topic: &str, data: &str, clients: usize) -> String {
    format!(r#"{{"type":"publish","topic":"{topic}","data":{data},"clients":{clients}}}"#)
}

#[tokio::test]
async fn a_message_reaches_all_subscribers_in_order() {
    let broker = start(&[]).await;
    let mut sockets = vec![];
    for topics in [r#"["r"]"#, r#"["r","s"]"#, r#"["r"]"#, r#"["s"]"#] {
        sockets.push(open(&broker, topics).await);
    }
    for n in 0..200 {
        sockets[0].send(&publish("r", &format!(r#"{{ "n":{n},"n":1.0 }}"#))).await;
    }
    for socket in &mut sockets[..3] {
        for n in 0..200 {
            assert_next(socket, &published("r", &format!(r#"{{ "n":{n},"n":1.0 }}"#), 3)).await;
        }
    }
    synchronize(&mut sockets[3]).await;
}

#[tokio::test]
async fn of_two_newcomers_only_the_later_one_reaches_the_earlier_one() {
    let broker = start(&[]).await;
    let mut first = open(&broker, r#"["r"]"#).await;
    let mut second = open(&broker, r#"["r"]"#).await;
    first.send(&publish("r", ANNOUNCE)).await;
    assert_next(&mut first, &published("r", ANNOUNCE, 2)).await;
    synchronize(&mut second).await;
    second.send(&publish("r", ANNOUNCE)).await;
    assert_next(&mut second, &published("r", ANNOUNCE, 2)).await;
    assert_next(&mut first, &published("r", ANNOUNCE, 2)).await;
    first.send(&publish("r", ANNOUNCE)).await;
    assert_next(&mut second, &published("r", ANNOUNCE, 2)).await;
}

#[tokio::test]
async fn what_no_client_sends_harms_nobody() {
    let broker = start(&[]).await;
    let (mut a, mut b) = (open(&broker, r#"["r"]"#).await, open(&broker, r#"["r"]"#).await);
    for odd in
        ["", "{", "null", "5", r#"{"type":"subscribe","topics":"r"}"#, r#"{"type":"subscribe","topics":{}}"#]
    {
        a.send(odd).await;
    }
    a.send_binary(b"\x00\xff").await;
    synchronize(&mut a).await;
    a.send(&publish("r", &format!(r#""{}""#, "x".repeat(64 * 1024)))).await;
    assert_eq!(a.closed().await.0, 1009);
    b.send(&publish("r", "1")).await;
    assert_next(&mut b, &published("r", "1", 1)).await;
}

#[tokio::test]
async fn too_many_topics_close_with_1008() {
    let broker = start(&[]).await;
    let mut socket = open(&broker, "[]").await;
    let topics: Vec<_> = (0..129).map(|n| format!("t{n}")).collect();
    socket.send_json(&json!({"type": "subscribe", "topics": topics})).await;
    assert_eq!(socket.closed().await.0, 1008);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed_and_others_go_on() {
    let broker = start(&[]).await;
    let (mut a, mut slow) = (open(&broker, r#"["r"]"#).await, open(&broker, r#"["r"]"#).await);
    let data = format!(r#""{}""#, "x".repeat(60 * 1024));
    // More than what the system buffers for a socket, and what waits in the broker.
    for _ in 0..400 {
        a.send(&publish("r", &data)).await;
        next_text(&mut a).await;
    }
    assert_eq!(slow.closed().await, (1008, "too slow".into()));
    synchronize(&mut a).await;
}

#[tokio::test]
async fn the_route_exists_only_if_yjs_is_on_and_for_allowed_pages() {
    let broker = start(&[("CLIENT_URL", "https://app.example")]).await;
    let answer = broker.get(PATH).await;
    assert_eq!((answer.status.as_u16(), answer.header("upgrade")), (426, Some("websocket")));
    assert_eq!(refused(&broker, "/yjs/other", &[]).await, Some(404));
    assert_eq!(refused(&broker, PATH, &[("origin", "https://evil.example")]).await, Some(403));
    assert_eq!(refused(&broker, PATH, &[("origin", "https://app.example")]).await, None);
    let broker = TestBroker::start(&[("SIGNALING", "peerjs")]).await;
    assert_eq!(broker.get(PATH).await.status, 404);
}

#[tokio::test]
async fn a_drain_closes_with_1001() {
    let broker = start(&[]).await;
    let mut socket = open(&broker, r#"["r"]"#).await;
    broker.shut_down();
    assert_eq!(socket.closed().await, (1001, "shutting down".into()));
    broker.finish().await;
}

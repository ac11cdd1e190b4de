//! y-webrtc. What follows from each message, and every limit, is tested in `turn_signaling::yjs`. Here the same protocol runs over
//! real sockets.

use super::{assert_next, next_text};
use crate::support::prelude::*;

const PATH: &str = "/yjs";

async fn open(broker: &TestBroker, topics: &str) -> SocketClient {
    open_from(broker, "192.0.2.1", topics).await
}

/// A socket of this client, and the certainty that the broker has read what it was told.
async fn open_from(broker: &TestBroker, client: &str, topics: &str) -> SocketClient {
    let mut socket = SocketClient::open(broker.address, PATH, &[("x-forwarded-for", client)]).await.unwrap();
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

/// The client is still sending when the broker has seen the length.
#[tokio::test]
async fn a_frame_that_is_far_too_long_is_answered_with_its_code() {
    let broker = TestBroker::start(&[("SIGNALING", "yjs")]).await;
    for _ in 0..8 {
        let mut socket = open(&broker, r#"["r"]"#).await;
        socket.try_send(&"x".repeat(1 << 20)).await;
        assert_eq!(socket.closed().await.0, 1009);
    }
}

#[tokio::test]
async fn a_message_reaches_all_subscribers_in_order() {
    let broker = TestBroker::start(&[("SIGNALING", "yjs")]).await;
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

/// It connects again at once, and its colleagues at the address need places, too.
#[tokio::test]
async fn a_page_whose_token_has_expired_takes_one_place() {
    let settings = [("SIGNALING", "yjs"), USERS, ("SIGNALING_SOCKETS_PER_CLIENT", "2")];
    let broker = TestBroker::start(&settings).await;
    let path = format!("{PATH}?token={}", sign(&json!({"sub": "ann", "exp": 1})));
    for _ in 0..4 {
        let mut socket = SocketClient::open(broker.address, &path, &[]).await.unwrap();
        assert_eq!(socket.closed().await, (1008, "INVALID_TOKEN".to_owned()));
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed_and_others_go_on() {
    let broker = TestBroker::start(&[("SIGNALING", "yjs")]).await;
    let (mut a, mut slow) = (open(&broker, r#"["r"]"#).await, open(&broker, r#"["r"]"#).await);
    let data = format!(r#""{}""#, "x".repeat(60 * 1024));
    // More than what the system buffers for a socket, and what waits in the broker. Nobody has sent a quarter of that.
    for n in 0..40 {
        let mut sender = open_from(&broker, &format!("198.51.100.{n}"), "[]").await;
        for _ in 0..8 {
            sender.send(&publish("r", &data)).await;
            next_text(&mut a).await;
        }
    }
    // On a busy machine the time for its close frame ends before it reads.
    let end = slow.end().await;
    assert!(end == Got::Gone || end == Got::Close(1008, "too slow".into()), "{end:?}");
    synchronize(&mut a).await;
}

//! Ayame. The order of frames, and what each quirk does, is tested in `turn_signaling::ayame`. Here the same protocol runs over
//! real sockets, with webhooks and mints.

mod mints;
mod rooms;
mod routes;
mod timers;
mod webhooks;

use crate::support::prelude::*;

const PATH: &str = "/signaling";

/// A broker with Ayame that mints at a fake Cloudflare, and these settings.
async fn with_ayame(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    with_cloudflare_and(&[&[("SIGNALING", "ayame")], settings].concat()).await
}

async fn open(broker: &TestBroker) -> SocketClient {
    SocketClient::open(broker.address, PATH, &[]).await.unwrap()
}

fn register(room: &str) -> Value {
    json!({"type": "register", "roomId": room})
}

/// A socket that has registered, and the answer to that.
async fn registered(broker: &TestBroker, register: &Value) -> (SocketClient, Value) {
    let mut socket = open(broker).await;
    socket.send_json(register).await;
    let answer = socket.next_json().await;
    (socket, answer)
}

/// A member of a room, and its `accept`.
async fn joined(broker: &TestBroker, room: &str) -> (SocketClient, Value) {
    let (socket, answer) = registered(broker, &register(room)).await;
    assert_eq!(answer["type"], "accept");
    (socket, answer)
}

async fn pair(broker: &TestBroker, room: &str) -> [SocketClient; 2] {
    [joined(broker, room).await.0, joined(broker, room).await.0]
}

/// The text frame that arrives next, apart from pings.
async fn next(socket: &mut SocketClient) -> Got {
    loop {
        match socket.next().await {
            Got::Text(text) if text == r#"{"type":"ping"}"# => {}
            other => return other,
        }
    }
}

fn closed(code: u16, reason: &str) -> Got {
    Got::Close(code, reason.to_owned())
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

fn bye() -> Got {
    text(r#"{"type":"bye"}"#)
}

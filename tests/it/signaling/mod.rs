//! Signaling over the real router: each protocol as its clients see it.

mod ayame;
mod calls;
mod p2pcf;
mod panics;
mod peerjs;
mod reports;
mod rooms;
mod sfu;
mod sign_in;
mod unfinished;
mod yjs;

use crate::support::TestBroker;
use crate::support::socket_client::{Got, SocketClient};

/// The text frame that arrives next.
async fn next_text(socket: &mut SocketClient) -> String {
    loop {
        match socket.next().await {
            Got::Text(text) => return text,
            Got::Ping => {}
            other => panic!("expected a text frame, got {other:?}"),
        }
    }
}

/// Nothing has arrived before the answer to what was sent last.
async fn assert_next(socket: &mut SocketClient, text: &str) {
    assert_eq!(next_text(socket).await, text);
}

/// The status of a refused upgrade.
async fn refused(broker: &TestBroker, path: &str, headers: &[(&'static str, &str)]) -> Option<u16> {
    SocketClient::open(broker.address, path, headers).await.err().map(|(status, _)| status)
}

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

use crate::support::prelude::*;

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

/// The socket of each protocol. A number stands in the place of `#`.
const SOCKETS: [(&str, &str); 4] = [
    ("ayame", "/signaling"),
    ("peerjs", "/peerjs/peerjs?key=peerjs&id=page-#&token=t"),
    ("rooms", "/parties/rooms/r?_pk=#"),
    ("yjs", "/yjs"),
];
/// Rooms need one.
const USER: (&str, &str) = ("x-user", "ann");
const USER_HEADER: (&str, &str) = ("USER_HEADER", "X-User");

#[tokio::test]
async fn a_socket_needs_its_protocol_an_upgrade_and_an_allowed_page() {
    for (protocol, path) in SOCKETS {
        let app = "https://app.example";
        let public = ("PUBLIC_URL", "https://turn.example/path");
        let broker =
            TestBroker::start(&[("SIGNALING", protocol), ("CLIENT_URL", app), public, USER_HEADER]).await;
        let plain = broker.get(path).await;
        assert_eq!(plain.error(), (426, "UPGRADE_REQUIRED"), "{path}");
        assert_eq!(plain.header("upgrade"), Some("websocket"), "{path}");
        assert_eq!(plain.header("connection"), Some("upgrade"), "{path}");
        assert_eq!(plain.header("sec-websocket-version"), Some("13"), "{path}");
        // React Native on Android sends the origin of the broker.
        let own = "https://turn.example";
        for (origin, status) in [("https://evil.example", Some(403)), (app, None), (own, None)] {
            assert_eq!(refused(&broker, path, &[USER, ("origin", origin)]).await, status, "{path} {origin}");
        }
        for (_, other) in SOCKETS.iter().filter(|(other, _)| *other != protocol) {
            assert_eq!(broker.get(other).await.status, 404, "{other} beside {protocol}");
            assert_eq!(refused(&broker, other, &[USER]).await, Some(404), "{other} beside {protocol}");
        }
    }
}

/// All protocols share the table of sockets, and each asks it.
#[tokio::test]
async fn the_sockets_of_one_address_are_a_setting() {
    for (protocol, path) in SOCKETS {
        let settings = [("SIGNALING", protocol), ("SIGNALING_SOCKETS_PER_CLIENT", "2"), USER_HEADER];
        let broker = TestBroker::start(&settings).await;
        let open = async |n: &str| SocketClient::open(broker.address, &path.replace('#', n), &[USER]).await;
        let (_first, second) = (open("1").await.unwrap(), open("2").await.unwrap());
        assert_eq!(open("3").await.err().map(|(status, _)| status), Some(429), "{path}");
        second.close().await;
        eventually("a place", async || open("3").await.is_ok()).await;
    }
}

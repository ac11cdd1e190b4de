//! Messages that clients begin and do not finish. What they occupy is bounded, and costs nobody else a socket.

use super::{assert_next, next_text};
use crate::support::prelude::*;

/// Enough of them to exceed what may wait at all sockets, with a message that is just not too long.
const SOCKETS: usize = 250;
const BEGUN: usize = 300 * 1024;
/// Fewer than the sockets of one address.
const PER_ADDRESS: usize = 50;

async fn open(broker: &TestBroker, n: usize) -> SocketClient {
    let address = format!("192.0.2.{}", n / PER_ADDRESS);
    let path = format!("/peerjs/peerjs?key=peerjs&id=page-{n}&token=t");
    let mut socket =
        SocketClient::open(broker.address, &path, &[("x-forwarded-for", &address)]).await.unwrap();
    assert_next(&mut socket, r#"{"type":"OPEN"}"#).await;
    socket
}

#[tokio::test]
async fn messages_that_do_not_end_are_bounded_and_others_go_on() {
    let broker = TestBroker::start(&[("SIGNALING", "peerjs"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let mut open_before = open(&broker, SOCKETS).await;
    let mut sockets = Vec::new();
    for n in 0..SOCKETS {
        let mut socket = open(&broker, n).await;
        // The last ones are ended while they send.
        let _ = socket.begin_text(BEGUN).await;
        sockets.push(socket);
    }
    let line = "turn_broker_signaling_sockets_limited_total{outcome=\"memory\"}";
    let ended = async || broker.metric(line).await.is_some_and(|ended| ended > 0);
    eventually("a socket has ended", ended).await;
    let open_sockets = async || broker.metric("turn_broker_places_taken{place=\"signaling_sockets\"}").await;
    let left = u64::try_from(SOCKETS + 1 - PER_ADDRESS).ok();
    eventually("one address has lost its sockets", async || open_sockets().await == left).await;
    let mut opened_after = open(&broker, SOCKETS + 1).await;
    for (from, to, dst) in [(0, 1, SOCKETS + 1), (1, 0, SOCKETS)] {
        let pair = [&mut open_before, &mut opened_after];
        pair[from].send(&format!(r#"{{"type":"OFFER","payload":{{}},"dst":"page-{dst}"}}"#)).await;
        assert!(next_text(pair[to]).await.contains("OFFER"));
    }
}

//! Sockets of signaling through a standby: the leader has them, and how they end is what the client sees.

use super::{TestReplica, pair};
use crate::support::prelude::*;

async fn socket(replica: &TestReplica, client: &str) -> SocketClient {
    let mut socket =
        SocketClient::open(replica.address, "/yjs", &[("x-forwarded-for", client)]).await.unwrap();
    synchronize(&mut socket).await;
    socket
}

/// Waits until the leader has read what the socket sent.
async fn synchronize(socket: &mut SocketClient) {
    socket.send(r#"{"type":"ping"}"#).await;
    assert_eq!(socket.next().await, Got::Text(r#"{"type":"pong"}"#.into()));
}

const SOCKETS: [(&str, &str); 1] = [("SIGNALING", "yjs")];

#[tokio::test]
async fn clients_at_different_replicas_meet_in_one_room() {
    let (_database, leader, standby) = pair(&SOCKETS).await;
    let mut one = socket(&leader, "203.0.113.1").await;
    let mut other = socket(&standby, "203.0.113.2").await;
    for socket in [&mut one, &mut other] {
        socket.send(r#"{"type":"subscribe","topics":["t"]}"#).await;
        synchronize(socket).await;
    }
    one.send(r#"{"type":"publish","topic":"t","data":1}"#).await;
    let expected = Got::Text(r#"{"type":"publish","topic":"t","data":1,"clients":2}"#.into());
    assert_eq!([one.next().await, other.next().await], [expected.clone(), expected]);
    leader.shutdown.soft.cancel();
    assert_eq!([one.closed().await.0, other.closed().await.0], [1001, 1001], "at both replicas");
    standby.until_it_leads().await;
    socket(&standby, "203.0.113.1").await;
}

#[tokio::test]
async fn a_socket_ends_with_the_lead_of_its_leader() {
    let (database, leader, standby) = pair(&SOCKETS).await;
    let mut through = socket(&standby, "203.0.113.2").await;
    database.set_cut_off(&leader.url, true);
    standby.takes_over().await;
    assert_eq!(through.closed().await.0, 1012);
}

#[tokio::test]
async fn the_bound_on_the_sockets_of_one_address_does_not_concern_another_replica() {
    let settings =
        [("SIGNALING", "yjs"), ("TRUSTED_PROXIES", "127.0.0.1/32"), ("SIGNALING_SOCKETS_PER_CLIENT", "64")];
    let database = FakeDatabase::new();
    // The leader trusts no proxy. By its own bound, all sockets of the standby would be those of one client.
    let leader = TestReplica::start(&database, &[("SIGNALING", "yjs"), ("TRUSTED_PROXIES", "")]).await;
    leader.until_it_leads().await;
    let standby = TestReplica::start(&database, &settings).await;
    standby.until_it_forwards().await;
    let mut sockets = vec![];
    for n in 0..turn_broker::listen::SOCKETS_PER_PEER_MAX + 10 {
        sockets.push(socket(&standby, &format!("203.0.{}.1", n / 4)).await);
    }
    let metrics = leader.operator("/metrics").await.text;
    assert!(!metrics.contains("turn_broker_sockets_limited_total{"), "{metrics}");
    eventually("all are open", async || {
        let open = format!("turn_broker_places_taken{{place=\"signaling_sockets\"}} {}\n", sockets.len());
        leader.operator("/metrics").await.text.contains(&open)
    })
    .await;
}

#[tokio::test]
async fn a_close_frame_of_the_client_is_answered_at_every_replica() {
    let (_database, leader, standby) = pair(&SOCKETS).await;
    for replica in [&leader, &standby] {
        socket(replica, "203.0.113.1").await.close().await;
    }
}

#[tokio::test]
async fn an_upgrade_that_the_client_did_not_ask_for_is_refused_at_every_replica() {
    let (_database, leader, standby) = pair(&SOCKETS).await;
    let handshake = "GET /yjs HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (connection, status) in
        [("", 426), ("Connection: keep-alive\r\n", 426), ("Connection: x, Upgrade\r\n", 101)]
    {
        for replica in [&leader, &standby] {
            let mut socket = TcpStream::connect(replica.address).await.unwrap();
            socket.write_all(format!("{handshake}{connection}\r\n").as_bytes()).await.unwrap();
            let mut answer = [0; 4096];
            let length = socket.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{connection:?}: {answer}");
        }
    }
}

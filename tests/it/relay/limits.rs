//! What the relay refuses and drops: allocations beyond their number, peers of its own network, and requests beyond their rate.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use turn_relay::ALLOCATIONS_PER_GRANT_MAX;

use crate::support::{TestBroker, eventually};

use super::{Credential, FORBIDDEN, a_peer, allocate, allocate_from, broker_with, ended, refused};

const BINDING_REQUEST: u8 = 1;
const REFRESH_REQUEST: u8 = 4;
const DROPPED: &str = "turn_broker_relay_dropped_total{outcome=\"pace\"}";

/// A request without attributes: method, length, cookie, transaction.
fn unsigned(method: u8) -> Vec<u8> {
    [&[0, method, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat()
}

#[tokio::test]
async fn one_grant_has_eight_allocations_and_a_released_one_makes_room() {
    let broker = broker_with(&[]).await;
    let credential = Credential::mint(&broker).await;
    let mut calls = Vec::new();
    for _ in 0..ALLOCATIONS_PER_GRANT_MAX {
        calls.push(allocate(&credential).await.unwrap());
    }
    assert!(allocate(&credential).await.is_err());
    assert!(refused(&broker, "grant_full").await >= Some(1));
    let leaver = calls.pop().unwrap();
    leaver.relayed.close().await.unwrap();
    eventually("its end", async || ended(&broker, "closed").await == Some(1)).await;
    assert!(allocate(&credential).await.is_ok());
    assert!(allocate(&Credential::mint(&broker).await).await.is_ok(), "another grant has its own");
}

#[tokio::test]
async fn refused_peers_receive_nothing() {
    let broker = broker_with(&[]).await;
    let credential = Credential::mint(&broker).await;
    let call = allocate(&credential).await.unwrap();
    let dropped = async || broker.metric("turn_broker_relay_dropped_total{outcome=\"peer\"}").await;
    call.relayed.send_to(b"hello", "10.0.0.1:9".parse().unwrap()).await.unwrap();
    call.relayed.send_to(b"hello", credential.server).await.unwrap();
    eventually("both to be dropped", async || dropped().await >= Some(2)).await;
}

#[tokio::test]
async fn requests_of_unknown_senders_are_rate_limited() {
    let broker = broker_with(&[]).await;
    let credential = Credential::mint(&broker).await;
    let (peer, stranger) = (a_peer().await, a_peer().await);
    let call = allocate(&credential).await.unwrap();
    let request = unsigned(BINDING_REQUEST);
    let answers = async || {
        let mut buffer = [0; 2_000];
        let dropped = async || broker.metric(DROPPED).await;
        let (before, mut count) = (dropped().await, 0);
        loop {
            stranger.send_to(&request, credential.server).await.unwrap();
            let mut is_answered = false;
            eventually("an answer or a drop", async || {
                is_answered = stranger.try_recv_from(&mut buffer).is_ok();
                is_answered || dropped().await > before
            })
            .await;
            if !is_answered {
                return count;
            }
            count += 1;
        }
    };
    let at_once = answers().await;
    assert!((500..=512).contains(&at_once), "{at_once}");
    call.greet(&peer).await;
    broker.advance(1);
    assert_eq!(answers().await, 100, "a hundred a second");
}

#[tokio::test]
async fn unsigned_requests_from_the_address_of_a_client_do_not_use_up_its_rate() {
    let broker = broker_with(&[]).await;
    let (credential, peer) = (Credential::mint(&broker).await, a_peer().await);
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let call = allocate_from(&credential, Arc::clone(&socket)).await.unwrap();
    for kind in [BINDING_REQUEST, REFRESH_REQUEST] {
        for _ in 0..150 {
            // The packets that an attacker with a forged source address would send.
            socket.send_to(&unsigned(kind), credential.server).await.unwrap();
        }
    }
    call.greet(&peer).await;
    let dropped = broker.metric(DROPPED).await;
    assert_eq!(dropped, None, "the permission and the channel were within the client's own rate");
}

#[tokio::test]
async fn a_public_relay_does_not_reach_its_own_machine() {
    let public = [("RELAY_LISTEN", "0.0.0.0:0"), ("RELAY_PUBLIC_IP", "45.0.0.7")];
    let broker = TestBroker::start(&[public[0], public[1], ("ICE_SOURCES", "relay")]).await;
    let credential = Credential::mint(&broker).await;
    assert_eq!(credential.server.ip().to_string(), "45.0.0.7");
    let here = SocketAddr::new("127.0.0.1".parse().unwrap(), credential.server.port());
    let call = allocate(&Credential { server: here, ..credential }).await.unwrap();
    assert_eq!(call.relayed.local_addr().unwrap().ip().to_string(), "45.0.0.7");
    let peer = a_peer().await;
    let dropped = async || broker.metric("turn_broker_relay_dropped_total{outcome=\"peer\"}").await;
    eventually("packets to be dropped", async || {
        call.send(FORBIDDEN, &peer).await;
        dropped().await >= Some(3)
    })
    .await;
    let mut buffer = [0; 2_000];
    assert!(peer.try_recv_from(&mut buffer).is_err(), "nothing arrives");
}

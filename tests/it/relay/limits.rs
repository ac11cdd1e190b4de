//! What the relay refuses and drops: allocations beyond their number, and packets of peers that are not allowed.

use turn_relay::ALLOCATIONS_PER_GRANT_MAX;

use crate::support::prelude::*;

use super::{Credential, FILLER, PAYLOAD, a_peer, allocate, broker_with, ended, refused};

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
async fn packets_of_a_peer_without_a_permission_are_not_charged() {
    let broker = broker_with(&[]).await;
    let (call, peer) = (allocate(&Credential::mint(&broker).await).await.unwrap(), a_peer().await);
    let relayed = call.greet(&peer).await;
    // A permission is for an address.
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    for _ in 0..20 {
        stranger.send_to(&[FILLER; PAYLOAD], relayed).await.unwrap();
    }
    // The relay handles it after those of the stranger.
    call.flow(&peer, relayed, 1).await;
    let payload = u64::try_from(PAYLOAD).unwrap();
    eventually("the count", async || broker.used().await >= payload).await;
    assert!(broker.used().await < 10 * payload);
}

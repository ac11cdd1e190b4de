//! The end of allocations: when the grant expires or is revoked, or when the budget is spent.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::UdpSocket;

use crate::support::{OPERATOR, TestBroker, eventually};

use super::{Credential, PAYLOAD, a_peer, allocate, broker_with, ended, is_cut, refused};

#[tokio::test]
async fn a_running_allocation_ends_at_its_expiry() {
    let broker = broker_with(&[("TURN_TTL_SECONDS", "60")]).await;
    let credential = Credential::mint(&broker).await;
    let (call, peer) = (allocate(&credential).await.unwrap(), a_peer().await);
    let relayed = call.greet(&peer).await;
    broker.advance(59);
    call.flow(&peer, relayed, 10).await;
    broker.advance(1);
    eventually("the cut", async || ended(&broker, "expired").await == Some(1)).await;
    is_cut(&call, &peer, relayed).await;
}

#[tokio::test]
async fn setting_the_clock_back_extends_no_allocation() {
    let broker = broker_with(&[("TURN_TTL_SECONDS", "60")]).await;
    let credential = Credential::mint(&broker).await;
    let _call = allocate(&credential).await.unwrap();
    broker.set_wall("2025-01-15T11:00:00Z");
    broker.advance(60);
    eventually("the cut", async || ended(&broker, "expired").await == Some(1)).await;
}

#[tokio::test]
async fn a_revoked_grant_is_cut_and_others_continue() {
    let broker = broker_with(&[]).await;
    let (revoked, other) = (Credential::mint(&broker).await, Credential::mint(&broker).await);
    let (call, bystander) = (allocate(&revoked).await.unwrap(), allocate(&other).await.unwrap());
    let (peer, other_peer) = (a_peer().await, a_peer().await);
    let (relayed, others) = (call.greet(&peer).await, bystander.greet(&other_peer).await);
    let path = format!("/api/credentials/{}/revoke", revoked.grant);
    let answer = broker.post(OPERATOR, &path, json!({})).await;
    assert_eq!(answer.json()["provider"], "cut", "{}", answer.text);
    eventually("the cut", async || ended(&broker, "revoked").await == Some(1)).await;
    is_cut(&call, &peer, relayed).await;
    assert!(allocate(&revoked).await.is_err());
    assert!(refused(&broker, "revoked").await >= Some(1));
    bystander.flow(&other_peer, others, 10).await;
}

/// Sends from the peer until the budget is spent and the call ends.
async fn spend(broker: &TestBroker, peer: &UdpSocket, relayed: SocketAddr) {
    eventually("the cut", async || {
        peer.send_to(&[7; PAYLOAD], relayed).await.unwrap();
        ended(broker, "spent").await == Some(1)
    })
    .await;
}

#[tokio::test]
async fn a_spent_budget_ends_all_calls_within_one_packet() {
    let broker = broker_with(&[("BANDWIDTH_LIMIT_GB", "0.0001")]).await;
    let credential = Credential::mint(&broker).await;
    let (call, peer) = (allocate(&credential).await.unwrap(), a_peer().await);
    let relayed = call.greet(&peer).await;
    spend(&broker, &peer, relayed).await;
    is_cut(&call, &peer, relayed).await;
    let status = broker.status().await;
    let used = status["usedBytes"].as_u64().unwrap();
    assert!((100_000..101_500).contains(&used), "{used}");
    assert_eq!(status["status"], "LIMIT_EXCEEDED");
    assert!(allocate(&credential).await.is_err());
    assert!(refused(&broker, "spent").await >= Some(1));
    assert_eq!(broker.mint().await.error(), (429, "BUDGET_EXHAUSTED".into()));
}

#[tokio::test]
async fn a_new_period_allows_relaying_again() {
    let broker = broker_with(&[("BANDWIDTH_LIMIT_GB", "0.00001"), ("TURN_TTL_SECONDS", "60")]).await;
    broker.advance_to("2025-01-31T23:59:30Z");
    let credential = Credential::mint(&broker).await;
    let (call, peer) = (allocate(&credential).await.unwrap(), a_peer().await);
    let relayed = call.greet(&peer).await;
    spend(&broker, &peer, relayed).await;
    broker.advance_to("2025-02-01T00:00:05Z");
    eventually("the new period", async || broker.status().await["usedBytes"] == 0).await;
    eventually("an allocation", async || allocate(&credential).await.is_ok()).await;
    let used = broker.status().await["usedBytes"].as_u64().unwrap();
    assert!(used < 2_000, "its own bytes only: {used}");
}

//! The end of allocations: when the grant expires or is revoked, or when the budget is spent.

use crate::support::prelude::*;

use super::{Call, Credential, FILLER, PAYLOAD, a_peer, allocate, broker_with, ended, is_cut, refused};

/// A member of a call, with an allocation.
struct Member {
    socket: SocketClient,
    grant: String,
    call: Call,
    peer: UdpSocket,
    relayed: SocketAddr,
}

impl Member {
    async fn join(broker: &TestBroker) -> Self {
        let mut socket = SocketClient::open(broker.address, "/signaling", &[]).await.unwrap();
        socket.send_json(&json!({"type": "register", "roomId": "r"})).await;
        let credential = Credential::of(&socket.next_json().await["iceServers"][0]);
        let (call, peer) = (allocate(&credential).await.unwrap(), a_peer().await);
        let relayed = call.greet(&peer).await;
        Self { socket, grant: credential.grant, call, peer, relayed }
    }

    async fn flow(&self) {
        self.call.flow(&self.peer, self.relayed, 10).await;
    }
}

/// Ayame has no message for another credential, so the broker renews the grants of a call itself.
#[tokio::test]
async fn a_call_outlives_its_credentials_until_a_member_leaves() {
    let settings = [
        ("SIGNALING", "ayame"),
        ("SIGNALING_TTL_SECONDS", "60"),
        ("BANDWIDTH_LIMIT_GB", "1000"),
        ("BUDGET_MODE", "strict"),
    ];
    let broker = broker_with(&settings).await;
    let (a, b) = (Member::join(&broker).await, Member::join(&broker).await);
    let grants = async || {
        let page = broker.operator("/api/grants?call=ayame/r").await.json();
        page["grants"].as_array().unwrap().clone()
    };
    for renewals in [1, 2] {
        broker.advance(50);
        eventually("the renewals", async || grants().await.len() == 2 + 2 * renewals).await;
    }
    for grant in grants().await {
        let issued_at = grant["issuedAt"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let id = grant["id"].as_str().unwrap().parse::<GrantId>().unwrap();
        // It begins with the time.
        assert_eq!(id.as_bytes()[..5], issued_at.timestamp_millis().to_be_bytes()[3..]);
    }
    // The clock is at 100 s.
    assert!(a.grant != b.grant && ended(&broker, "expired").await.is_none());
    for member in [&a, &b] {
        member.flow().await;
    }
    let spent = async || {
        let page = grants().await;
        let of = |grant: &str| {
            page.iter().find(|row| row["id"] == grant).unwrap()["measuredBytes"].as_u64().unwrap()
        };
        of(&a.grant).min(of(&b.grant))
    };
    eventually("all bytes", async || spent().await > 10_000).await;

    let before = broker.reserved_gb().await;
    a.socket.close().await;
    eventually("the cut", async || {
        ended(&broker, "expired").await.unwrap_or(0) + ended(&broker, "revoked").await.unwrap_or(0) == 2
    })
    .await;
    is_cut(&a.call, &a.peer, a.relayed).await;
    is_cut(&b.call, &b.peer, b.relayed).await;
    // The renewals are revoked.
    assert!(grants().await.iter().filter(|row| !row["revokedAt"].is_null()).count() >= 2);
    eventually("the release", async || broker.reserved_gb().await < before / 2.0).await;
}

#[tokio::test]
async fn whoever_waits_alone_is_not_renewed() {
    let settings = [("SIGNALING", "ayame"), ("SIGNALING_TTL_SECONDS", "60")];
    let broker = broker_with(&settings).await;
    let a = Member::join(&broker).await;
    broker.advance(59);
    a.flow().await;
    broker.advance(1);
    eventually("the cut", async || ended(&broker, "expired").await == Some(1)).await;
    is_cut(&a.call, &a.peer, a.relayed).await;
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
    assert!(answer.json()["message"].as_str().unwrap().contains("are released"), "{}", answer.text);
    eventually("the cut", async || ended(&broker, "revoked").await == Some(1)).await;
    is_cut(&call, &peer, relayed).await;
    assert!(allocate(&revoked).await.is_err());
    assert!(refused(&broker, "revoked").await >= Some(1));
    bystander.flow(&other_peer, others, 10).await;
}

/// Sends from the peer until the budget is spent and the call ends.
async fn spend(broker: &TestBroker, peer: &UdpSocket, relayed: SocketAddr) {
    eventually("the cut", async || {
        peer.send_to(&[FILLER; PAYLOAD], relayed).await.unwrap();
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
    assert_eq!(broker.mint().await.error(), (429, "BUDGET_EXHAUSTED"));
}

#[tokio::test]
async fn a_report_says_that_the_relay_ends_the_calls() {
    for (at_limit, expected) in [("revoke", json!("BUDGET_EXHAUSTED")), ("none", json!(null))] {
        let broker = broker_with(&[("BANDWIDTH_LIMIT_GB", "0.1"), ("AT_LIMIT", at_limit)]).await;
        let grant = broker.grant().await;
        broker.open(&grant, "page").await;
        broker.open(REPORTER, "server").await;
        let code = async || broker.heartbeat(&grant, "page", json!({})).await.json()["code"].clone();
        assert_eq!(code().await, json!(null));
        broker.advance(20);
        let report = json!({"bytesReceived": 101_000_000, "relayed": true});
        assert_eq!(broker.heartbeat(REPORTER, "server", report).await.status, 200);
        assert_eq!(
            (broker.status().await["status"].as_str(), code().await),
            (Some("LIMIT_EXCEEDED"), expected.clone())
        );
        assert_eq!(broker.open(&grant, "page").await.json()["code"], expected);
    }
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

//! The relay in the process, with the TURN library's own client over loopback: a minted credential relays, and the status has
//! every byte, also after a restart.

mod ends;
mod limits;

use futures_util::FutureExt;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::support::prelude::*;

/// The payload of a packet. Channel data adds four bytes.
const PAYLOAD: usize = 1_000;
/// What every byte of a packet is.
const FILLER: u8 = 7;
/// The same for a packet that must not arrive.
const FORBIDDEN: u8 = 8;
/// The pause before a packet that did not arrive is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(300);

const RELAY: [(&str, &str); 2] = [("ICE_SOURCES", "relay"), ("RELAY_LISTEN", "127.0.0.1:0")];

async fn broker_with(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::start(&[&RELAY, settings].concat()).await
}

/// A credential as a page gets it.
struct Credential {
    server: SocketAddr,
    username: String,
    password: String,
    grant: String,
}

impl Credential {
    async fn mint(broker: &TestBroker) -> Self {
        let body = broker.mint().await.json();
        assert_eq!(json!([body["source"], body["degraded"]]), json!(["relay", false]), "{body}");
        Self::of(&body["iceServers"][0])
    }

    fn of(entry: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let url = text(&entry["urls"][0]);
        let server = url.strip_prefix("turn:").and_then(|url| url.strip_suffix("?transport=udp")).unwrap();
        let username = text(&entry["username"]);
        let grant = username.split_once(':').unwrap().1.to_owned();
        Self { server: server.parse().unwrap(), username, password: text(&entry["credential"]), grant }
    }
}

/// A client with an allocation.
struct Call {
    client: Client,
    relayed: Box<dyn Conn + Send + Sync>,
}

/// Makes an allocation with this credential.
async fn allocate(credential: &Credential) -> Result<Call, turn::Error> {
    allocate_as(credential, &credential.username, &credential.password).await
}

async fn allocate_as(credential: &Credential, username: &str, password: &str) -> Result<Call, turn::Error> {
    let conn = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let client = Client::new(ClientConfig {
        stun_serv_addr: credential.server.to_string(),
        turn_serv_addr: credential.server.to_string(),
        username: username.to_owned(),
        password: password.to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn,
        vnet: None,
    })
    .await?;
    client.listen().await?;
    let relayed = client.allocate().await?;
    Ok(Call { client, relayed: Box::new(relayed) })
}

impl Call {
    async fn send(&self, filler: u8, peer: &UdpSocket) {
        self.relayed.send_to(&[filler; PAYLOAD], peer.local_addr().unwrap()).await.unwrap();
    }

    /// Sends to the peer until it receives, which opens the channel; returns the relayed address.
    async fn greet(&self, peer: &UdpSocket) -> SocketAddr {
        let (mut buffer, mut relayed) = ([0; 2_000], None);
        eventually("a packet is relayed", async || {
            self.send(FILLER, peer).await;
            let received = timeout(RESEND_PAUSE, peer.recv_from(&mut buffer)).await.ok();
            relayed = received.map(|received| received.unwrap().1);
            relayed.is_some()
        })
        .await;
        relayed.unwrap()
    }

    /// Sends packets to the client, one at a time, and expects each.
    async fn flow(&self, peer: &UdpSocket, relayed: SocketAddr, packets: usize) {
        for _ in 0..packets {
            peer.send_to(&[FILLER; PAYLOAD], relayed).await.unwrap();
            let mut buffer = [0; 2_000];
            let received = finished("it arrives", self.relayed.recv_from(&mut buffer)).await;
            assert_eq!(received.unwrap().0, PAYLOAD);
        }
    }
}

async fn a_peer() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Asserts that nothing passes in either direction.
async fn is_cut(call: &Call, peer: &UdpSocket, relayed: SocketAddr) {
    for _ in 0..3 {
        call.send(FORBIDDEN, peer).await;
        peer.send_to(&[FORBIDDEN; PAYLOAD], relayed).await.unwrap();
    }
    // The relay answers this after it has handled what came before.
    finished("an answer of the relay", call.client.send_binding_request()).await.unwrap();
    let mut buffer = [0; 2_000];
    while let Ok((_, _)) = peer.try_recv_from(&mut buffer) {
        assert_ne!(buffer[0], FORBIDDEN, "nothing arrives at the peer");
    }
    while call.relayed.recv_from(&mut buffer).now_or_never().is_some_and(|received| received.is_ok()) {
        assert_ne!(buffer[0], FORBIDDEN, "nothing arrives at the client");
    }
}

async fn ended(broker: &TestBroker, why: &str) -> Option<u64> {
    broker.metric(&format!("turn_broker_relay_allocations_ended_total{{outcome=\"{why}\"}}")).await
}

async fn refused(broker: &TestBroker, why: &str) -> Option<u64> {
    broker.metric(&format!("turn_broker_relay_refusals_total{{outcome=\"{why}\"}}")).await
}

#[tokio::test]
async fn a_minted_credential_relays_and_every_byte_is_in_the_status() {
    let broker = broker_with(&[]).await;
    let credential = Credential::mint(&broker).await;
    let (call, peer) = (allocate(&credential).await.unwrap(), a_peer().await);
    let relayed = call.greet(&peer).await;
    assert_ne!(relayed, credential.server);
    call.flow(&peer, relayed, 500).await;
    let payload = 500 * u64::try_from(PAYLOAD).unwrap();
    let used = async || broker.status().await["usedBytes"].as_u64().unwrap();
    eventually("the count", async || used().await >= payload).await;
    let counted = used().await;
    // Framing is 36 bytes per packet without a channel and 4 with one, plus the handshake.
    assert!(counted <= payload + payload * 4 / 100 + 2_000, "{counted} for {payload}");
    let status = broker.status().await;
    assert_eq!(json!([status["source"], status["stale"]]), json!(["measured+estimate", false]));
    assert_eq!(status["asOf"], "2025-01-15T12:00:00.000Z", "now: nothing is estimated");
    assert_eq!(broker.metric("turn_broker_measured_bytes").await, Some(counted));
    assert_eq!(broker.metric("turn_broker_relay_allocations").await, Some(1));
    let of_grant = async || broker.operator("/api/spenders?by=grant").await.json()["spenders"][0].clone();
    eventually("the count of the grant", async || {
        of_grant().await["measuredBytes"].as_u64() >= Some(payload)
    })
    .await;
    let row = of_grant().await;
    assert_eq!(row["evidence"], "measured");
    assert!(row["bytes"].as_u64() <= Some(used().await), "{row}");
}

#[tokio::test]
async fn two_allocations_reach_each_other_through_the_relay() {
    let broker = broker_with(&[]).await;
    let (one, other) = (Credential::mint(&broker).await, Credential::mint(&broker).await);
    let (a, b) = (allocate(&one).await.unwrap(), allocate(&other).await.unwrap());
    let (at_a, at_b) = (a.relayed.local_addr().unwrap(), b.relayed.local_addr().unwrap());
    let mut buffer = [0; 2_000];
    eventually("a packet is relayed", async || {
        // Each needs a permission for the other before it can receive.
        a.relayed.send_to(b"hello", at_b).await.unwrap();
        b.relayed.send_to(b"hello", at_a).await.unwrap();
        let heard = timeout(RESEND_PAUSE, b.relayed.recv_from(&mut buffer)).await;
        heard.is_ok_and(|heard| heard.unwrap() == (5, at_a))
    })
    .await;
}

#[tokio::test]
async fn an_invalid_credential_gets_no_allocation() {
    let broker = broker_with(&[("TURN_TTL_SECONDS", "60")]).await;
    let good = Credential::mint(&broker).await;
    assert!(allocate_as(&good, &good.username, "another").await.is_err(), "a wrong password");
    let foreign = format!("9999999999:{}", GrantId::new([7; 16]));
    assert!(allocate_as(&good, &foreign, &good.password).await.is_err(), "a password of another user name");
    assert!(allocate_as(&good, "alice", &good.password).await.is_err(), "no user name of ours");
    assert!(refused(&broker, "unknown").await >= Some(1));
    assert!(allocate(&good).await.is_ok());
    broker.advance(60);
    assert!(allocate(&good).await.is_err(), "expired");
    assert!(refused(&broker, "expired").await >= Some(1));
}

#[tokio::test]
async fn a_used_port_refuses_the_start_and_is_named() {
    let taken = a_peer().await;
    let listen = taken.local_addr().unwrap().to_string();
    let settings = [("ICE_SOURCES", "relay"), ("RELAY_LISTEN", listen.as_str())];
    let error = TestBroker::build_error(&settings);
    assert!(error.starts_with(&format!("RELAY_LISTEN: cannot listen on UDP {listen}: ")), "{error}");
}

#[tokio::test]
async fn the_kill_switch_disables_the_relay() {
    let broker = broker_with(&[("TURN_ENABLED", "false")]).await;
    assert!(broker.app.relay.is_none());
    assert_eq!(broker.mint().await.json()["reason"], "DISABLED");
}

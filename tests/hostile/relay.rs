//! Item 12: the relay in the process. Unsigned requests from a known client's address, and all allocations for one address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client as TurnClient, ClientConfig};
use webrtc_util::Conn;

use crate::Attack;
use crate::client::{Client, Cost};
use crate::honest::{Tally, round};
use crate::support::TestBroker;
use crate::table::{Form, Outcome, count, grouped};

const RELAY: [(&str, &str); 2] = [("ICE_SOURCES", "relay"), ("RELAY_LISTEN", "127.0.0.1:0")];
/// How long a client waits for the relay. A retransmission follows after 200 ms.
const PATIENCE: Duration = Duration::from_secs(2);
/// A Binding request: method, no attributes, cookie, transaction.
const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
/// `ALLOCATIONS_MAX` of the relay.
const ALL: u64 = 256;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 12,
        name: "unsigned requests under a known client's address",
        allowance: "the client's own requests pass",
        run: |form| Box::pin(unsigned(form)),
    },
    Attack {
        item: 12,
        name: "all allocations for one address",
        allowance: "fewer than all 256, another address gets one",
        run: |_| Box::pin(allocate_all()),
    },
];

/// A credential of the relay.
struct Credential {
    server: SocketAddr,
    username: String,
    password: String,
}

impl Credential {
    async fn mint(client: &mut Client) -> Option<Self> {
        let body = client.get("/api/turn-credentials", &[]).await?.json();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let entry = &body["iceServers"][0];
        let url = text(&entry["urls"][0])?;
        let server = url.strip_prefix("turn:")?.strip_suffix("?transport=udp")?.parse().ok()?;
        Some(Self { server, username: text(&entry["username"])?, password: text(&entry["credential"])? })
    }
}

/// A client with an allocation.
struct Call {
    _client: TurnClient,
    relayed: Box<dyn Conn + Send + Sync>,
    /// The client's own socket.
    socket: Arc<UdpSocket>,
}

/// Makes an allocation from an address of the loopback network.
async fn allocate(credential: &Credential, from: &str) -> Option<Call> {
    let socket = Arc::new(UdpSocket::bind((from, 0)).await.ok()?);
    let client = TurnClient::new(ClientConfig {
        stun_serv_addr: credential.server.to_string(),
        turn_serv_addr: credential.server.to_string(),
        username: credential.username.clone(),
        password: credential.password.clone(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: socket.clone(),
        vnet: None,
    })
    .await
    .ok()?;
    client.listen().await.ok()?;
    let relayed = timeout(PATIENCE, client.allocate()).await.ok()?.ok()?;
    Some(Call { _client: client, relayed: Box::new(relayed), socket })
}

/// Whether a packet reaches a new peer, which needs a permission: a signed request.
async fn reaches_a_new_peer(call: &Call) -> bool {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sending = call.relayed.send_to(b"hello", peer.local_addr().unwrap());
    let mut buffer = [0; 100];
    timeout(PATIENCE, sending).await.is_ok_and(|sent| sent.is_ok())
        && timeout(PATIENCE, peer.recv_from(&mut buffer)).await.is_ok()
}

/// The attacker forges the client's source address. The test uses the client's own socket, because the relay cannot tell the
/// difference.
async fn unsigned(form: Form) -> Outcome {
    let broker = TestBroker::start(&RELAY).await;
    let mut client = Client::behind_proxy(broker.address, "192.0.2.9");
    let credential = Credential::mint(&mut client).await.unwrap();
    let call = allocate(&credential, "127.0.0.1").await.unwrap();
    let mut honest = Tally::default();
    honest.count(reaches_a_new_peer(&call).await);
    let requests = form.choose(300, 30_000);
    for n in 0..requests {
        call.socket.send_to(&BINDING, credential.server).await.unwrap();
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let before = honest.served;
    for _ in 0..3 {
        honest.count(reaches_a_new_peer(&call).await);
    }
    let reached = honest.served - before;
    honest = honest.plus(round(broker.address, 1).await);
    let cost = Cost { requests, sockets: 1, bytes: requests * count(BINDING.len()) };
    let effect = format!("{reached} of 3 signed requests of the client pass");
    Outcome { attempts: requests, cost, effect, honest, is_within: reached == 3 }
}

async fn allocate_all() -> Outcome {
    let broker = TestBroker::start(&RELAY).await;
    let mut client = Client::behind_proxy(broker.address, "198.51.100.7");
    let (mut calls, mut attempts, mut refused_in_a_row) = (vec![], 0_u64, 0);
    'mint: for _ in 0..40 {
        let credential = Credential::mint(&mut client).await.unwrap();
        for _ in 0..8 {
            attempts += 1;
            match allocate(&credential, "127.0.0.1").await {
                Some(call) => {
                    calls.push(call);
                    refused_in_a_row = 0;
                }
                None => refused_in_a_row += 1,
            }
            if refused_in_a_row == 3 {
                break 'mint;
            }
        }
    }
    // This attack does not test the rate of new allocations, which is limited for all addresses together.
    broker.advance(60);
    let mut honest = round(broker.address, 1).await;
    let credential = Credential::mint(&mut Client::behind_proxy(broker.address, "192.0.2.9")).await.unwrap();
    honest.count(allocate(&credential, "127.0.0.5").await.is_some());
    let held = count(calls.len());
    let cost = client.cost.plus(Cost { requests: attempts, sockets: attempts, bytes: attempts * 300 });
    let effect = format!("holds {} of {ALL} allocations", grouped(held));
    Outcome { attempts, cost, effect, honest, is_within: held < ALL }
}

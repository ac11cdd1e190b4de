//! A fake STUN and TURN server on loopback. It checks credentials, and has a fault if a test sets one. UDP and TCP share one port. All
//! allocations share one relayed address, and every client gets the datagrams that come there from a permitted peer.
//!
//! Invariants: a request is in [`FakeTurn::history`] before its response is sent. Except with [`TurnFault::Open`], only a
//! credential with a valid signature gets an allocation.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use stun_types::attribute::{
    AttributeType, ErrorCode, Nonce, RawAttribute, Realm, Username, XorMappedAddress, XorSocketAddr,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials,
    MessageType, MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Mutex as AsyncMutex, broadcast};
use tokio::task::JoinHandle;

use super::fake_cloudflare::History;

const ALLOCATE: Method = Method::new(0x003);
const REFRESH: Method = Method::new(0x004);
const SEND: Method = Method::new(0x006);
const DATA: Method = Method::new(0x007);
const CREATE_PERMISSION: Method = Method::new(0x008);
const LIFETIME: AttributeType = AttributeType::new(0x000d);
const XOR_PEER_ADDRESS: AttributeType = AttributeType::new(0x0012);
const CONTENT: AttributeType = AttributeType::new(0x0013);
const XOR_RELAYED_ADDRESS: AttributeType = AttributeType::new(0x0016);
const REALM: &str = "relay.test";
/// The address that it relays at. Clients come from another one.
pub(crate) const RELAYED: &str = "127.0.0.2";

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnFault {
    /// A valid credential is answered with this code.
    Code(u16),
    /// UDP is not answered, and none comes to the relayed address from elsewhere.
    NoUdp,
    /// Nothing comes to the relayed address.
    ClosedPorts,
    /// No peer is permitted.
    NoPeers,
    /// Only its own clients are permitted as peers.
    OnlyItself,
    /// The first nonce is rejected as stale.
    StaleOnce,
    /// Success responses are not signed.
    Unsigned,
    /// No credential is needed.
    Open,
    /// Another protocol answers.
    NotStun,
}

/// One request: method, user name, and requested lifetime in seconds.
pub(crate) type Asked = (u16, Option<String>, Option<u32>);

/// The server. Dropping it stops it.
pub(crate) struct FakeTurn {
    address: SocketAddr,
    core: Arc<Core>,
    tasks: [JoinHandle<()>; 3],
}

struct Core {
    credentials: History,
    fault: Mutex<Option<TurnFault>>,
    asked: Mutex<Vec<Asked>>,
    relay: UdpSocket,
    permitted: Mutex<HashSet<IpAddr>>,
    /// Indications for every client.
    relayed: broadcast::Sender<Vec<u8>>,
}

impl FakeTurn {
    /// Starts on a free port of 127.0.0.1. It accepts the credentials that this fake Cloudflare mints.
    pub(crate) async fn start(credentials: History) -> Self {
        let (stream, datagrams) = loop {
            let stream = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(datagrams) = UdpSocket::bind(stream.local_addr().unwrap()).await {
                break (stream, datagrams);
            }
        };
        let address = stream.local_addr().unwrap();
        let core = Arc::new(Core {
            credentials,
            fault: Mutex::default(),
            asked: Mutex::default(),
            relay: UdpSocket::bind((RELAYED, 0)).await.unwrap(),
            permitted: Mutex::default(),
            relayed: broadcast::channel(16).0,
        });
        let tasks = [
            tokio::spawn(serve_datagrams(datagrams, Arc::clone(&core))),
            tokio::spawn(serve_streams(stream, Arc::clone(&core))),
            tokio::spawn(relay(Arc::clone(&core))),
        ];
        Self { address, core, tasks }
    }

    /// Sets the fault from now on.
    pub(crate) fn set_fault(&self, fault: TurnFault) {
        *self.core.fault.lock().unwrap() = Some(fault);
    }

    /// The `stun:` URL, by UDP.
    pub(crate) fn stun_url(&self) -> String {
        format!("stun:{}", self.address)
    }

    /// The `turn:` URLs, by UDP and by TCP.
    pub(crate) fn turn_urls(&self) -> [String; 2] {
        ["udp", "tcp"].map(|transport| format!("turn:{}?transport={transport}", self.address))
    }

    /// All requests so far, including retransmissions.
    pub(crate) fn history(&self) -> Vec<Asked> {
        self.core.asked.lock().unwrap().clone()
    }

    /// The number of released allocations: requests with a lifetime of zero and a user name.
    pub(crate) fn released(&self) -> usize {
        let is_release = |(method, user, lifetime): &Asked| {
            *method == REFRESH.value() && user.is_some() && *lifetime == Some(0)
        };
        self.history().iter().filter(|asked| is_release(asked)).count()
    }
}

impl Drop for FakeTurn {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve_datagrams(socket: UdpSocket, core: Arc<Core>) {
    let (mut datagram, mut clients, mut relayed) = ([0; 2_048], HashSet::new(), core.relayed.subscribe());
    loop {
        let (length, from) = tokio::select! {
            received = socket.recv_from(&mut datagram) => received.unwrap(),
            indication = relayed.recv() => {
                let indication = indication.unwrap();
                for client in &clients {
                    let _ = socket.send_to(&indication, client).await;
                }
                continue;
            }
        };
        if core.has(TurnFault::NoUdp) {
            continue;
        }
        clients.insert(from);
        let Some(answer) = core.answer(&datagram[..length], from) else { continue };
        // Send a stray datagram first: it must not be taken for the response.
        let _ = socket.send_to(b"stray", from).await;
        let _ = socket.send_to(&answer, from).await;
    }
}

async fn serve_streams(listener: TcpListener, core: Arc<Core>) {
    loop {
        let (stream, from) = listener.accept().await.unwrap();
        tokio::spawn(serve_stream(stream, from, Arc::clone(&core)));
    }
}

async fn serve_stream(stream: TcpStream, from: SocketAddr, core: Arc<Core>) -> Option<()> {
    let (mut read, write) = stream.into_split();
    let (write, mut relayed) = (AsyncMutex::new(write), core.relayed.subscribe());
    let mut answers = async || -> Option<()> {
        loop {
            let mut message = vec![0; 20];
            read.read_exact(&mut message).await.ok()?;
            message.resize(20 + usize::from(u16::from_be_bytes([message[2], message[3]])), 0);
            read.read_exact(&mut message[20..]).await.ok()?;
            let Some(answer) = core.answer(&message, from) else { continue };
            // Send in two pieces, as streams may.
            let (first, second) = answer.split_at(answer.len() / 2);
            let mut write = write.lock().await;
            write.write_all(first).await.ok()?;
            write.flush().await.ok()?;
            write.write_all(second).await.ok()?;
        }
    };
    let mut indications = async || -> Option<()> {
        loop {
            let indication = relayed.recv().await.ok()?;
            write.lock().await.write_all(&indication).await.ok()?;
        }
    };
    tokio::select! { end = answers() => end, end = indications() => end }
}

/// Gives what comes to the relayed address to the clients.
async fn relay(core: Arc<Core>) {
    let mut datagram = [0; 2_048];
    loop {
        let (length, from) = core.relay.recv_from(&mut datagram).await.unwrap();
        let is_from_elsewhere = from.ip().to_string() != RELAYED;
        let is_lost = core.has(TurnFault::ClosedPorts) || core.has(TurnFault::NoUdp) && is_from_elsewhere;
        if is_lost || !core.permitted.lock().unwrap().contains(&from.ip()) {
            continue;
        }
        let id = TransactionId::from(7);
        let message_type = MessageType::from_class_method(MessageClass::Indication, DATA);
        let mut indication = Message::builder(message_type, id, MessageWriteVec::new());
        indication.add_attribute(&XorSocketAddr::new(from, id).to_raw(XOR_PEER_ADDRESS)).unwrap();
        indication.add_attribute(&RawAttribute::new(CONTENT, &datagram[..length])).unwrap();
        let _ = core.relayed.send(indication.finish());
    }
}

impl Core {
    fn has(&self, fault: TurnFault) -> bool {
        *self.fault.lock().unwrap() == Some(fault)
    }

    /// The response; `None` to an indication.
    fn answer(&self, bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let message = Message::from_bytes(bytes).unwrap();
        let peer = message.raw_attribute(XOR_PEER_ADDRESS);
        let peer = peer.map(|raw| XorSocketAddr::from_raw(&raw).unwrap().addr(message.transaction_id()));
        if message.has_method(SEND) {
            let content = message.raw_attribute(CONTENT).unwrap();
            let _ = self.relay.try_send_to(&content.value[..], peer.unwrap());
            return None;
        }
        Some(self.response(&message, from, peer))
    }

    fn response(&self, message: &Message<'_>, from: SocketAddr, peer: Option<SocketAddr>) -> Vec<u8> {
        let user = message.attribute::<Username>().ok().map(|user| user.username().to_owned());
        let lifetime = message.raw_attribute(LIFETIME);
        let lifetime = lifetime.map(|raw| u32::from_be_bytes(raw.value[..].try_into().unwrap()));
        self.asked.lock().unwrap().push((message.method().value(), user.clone(), lifetime));
        let fault = *self.fault.lock().unwrap();
        if fault == Some(TurnFault::NotStun) {
            return b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        }
        if message.has_method(BINDING) || fault == Some(TurnFault::Open) {
            return self.good(message, from, peer, None);
        }
        let Some(user) = user else { return refusal(message, 401, Some("nonce-1")) };
        let key = self.key(&user);
        if key.as_ref().is_none_or(|key| message.validate_integrity(key).is_err()) {
            return refusal(message, 401, Some("nonce-1"));
        }
        let nonce = message.attribute::<Nonce>().unwrap();
        match fault {
            Some(TurnFault::StaleOnce) if nonce.nonce() == "nonce-1" => {
                refusal(message, 438, Some("nonce-2"))
            }
            Some(TurnFault::Code(code)) if message.has_method(ALLOCATE) => refusal(message, code, None),
            Some(TurnFault::NoPeers) if peer.is_some() => refusal(message, 403, None),
            Some(TurnFault::OnlyItself) if peer.is_some_and(|peer| peer.ip().to_string() != RELAYED) => {
                refusal(message, 403, None)
            }
            Some(TurnFault::Unsigned) => self.good(message, from, peer, None),
            _ => self.good(message, from, peer, key.as_ref()),
        }
    }

    fn good(
        &self,
        request: &Message<'_>,
        from: SocketAddr,
        peer: Option<SocketAddr>,
        key: Option<&MessageIntegrityCredentials>,
    ) -> Vec<u8> {
        if request.has_method(CREATE_PERMISSION) {
            self.permitted.lock().unwrap().extend(peer.map(|peer| peer.ip()));
        }
        let id = request.transaction_id();
        let mut answer = Message::builder_success(request, MessageWriteVec::new());
        answer.add_attribute(&XorMappedAddress::new(from, id)).unwrap();
        if request.has_method(ALLOCATE) {
            let relayed = XorSocketAddr::new(self.relay.local_addr().unwrap(), id);
            answer.add_attribute(&relayed.to_raw(XOR_RELAYED_ADDRESS)).unwrap();
            answer.add_attribute(&RawAttribute::new(LIFETIME, &600_u32.to_be_bytes())).unwrap();
        }
        if let Some(key) = key {
            answer.add_message_integrity(key, IntegrityAlgorithm::Sha1).unwrap();
        }
        answer.add_fingerprint().unwrap();
        answer.finish()
    }

    fn key(&self, user: &str) -> Option<MessageIntegrityCredentials> {
        let secrets = self.credentials.minted_secrets();
        let password = secrets.chunks(2).find(|pair| pair[0] == user)?[1].clone();
        Some(LongTermKeyCredentials::new(user.to_owned(), password, REALM.to_owned()).into())
    }
}

fn refusal(request: &Message<'_>, code: u16, nonce: Option<&str>) -> Vec<u8> {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::new(code, super::Fault::BODY_MARK).unwrap()).unwrap();
    if let Some(nonce) = nonce {
        answer.add_attribute(&Realm::new(REALM).unwrap()).unwrap();
        answer.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
    }
    answer.finish()
}

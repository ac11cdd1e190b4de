//! The socket of a client that keeps its allocation for as long as the server lets it. The library asks for no LIFETIME, so this socket
//! adds one to its requests, and signs them again. Tests: `tests/it/doctor/tail.rs`.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use stun::agent::TransactionId;
use stun::attributes::{ATTR_FINGERPRINT, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_REALM};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, Getter as _, METHOD_ALLOCATE, METHOD_REFRESH, Message, MessageType, Setter as _,
};
use stun::textattrs::Realm;
use tokio::net::UdpSocket;
use turn::proto::lifetime::Lifetime;
use webrtc_util::{Conn, Error};

/// The LIFETIME that is asked for, in seconds. A server grants its maximum instead.
const A_DAY: u32 = 86_400;
/// What is asked for if the server has granted less. Some servers grant their default if an hour or more is asked for.
const BELOW_AN_HOUR: u32 = 3_599;

/// See the module's description.
pub(crate) struct LongestSocket {
    socket: UdpSocket,
    username: String,
    password: String,
    /// The last request for an allocation that was signed.
    request: Mutex<Option<Message>>,
    granted: AtomicU32,
}

impl LongestSocket {
    pub(crate) fn new(socket: UdpSocket, username: &str, password: &str) -> Self {
        let (username, password) = (username.to_owned(), password.to_owned());
        Self { socket, username, password, request: Mutex::default(), granted: AtomicU32::new(A_DAY) }
    }

    /// The LIFETIME that the server has granted last, in seconds.
    pub(crate) fn granted(&self) -> u32 {
        self.granted.load(Ordering::Relaxed)
    }

    /// A request of this type with the attributes of `request` and a LIFETIME. `None` without a realm: nothing can be signed.
    fn lengthened(&self, request: &Message, kind: MessageType) -> Option<Message> {
        let realm = Realm::get_from_as(request, ATTR_REALM).ok()?.text;
        let mut longer = Message { typ: kind, transaction_id: request.transaction_id, ..Message::default() };
        longer.write_header();
        let replaced = [ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_FINGERPRINT];
        for attribute in request.attributes.0.iter().filter(|one| !replaced.contains(&one.typ)) {
            longer.add(attribute.typ, &attribute.value);
        }
        let seconds = if self.granted() < BELOW_AN_HOUR { BELOW_AN_HOUR } else { A_DAY };
        let (username, password) = (self.username.clone(), self.password.clone());
        let signature = MessageIntegrity::new_long_term_integrity(username, realm, password);
        Lifetime(Duration::from_secs(seconds.into())).add_to(&mut longer).ok()?;
        signature.add_to(&mut longer).ok()?;
        FINGERPRINT.add_to(&mut longer).ok()?;
        Some(longer)
    }

    /// The library's request with a LIFETIME. `None` for anything that asks for no life.
    fn replaced(&self, sent: &[u8]) -> Option<Message> {
        let request = parsed(sent).filter(|message| message.typ.class == CLASS_REQUEST)?;
        // The library closes an allocation with a LIFETIME of zero.
        if lifetime(&request) == Some(0) {
            return None;
        }
        let longer = self.lengthened(&request, request.typ)?;
        *self.request.lock() = Some(request);
        Some(longer)
    }

    /// Refreshes the allocation. The answer is not awaited, and the library drops it.
    pub(crate) async fn refresh(&self, server: SocketAddr) {
        let last = self.request.lock().clone();
        let refresh = last.and_then(|mut request| {
            TransactionId::new().add_to(&mut request).ok()?;
            self.lengthened(&request, MessageType::new(METHOD_REFRESH, CLASS_REQUEST))
        });
        if let Some(refresh) = refresh {
            let _ = self.socket.send_to(&refresh.raw, server).await;
        }
    }
}

/// A message about the life of an allocation.
fn parsed(packet: &[u8]) -> Option<Message> {
    let mut message = Message::new();
    message.unmarshal_binary(packet).ok()?;
    [METHOD_ALLOCATE, METHOD_REFRESH].contains(&message.typ.method).then_some(message)
}

fn lifetime(message: &Message) -> Option<u32> {
    let mut lifetime = Lifetime::default();
    lifetime.get_from(message).ok()?;
    u32::try_from(lifetime.0.as_secs()).ok()
}

#[async_trait]
impl Conn for LongestSocket {
    async fn connect(&self, server: SocketAddr) -> Result<(), Error> {
        Conn::connect(&self.socket, server).await
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        Conn::recv(&self.socket, buffer).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let (length, from) = Conn::recv_from(&self.socket, buffer).await?;
        if let Some(granted) = parsed(&buffer[..length]).and_then(|answer| lifetime(&answer)) {
            self.granted.store(granted, Ordering::Relaxed);
        }
        Ok((length, from))
    }

    async fn send(&self, packet: &[u8]) -> Result<usize, Error> {
        Conn::send(&self.socket, packet).await
    }

    async fn send_to(&self, packet: &[u8], server: SocketAddr) -> Result<usize, Error> {
        let longer = self.replaced(packet);
        let packet = longer.as_ref().map_or(packet, |request| &request.raw);
        Conn::send_to(&self.socket, packet, server).await
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Conn::local_addr(&self.socket)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Conn::remote_addr(&self.socket)
    }

    async fn close(&self) -> Result<(), Error> {
        Conn::close(&self.socket).await
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

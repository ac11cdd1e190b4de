//! The socket of a client, which does what the library does not. It notes how the server refuses a request. For a client that keeps its
//! allocation for as long as the server lets it, it adds a LIFETIME to the library's requests, and signs them again. Tests:
//! `tests/it/doctor`.

use std::sync::atomic::{AtomicU32, Ordering};

use stun::addr::AlternateServer;
use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_ALTERNATE_SERVER, ATTR_FINGERPRINT, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_REALM,
};
use stun::error_code::{CODE_TRY_ALTERNATE, ErrorCodeAttribute};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, Getter as _, METHOD_ALLOCATE, METHOD_REFRESH, Message, MessageType,
    Setter as _,
};
use stun::textattrs::Realm;
use turn::proto::lifetime::Lifetime;

use crate::prelude::*;
use crate::unconnected::unconnected;

/// The LIFETIME that is asked for, in seconds. A server grants its maximum instead.
const A_DAY: u32 = 86_400;
/// What is asked for if the server has granted less. Some servers grant their default if an hour or more is asked for.
const BELOW_AN_HOUR: u32 = 3_599;

/// How a server has refused a request.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    /// A code of RFC 8489 or RFC 8656.
    pub(crate) code: u16,
    /// The server that the answer names in its place, if the code says so.
    pub(crate) alternate: Option<SocketAddr>,
}

/// A relay over UDP, and a credential for it.
#[derive(Clone)]
pub struct UdpRelay {
    /// The address at which clients reach it.
    pub address: SocketAddr,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// See the module's description.
pub(crate) struct ClientSocket {
    socket: UdpSocket,
    relay: UdpRelay,
    /// Whether requests ask for the longest LIFETIME.
    lengthens: bool,
    /// How the last answer refused; `None` if it did not.
    refusal: Mutex<Option<Refusal>>,
    /// The last request for an allocation that was signed.
    request: Mutex<Option<Message>>,
    granted: AtomicU32,
}

impl ClientSocket {
    pub(crate) fn new(socket: UdpSocket, relay: UdpRelay, lengthens: bool) -> Self {
        let (refusal, request) = (Mutex::default(), Mutex::default());
        Self { socket, relay, lengthens, refusal, request, granted: AtomicU32::new(A_DAY) }
    }

    /// How the server's last answer refused; `None` if it did not.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *self.refusal.lock()
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
        let (username, password) = (self.relay.username.clone(), self.relay.password.clone());
        let signature = MessageIntegrity::new_long_term_integrity(username, realm, password);
        Lifetime(Duration::from_secs(seconds.into())).add_to(&mut longer).ok()?;
        signature.add_to(&mut longer).ok()?;
        FINGERPRINT.add_to(&mut longer).ok()?;
        Some(longer)
    }

    /// The library's request with a LIFETIME. `None` for anything that asks for no life.
    fn replaced(&self, sent: &[u8]) -> Option<Message> {
        let is_about_life = |message: &Message| {
            message.typ.class == CLASS_REQUEST
                && [METHOD_ALLOCATE, METHOD_REFRESH].contains(&message.typ.method)
        };
        let request = parsed(sent).filter(is_about_life)?;
        // The library closes an allocation with a LIFETIME of zero.
        if lifetime(&request) == Some(0) {
            return None;
        }
        let longer = self.lengthened(&request, request.typ)?;
        *self.request.lock() = Some(request);
        Some(longer)
    }

    /// Refreshes the allocation. The answer is not awaited, and the library drops it.
    pub(crate) async fn refresh(&self) {
        let last = self.request.lock().clone();
        let refresh = last.and_then(|mut request| {
            TransactionId::new().add_to(&mut request).ok()?;
            self.lengthened(&request, MessageType::new(METHOD_REFRESH, CLASS_REQUEST))
        });
        if let Some(refresh) = refresh {
            let _ = self.socket.send_to(&refresh.raw, self.relay.address).await;
        }
    }
}

/// A request or an answer.
fn parsed(packet: &[u8]) -> Option<Message> {
    let mut message = Message::new();
    message.unmarshal_binary(packet).ok()?;
    (message.typ.class != CLASS_INDICATION).then_some(message)
}

fn refusal(answer: &Message) -> Option<Refusal> {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(answer).ok()?;
    let mut server = AlternateServer::default();
    let names_another =
        error.code == CODE_TRY_ALTERNATE && server.get_from_as(answer, ATTR_ALTERNATE_SERVER).is_ok();
    let alternate = names_another.then(|| SocketAddr::new(server.ip, server.port));
    Some(Refusal { code: error.code.0, alternate })
}

fn lifetime(message: &Message) -> Option<u32> {
    let mut lifetime = Lifetime::default();
    lifetime.get_from(message).ok()?;
    u32::try_from(lifetime.0.as_secs()).ok()
}

unconnected! {
    ClientSocket:

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let (length, from) = self.socket.recv_from(buffer).await?;
        if let Some(answer) = parsed(&buffer[..length]) {
            *self.refusal.lock() = refusal(&answer);
            if let Some(granted) = lifetime(&answer) {
                self.granted.store(granted, Ordering::Relaxed);
            }
        }
        Ok((length, from))
    }

    async fn send_to(&self, packet: &[u8], server: SocketAddr) -> Result<usize, Error> {
        let longer = if self.lengthens { self.replaced(packet) } else { None };
        let packet = longer.as_ref().map_or(packet, |request| &request.raw);
        Ok(self.socket.send_to(packet, server).await?)
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

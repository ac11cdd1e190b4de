//! The STUN messages of the doctor: four requests and their responses. Pure; the codec is `stun-types`. Requests are
//! signed as in browsers: MD5 keys and SHA-1 (RFC 8489 keeps both), and SHA-256 only if the server offers nothing else.
//! The texts of a server (reason phrase, software) are dropped.

use std::net::SocketAddr;

use stun_types::attribute::{
    AttributeType, ErrorCode, Nonce, PasswordAlgorithm, PasswordAlgorithmValue, PasswordAlgorithms,
    RawAttribute, Realm, Username, XorMappedAddress, XorSocketAddr,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials,
    MessageType, MessageWrite, MessageWriteExt, MessageWriteVec, Method, StunWriteError, TransactionId,
};

/// The methods and attributes of RFC 8656.
const ALLOCATE: Method = Method::new(0x003);
const REFRESH: Method = Method::new(0x004);
const LIFETIME: AttributeType = AttributeType::new(0x000d);
const XOR_RELAYED_ADDRESS: AttributeType = AttributeType::new(0x0016);
const REQUESTED_TRANSPORT: AttributeType = AttributeType::new(0x0019);
/// UDP's protocol number, and three reserved bytes.
const RELAY_UDP: [u8; 4] = [17, 0, 0, 0];
/// The requested lifetime in seconds. It is short, because the release may get lost.
const SHORT: u32 = 60;
/// The bytes of a message header, which holds the length of the rest.
pub(super) const HEADER: usize = 20;
const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

/// A TURN credential.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) username: String,
    pub(super) password: String,
}

/// What a server requires in the next request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: String,
    nonce: String,
    /// The password algorithms that it offers, if any.
    offered: Vec<PasswordAlgorithmValue>,
}

/// A credential with the challenge of one server.
pub(super) struct Proof {
    credential: MessageIntegrityCredentials,
    username: String,
    challenge: Challenge,
}

/// A request, and the id of its response.
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    pub(super) id: TransactionId,
}

/// The content of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Success.
    Done {
        /// Our address as the server sees it.
        mapped: Option<SocketAddr>,
        /// The relayed address.
        relayed: Option<SocketAddr>,
    },
    /// An error.
    Refused {
        /// The error code, 300 to 699.
        code: u16,
        /// The requirements for the next request.
        challenge: Option<Challenge>,
    },
}

/// Why a response cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Not STUN, or of another method.
    NotStun,
    /// A success without a valid signature, so its sender may not know the credential.
    Unsigned,
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// Asks for our address.
    Binding,
    /// Asks for an allocation.
    Allocate,
    /// Keeps the allocation for another minute.
    Refresh,
    /// Releases the allocation.
    Release,
}

impl RequestKind {
    const fn method(self) -> Method {
        match self {
            Self::Binding => BINDING,
            Self::Allocate => ALLOCATE,
            Self::Refresh | Self::Release => REFRESH,
        }
    }
}

impl Proof {
    pub(super) fn new(credential: &Credential, challenge: Challenge) -> Self {
        let Credential { username, password } = credential.clone();
        let key = LongTermKeyCredentials::new(username.clone(), password, challenge.realm.clone());
        Self { credential: key.into(), username, challenge }
    }

    /// Whether the server accepts SHA-256 only.
    pub(super) fn needs_sha256(&self) -> bool {
        let offered = &self.challenge.offered;
        !offered.is_empty() && !offered.contains(&PasswordAlgorithmValue::MD5)
    }

    fn write(&self, message: &mut MessageWriteVec) -> Result<(), StunWriteError> {
        message.add_attribute(&Username::new(&self.username)?)?;
        message.add_attribute(&Realm::new(&self.challenge.realm)?)?;
        message.add_attribute(&Nonce::new(&self.challenge.nonce)?)?;
        if !self.needs_sha256() {
            return message.add_message_integrity(&self.credential, IntegrityAlgorithm::Sha1);
        }
        message.add_attribute(&PasswordAlgorithms::new(&self.challenge.offered))?;
        message.add_attribute(&PasswordAlgorithm::new(PasswordAlgorithmValue::SHA256))?;
        message.add_message_integrity(&self.credential, IntegrityAlgorithm::Sha256)
    }
}

/// The bytes of a request. Fails if a name or a nonce is longer than STUN allows.
pub(super) fn request(
    kind: RequestKind,
    id: TransactionId,
    proof: Option<&Proof>,
) -> Result<Request, StunWriteError> {
    let message_type = MessageType::from_class_method(MessageClass::Request, kind.method());
    let mut message = Message::builder(message_type, id, MessageWriteVec::new());
    let lifetime = if kind == RequestKind::Release { 0 } else { SHORT }.to_be_bytes();
    match kind {
        RequestKind::Binding => {}
        RequestKind::Allocate => {
            message.add_attribute(&RawAttribute::new(REQUESTED_TRANSPORT, &RELAY_UDP))?;
            message.add_attribute(&RawAttribute::new(LIFETIME, &lifetime))?;
        }
        RequestKind::Refresh | RequestKind::Release => {
            message.add_attribute(&RawAttribute::new(LIFETIME, &lifetime))?;
        }
    }
    if let Some(proof) = proof {
        proof.write(&mut message)?;
    }
    message.add_fingerprint()?;
    Ok(Request { bytes: message.finish(), id })
}

/// Whether these bytes are the response with that id. Others may send to the same socket.
pub(super) fn answers(bytes: &[u8], id: TransactionId) -> bool {
    let id = u128::from(id).to_be_bytes();
    bytes.len() >= HEADER && bytes[4..8] == COOKIE && bytes[8..HEADER] == id[4..]
}

/// The bytes after the header of a message on a stream. `None` if it is not STUN.
pub(super) fn body_length(header: &[u8; HEADER]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_stun = header[0] < 4 && header[4..8] == COOKIE && length.is_multiple_of(4);
    is_stun.then_some(length)
}

/// Parses the response to a request.
pub(super) fn read(bytes: &[u8], kind: RequestKind, proof: Option<&Proof>) -> Result<Answer, Unusable> {
    let message = Message::from_bytes(bytes).map_err(|_| Unusable::NotStun)?;
    if !message.has_method(kind.method()) {
        return Err(Unusable::NotStun);
    }
    match message.class() {
        MessageClass::Success => {
            if proof.is_some_and(|proof| message.validate_integrity(&proof.credential).is_err()) {
                return Err(Unusable::Unsigned);
            }
            Ok(Answer::Done { mapped: mapped(&message), relayed: relayed(&message) })
        }
        MessageClass::Error => {
            let code = message.attribute::<ErrorCode>().map_err(|_| Unusable::NotStun)?.code();
            Ok(Answer::Refused { code, challenge: challenge(&message) })
        }
        MessageClass::Request | MessageClass::Indication => Err(Unusable::NotStun),
    }
}

fn mapped(message: &Message<'_>) -> Option<SocketAddr> {
    let attribute = message.attribute::<XorMappedAddress>().ok()?;
    Some(attribute.addr(message.transaction_id()))
}

fn relayed(message: &Message<'_>) -> Option<SocketAddr> {
    let raw = message.raw_attribute(XOR_RELAYED_ADDRESS)?;
    Some(XorSocketAddr::from_raw(&raw).ok()?.addr(message.transaction_id()))
}

fn challenge(message: &Message<'_>) -> Option<Challenge> {
    let realm = message.attribute::<Realm>().ok()?.realm().to_owned();
    let nonce = message.attribute::<Nonce>().ok()?.nonce().to_owned();
    let offered = message.attribute::<PasswordAlgorithms>();
    let offered = offered.map(|offered| offered.algorithms().to_vec()).unwrap_or_default();
    Some(Challenge { realm, nonce, offered })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

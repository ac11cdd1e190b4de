//! STUN messages as the doctor needs them: three questions and what their answers say. Pure; the codec is `stun-types`.
//! It asks as a browser asks: MD5 keys and SHA-1 (RFC 8489 keeps both), and SHA-256 only where a server offers nothing
//! else. What a server says in words (reason phrase, software) is not kept.

use std::net::SocketAddr;

use stun_types::attribute::{
    AttributeType, ErrorCode, Nonce, PasswordAlgorithm, PasswordAlgorithmValue, PasswordAlgorithms,
    RawAttribute, Realm, Username, XorMappedAddress, XorSocketAddr,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials,
    MessageType, MessageWrite, MessageWriteExt, MessageWriteVec, Method, StunWriteError, TransactionId,
};

/// RFC 8656.
const ALLOCATE: Method = Method::new(0x003);
const REFRESH: Method = Method::new(0x004);
const LIFETIME: AttributeType = AttributeType::new(0x000d);
const XOR_RELAYED_ADDRESS: AttributeType = AttributeType::new(0x0016);
const REQUESTED_TRANSPORT: AttributeType = AttributeType::new(0x0019);
/// UDP's protocol number, and three bytes that are kept free.
const RELAY_UDP: [u8; 4] = [17, 0, 0, 0];
/// Seconds of an allocation that is given back at once: the least that is asked for if the giving back is lost.
const SHORT: u32 = 60;
/// Bytes of the part of every message that tells how long the rest is.
pub(super) const HEADER: usize = 20;
const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

/// Somebody who is known to a TURN server.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) username: String,
    pub(super) password: String,
}

/// What a server wants to see in the next question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: String,
    nonce: String,
    /// What it offers to make the key with, where it offers anything.
    offered: Vec<PasswordAlgorithmValue>,
}

/// A credential in the form that one server wants.
pub(super) struct Proof {
    credential: MessageIntegrityCredentials,
    username: String,
    challenge: Challenge,
}

/// A question and how its answer is known.
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    pub(super) id: TransactionId,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was done.
    Done {
        /// Our address as the server sees it.
        mapped: Option<SocketAddr>,
        /// The address that relays for us.
        relayed: Option<SocketAddr>,
    },
    /// It was not.
    Refused {
        /// 300 to 699.
        code: u16,
        /// What to show next time.
        challenge: Option<Challenge>,
    },
}

/// What came is not the answer to the question, or not by whom it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// No STUN, or of another kind.
    NotStun,
    /// A good answer that does not prove that its sender knows the credential.
    Unsigned,
}

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What is my address?
    Binding,
    /// Relay for me.
    Allocate,
    /// Do not relay for me any more.
    Release,
}

impl Question {
    const fn method(self) -> Method {
        match self {
            Self::Binding => BINDING,
            Self::Allocate => ALLOCATE,
            Self::Release => REFRESH,
        }
    }
}

impl Proof {
    pub(super) fn new(credential: &Credential, challenge: Challenge) -> Self {
        let Credential { username, password } = credential.clone();
        let key = LongTermKeyCredentials::new(username.clone(), password, challenge.realm.clone());
        Self { credential: key.into(), username, challenge }
    }

    /// MD5 and SHA-1 unless the server takes SHA-256 alone.
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

/// The bytes of a question. An error: a name or a nonce is longer than STUN allows.
pub(super) fn request(
    question: Question,
    id: TransactionId,
    proof: Option<&Proof>,
) -> Result<Request, StunWriteError> {
    let kind = MessageType::from_class_method(MessageClass::Request, question.method());
    let mut message = Message::builder(kind, id, MessageWriteVec::new());
    let lifetime = if question == Question::Release { 0 } else { SHORT }.to_be_bytes();
    match question {
        Question::Binding => {}
        Question::Allocate => {
            message.add_attribute(&RawAttribute::new(REQUESTED_TRANSPORT, &RELAY_UDP))?;
            message.add_attribute(&RawAttribute::new(LIFETIME, &lifetime))?;
        }
        Question::Release => message.add_attribute(&RawAttribute::new(LIFETIME, &lifetime))?,
    }
    if let Some(proof) = proof {
        proof.write(&mut message)?;
    }
    message.add_fingerprint()?;
    Ok(Request { bytes: message.finish(), id })
}

/// Whether these bytes answer that question at all; on a socket that others can send to, all else is passed over.
pub(super) fn answers(bytes: &[u8], id: TransactionId) -> bool {
    let id = u128::from(id).to_be_bytes();
    bytes.len() >= HEADER && bytes[4..8] == COOKIE && bytes[8..HEADER] == id[4..]
}

/// Bytes behind the header of a message on a stream. `None`: it is no STUN.
pub(super) fn length_behind(header: &[u8; HEADER]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_stun = header[0] < 4 && header[4..8] == COOKIE && length.is_multiple_of(4);
    is_stun.then_some(length)
}

/// What the answer to that question says.
pub(super) fn read(bytes: &[u8], question: Question, proof: Option<&Proof>) -> Result<Answer, Unusable> {
    let message = Message::from_bytes(bytes).map_err(|_| Unusable::NotStun)?;
    if !message.has_method(question.method()) {
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

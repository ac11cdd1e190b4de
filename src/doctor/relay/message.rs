//! The STUN messages of the doctor: four requests and their responses, and a datagram through an allocation. Pure; the codec is
//! `stun-types`. Requests are signed as in browsers: MD5 keys and SHA-1, which RFC 8489 keeps.
//! The texts of a server (reason phrase, software) are dropped.

use std::net::SocketAddr;

use stun_types::attribute::{
    AttributeType, ErrorCode, Nonce, RawAttribute, Realm, Username, XorMappedAddress, XorSocketAddr,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageHeader,
    MessageIntegrityCredentials, MessageType, MessageWrite, MessageWriteExt, MessageWriteVec, Method,
    StunWriteError, TransactionId,
};

use super::error::ProbeError;

/// The methods and attributes of RFC 8656.
const ALLOCATE: Method = Method::new(0x003);
const REFRESH: Method = Method::new(0x004);
const SEND: Method = Method::new(0x006);
const DATA: Method = Method::new(0x007);
const CREATE_PERMISSION: Method = Method::new(0x008);
const LIFETIME: AttributeType = AttributeType::new(0x000d);
const XOR_PEER_ADDRESS: AttributeType = AttributeType::new(0x0012);
const CONTENT: AttributeType = AttributeType::new(0x0013);
const XOR_RELAYED_ADDRESS: AttributeType = AttributeType::new(0x0016);
const REQUESTED_TRANSPORT: AttributeType = AttributeType::new(0x0019);
/// UDP's protocol number, and three reserved bytes.
const RELAY_UDP: [u8; 4] = [17, 0, 0, 0];
/// The requested lifetime in seconds. It is short, because the release may get lost.
const SHORT: u32 = 60;
/// The longest message. Real ones have under 200 bytes.
pub(super) const ANSWER_MAX: usize = 2_048;
/// The content of the datagram.
pub(super) const PAYLOAD: &[u8] = b"turn-broker doctor";

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
}

/// A credential with the challenge of one server.
pub(super) struct LongTermCredential {
    credential: MessageIntegrityCredentials,
    username: String,
    challenge: Challenge,
}

/// The content of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StunResponse {
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

/// The kinds of requests, with their names in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub(super) enum RequestKind {
    /// Asks for our address.
    #[strum(serialize = "the binding request")]
    Binding,
    /// Asks for an allocation, at first without a credential; the server answers with a challenge.
    #[strum(serialize = "the allocation request")]
    Allocate,
    /// Releases the allocation.
    #[strum(serialize = "the release of the allocation")]
    Release,
    /// Asks for a permission: datagrams of this peer shall come through.
    #[strum(serialize = "the permission for a peer")]
    Permit(SocketAddr),
}

impl RequestKind {
    const fn method(self) -> Method {
        match self {
            Self::Binding => BINDING,
            Self::Allocate => ALLOCATE,
            Self::Release => REFRESH,
            Self::Permit(_) => CREATE_PERMISSION,
        }
    }
}

impl LongTermCredential {
    pub(super) fn new(credential: &Credential, challenge: Challenge) -> Self {
        let Credential { username, password } = credential.clone();
        let key = LongTermKeyCredentials::new(username.clone(), password, challenge.realm.clone());
        Self { credential: key.into(), username, challenge }
    }

    fn write(&self, message: &mut MessageWriteVec) -> Result<(), StunWriteError> {
        message.add_attribute(&Username::new(&self.username)?)?;
        message.add_attribute(&Realm::new(&self.challenge.realm)?)?;
        message.add_attribute(&Nonce::new(&self.challenge.nonce)?)?;
        message.add_message_integrity(&self.credential, IntegrityAlgorithm::Sha1)
    }
}

/// The bytes of a request with this id, which its response has too. Fails if a name or a nonce is longer than STUN allows.
pub(super) fn request(
    kind: RequestKind,
    id: TransactionId,
    proof: Option<&LongTermCredential>,
) -> Result<Vec<u8>, StunWriteError> {
    let message_type = MessageType::from_class_method(MessageClass::Request, kind.method());
    let mut message = Message::builder(message_type, id, MessageWriteVec::new());
    match kind {
        RequestKind::Binding => {}
        RequestKind::Allocate => {
            message.add_attribute(&RawAttribute::new(REQUESTED_TRANSPORT, &RELAY_UDP))?;
            message.add_attribute(&RawAttribute::new(LIFETIME, &SHORT.to_be_bytes()))?;
        }
        RequestKind::Release => message.add_attribute(&RawAttribute::new(LIFETIME, &0_u32.to_be_bytes()))?,
        RequestKind::Permit(peer) => {
            message.add_attribute(&XorSocketAddr::new(peer, id).to_raw(XOR_PEER_ADDRESS))?;
        }
    }
    if let Some(proof) = proof {
        proof.write(&mut message)?;
    }
    message.add_fingerprint()?;
    Ok(message.finish())
}

/// The bytes of an indication that lets the allocation send [`PAYLOAD`] to a peer.
pub(super) fn send_indication(peer: SocketAddr, id: TransactionId) -> Result<Vec<u8>, StunWriteError> {
    let message_type = MessageType::from_class_method(MessageClass::Indication, SEND);
    let mut message = Message::builder(message_type, id, MessageWriteVec::new());
    message.add_attribute(&XorSocketAddr::new(peer, id).to_raw(XOR_PEER_ADDRESS))?;
    message.add_attribute(&RawAttribute::new(CONTENT, PAYLOAD))?;
    Ok(message.finish())
}

/// Whether these bytes are an indication that [`PAYLOAD`] came to the allocation.
pub(super) fn is_payload(bytes: &[u8]) -> bool {
    let Ok(message) = Message::from_bytes(bytes) else { return false };
    let content = message.raw_attribute(CONTENT);
    message.class() == MessageClass::Indication
        && message.has_method(DATA)
        && content.is_some_and(|content| content.value[..] == *PAYLOAD)
}

/// Whether these bytes are the response with that id. Others may send to the same socket.
pub(super) fn answers(bytes: &[u8], id: TransactionId) -> bool {
    MessageHeader::from_bytes(bytes).is_ok_and(|header| header.transaction_id() == id)
}

/// Takes the next message out of what was read of a stream. `None` until it is complete.
pub(super) fn take(read: &mut Vec<u8>) -> Result<Option<Vec<u8>>, ProbeError> {
    if read.len() < MessageHeader::LENGTH {
        return Ok(None);
    }
    let header = MessageHeader::from_bytes(read).map_err(|_| ProbeError::NotStun)?;
    let length = MessageHeader::LENGTH + usize::from(header.data_length());
    if length > ANSWER_MAX {
        return Err(ProbeError::NotStun);
    }
    if read.len() < length {
        return Ok(None);
    }
    Ok(Some(read.drain(..length).collect()))
}

/// Parses the response to a request.
pub(super) fn read(
    bytes: &[u8],
    kind: RequestKind,
    proof: Option<&LongTermCredential>,
) -> Result<StunResponse, ProbeError> {
    let message = Message::from_bytes(bytes).map_err(|_| ProbeError::NotStun)?;
    if !message.has_method(kind.method()) {
        return Err(ProbeError::NotStun);
    }
    match message.class() {
        MessageClass::Success => {
            if proof.is_some_and(|proof| message.validate_integrity(&proof.credential).is_err()) {
                return Err(ProbeError::Unsigned);
            }
            let id = message.transaction_id();
            let mapped = message.attribute::<XorMappedAddress>().ok().map(|mapped| mapped.addr(id));
            let relayed = message.raw_attribute(XOR_RELAYED_ADDRESS);
            let relayed = relayed.and_then(|raw| Some(XorSocketAddr::from_raw(&raw).ok()?.addr(id)));
            Ok(StunResponse::Done { mapped, relayed })
        }
        MessageClass::Error => {
            let code = message.attribute::<ErrorCode>().map_err(|_| ProbeError::NotStun)?.code();
            Ok(StunResponse::Refused { code, challenge: challenge(&message) })
        }
        MessageClass::Request | MessageClass::Indication => Err(ProbeError::NotStun),
    }
}

fn challenge(message: &Message<'_>) -> Option<Challenge> {
    let realm = message.attribute::<Realm>().ok()?.realm().to_owned();
    let nonce = message.attribute::<Nonce>().ok()?.nonce().to_owned();
    Some(Challenge { realm, nonce })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
    const ID: u128 = 0x0102_0304_0506_0708_090a_0b0c;

    fn id() -> TransactionId {
        ID.into()
    }

    /// A server's response, made by the codec.
    fn answer(kind: RequestKind, class: MessageClass) -> Vec<u8> {
        let message_type = MessageType::from_class_method(class, kind.method());
        Message::builder(message_type, id(), MessageWriteVec::new()).finish()
    }

    #[test]
    fn bytes_that_are_not_the_response_are_ignored() {
        let is_other =
            |bytes: &[u8]| matches!(read(bytes, RequestKind::Allocate, None), Err(ProbeError::NotStun));
        assert!(is_other(&answer(RequestKind::Binding, MessageClass::Success)));
        let request = request(RequestKind::Allocate, id(), None).unwrap();
        assert!(is_other(&request), "the request itself");
        for bytes in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0; 20]] {
            assert!(is_other(bytes) && !answers(bytes, id()));
        }
    }

    #[test]
    fn a_stream_is_cut_into_its_messages() {
        let [first, second] =
            [RequestKind::Allocate, RequestKind::Release].map(|kind| answer(kind, MessageClass::Success));
        let (mut read, mut taken) = (Vec::new(), Vec::new());
        for byte in [&first[..], &second].concat() {
            read.push(byte);
            taken.extend(take(&mut read).unwrap());
        }
        assert_eq!((taken, read.len()), (vec![first, second], 0));
        assert!(take(&mut b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).is_err());
    }

    #[test]
    fn only_an_indication_with_the_payload_is_taken_for_it() {
        let peer = "192.0.2.7:5000".parse().unwrap();
        let sent = send_indication(peer, id()).unwrap();
        let mut came = sent.clone();
        came[..2].copy_from_slice(&MessageType::from_class_method(MessageClass::Indication, DATA).to_bytes());
        assert!(is_payload(&came) && !is_payload(&sent) && !is_payload(PAYLOAD), "{came:?}");
        came.truncate(came.len() - 1);
        assert!(!is_payload(&came));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(kind in 0_u16..0x4000, attributes: Vec<u8>, bytes: Vec<u8>) {
            let length = u16::try_from(attributes.len()).unwrap();
            let header = [&kind.to_be_bytes()[..], &length.to_be_bytes(), &COOKIE, &[7; 12]].concat();
            let message = [header, attributes].concat();
            for kind in [RequestKind::Binding, RequestKind::Allocate, RequestKind::Release] {
                for bytes in [&message, &bytes] {
                    let _ = (read(bytes, kind, None), answers(bytes, id()), is_payload(bytes), take(&mut bytes.clone()));
                }
            }
        }

        #[test]
        fn no_attributes_replace_the_signature_of_a_success(attributes: Vec<u8>) {
            let credential = Credential { username: "1795153944:alice".into(), password: "hush-password".into() };
            let challenge = Challenge { realm: "relay.test".into(), nonce: "nonce-1".into() };
            let proof = LongTermCredential::new(&credential, challenge);
            let kind = MessageType::from_class_method(MessageClass::Success, ALLOCATE).to_bytes();
            let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
            let message = [&kind[..], &length, &COOKIE, &[7; 12], &attributes].concat();
            prop_assert!(read(&message, RequestKind::Allocate, Some(&proof)).is_err());
        }
    }
}

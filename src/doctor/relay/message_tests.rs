use proptest::prelude::*;

use super::*;

const ID: u128 = 0x0102_0304_0506_0708_090a_0b0c;

fn id() -> TransactionId {
    ID.into()
}

fn credential() -> Credential {
    Credential { username: "1795153944:alice".into(), password: "hush-password".into() }
}

fn challenge() -> Challenge {
    Challenge { realm: "relay.test".into(), nonce: "nonce-1".into() }
}

fn key(challenge: &Challenge) -> MessageIntegrityCredentials {
    let Credential { username, password } = credential();
    LongTermKeyCredentials::new(username, password, challenge.realm.clone()).into()
}

/// A server's response, made by the codec.
fn answer(kind: RequestKind, class: MessageClass, fill: impl FnOnce(&mut MessageWriteVec)) -> Vec<u8> {
    let message_type = MessageType::from_class_method(class, kind.method());
    let mut message = Message::builder(message_type, id(), MessageWriteVec::new());
    fill(&mut message);
    message.finish()
}

fn refusal(code: u16, with_challenge: bool) -> Vec<u8> {
    answer(RequestKind::Allocate, MessageClass::Error, |message| {
        message.add_attribute(&ErrorCode::new(code, "hush reason").unwrap()).unwrap();
        if with_challenge {
            message.add_attribute(&Realm::new("relay.test").unwrap()).unwrap();
            message.add_attribute(&Nonce::new("nonce-1").unwrap()).unwrap();
        }
    })
}

#[test]
fn the_first_request_has_no_credential_and_asks_for_udp() {
    let request = request(RequestKind::Allocate, id(), None).unwrap();
    let message = Message::from_bytes(&request.bytes).unwrap();
    assert!(message.has_class(MessageClass::Request) && message.has_method(ALLOCATE));
    assert_eq!(&*message.raw_attribute(REQUESTED_TRANSPORT).unwrap().value, &RELAY_UDP);
    assert!(!message.has_attribute(AttributeType::new(0x0006)), "no user name");
    assert!(answers(&request.bytes, id()));
    assert!(!answers(&request.bytes, 7.into()), "the id of another request");
}

#[test]
fn a_challenge_is_answered_with_a_valid_signature() {
    let asked = read(&refusal(401, true), RequestKind::Allocate, None).unwrap();
    let challenge = challenge();
    assert_eq!(asked, StunResponse::Refused { code: 401, challenge: Some(challenge.clone()) });
    let proof = LongTermCredential::new(&credential(), challenge.clone());
    for kind in [RequestKind::Allocate, RequestKind::Release] {
        let request = request(kind, id(), Some(&proof)).unwrap();
        let message = Message::from_bytes(&request.bytes).unwrap();
        assert_eq!(message.validate_integrity(&key(&challenge)).unwrap(), IntegrityAlgorithm::Sha1);
        assert_eq!(message.attribute::<Username>().unwrap().username(), "1795153944:alice");
        assert!(!request.bytes.windows(4).any(|bytes| bytes == b"hush"), "no password on the wire");
    }
    let release = request(RequestKind::Release, id(), Some(&proof)).unwrap();
    let message = Message::from_bytes(&release.bytes).unwrap();
    assert_eq!(&*message.raw_attribute(LIFETIME).unwrap().value, &[0; 4]);
}

#[test]
fn addresses_are_read_and_a_success_must_be_signed() {
    let challenge = challenge();
    let proof = LongTermCredential::new(&credential(), challenge.clone());
    let (mapped, relayed) = ("192.0.2.7:5000", "198.51.100.9:49152");
    let fill = |message: &mut MessageWriteVec| {
        let own = XorMappedAddress::new(mapped.parse().unwrap(), id());
        message.add_attribute(&own).unwrap();
        let relay = XorSocketAddr::new(relayed.parse().unwrap(), id());
        message.add_attribute(&relay.to_raw(XOR_RELAYED_ADDRESS)).unwrap();
    };
    let unsigned = answer(RequestKind::Allocate, MessageClass::Success, fill);
    let signed = answer(RequestKind::Allocate, MessageClass::Success, |message| {
        fill(message);
        message.add_message_integrity(&key(&challenge), IntegrityAlgorithm::Sha1).unwrap();
    });
    let expected = StunResponse::Done { mapped: mapped.parse().ok(), relayed: relayed.parse().ok() };
    assert_eq!(read(&signed, RequestKind::Allocate, Some(&proof)).unwrap(), expected);
    let refused = read(&unsigned, RequestKind::Allocate, Some(&proof));
    assert!(matches!(refused, Err(ProbeError::Unsigned)), "{refused:?}");
    let open = read(&unsigned, RequestKind::Allocate, None).unwrap();
    assert_eq!(open, expected, "without a credential no signature is expected");
}

#[test]
fn an_error_without_a_challenge_is_only_a_code() {
    let read = read(&refusal(486, false), RequestKind::Allocate, None);
    assert_eq!(read.unwrap(), StunResponse::Refused { code: 486, challenge: None });
}

#[test]
fn bytes_that_are_not_the_response_are_ignored() {
    let is_other =
        |bytes: &[u8]| matches!(read(bytes, RequestKind::Allocate, None), Err(ProbeError::NotStun));
    assert!(is_other(&answer(RequestKind::Binding, MessageClass::Success, |_| {})));
    let request = request(RequestKind::Allocate, id(), None).unwrap();
    assert!(is_other(&request.bytes), "the request itself");
    for bytes in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0; 20]] {
        assert!(is_other(bytes) && !answers(bytes, id()));
    }
}

#[test]
fn headers_split_a_stream_into_messages() {
    let request = request(RequestKind::Binding, id(), None).unwrap();
    let header = |bytes: &[u8]| <[u8; HEADER]>::try_from(&bytes[..HEADER]).unwrap();
    assert_eq!(body_length(&header(&request.bytes)), Some(request.bytes.len() - HEADER));
    assert_eq!(body_length(&header(b"HTTP/1.1 400 Bad Request\r\n")), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(kind in 0_u16..0x4000, attributes: Vec<u8>, bytes: Vec<u8>) {
        let length = u16::try_from(attributes.len()).unwrap();
        let header = [&kind.to_be_bytes()[..], &length.to_be_bytes(), &COOKIE, &[7; 12]].concat();
        let message = [header, attributes].concat();
        for kind in [RequestKind::Binding, RequestKind::Allocate, RequestKind::Release] {
            for bytes in [&message, &bytes] {
                let _ = (read(bytes, kind, None), answers(bytes, id()));
            }
        }
        let _ = body_length(&<[u8; HEADER]>::try_from(&message[..HEADER]).unwrap());
    }

    #[test]
    fn no_attributes_replace_the_signature_of_a_success(attributes: Vec<u8>) {
        let challenge = challenge();
        let proof = LongTermCredential::new(&credential(), challenge);
        let kind = MessageType::from_class_method(MessageClass::Success, ALLOCATE).to_bytes();
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        let message = [&kind[..], &length, &COOKIE, &[7; 12], &attributes].concat();
        prop_assert!(read(&message, RequestKind::Allocate, Some(&proof)).is_err());
    }
}

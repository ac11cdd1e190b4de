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
    assert!(is_other(&request.bytes), "the request itself");
    for bytes in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0; 20]] {
        assert!(is_other(bytes) && !answers(bytes, id()));
    }
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
        let credential = Credential { username: "1795153944:alice".into(), password: "hush-password".into() };
        let challenge = Challenge { realm: "relay.test".into(), nonce: "nonce-1".into() };
        let proof = LongTermCredential::new(&credential, challenge);
        let kind = MessageType::from_class_method(MessageClass::Success, ALLOCATE).to_bytes();
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        let message = [&kind[..], &length, &COOKIE, &[7; 12], &attributes].concat();
        prop_assert!(read(&message, RequestKind::Allocate, Some(&proof)).is_err());
    }
}

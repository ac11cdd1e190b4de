//! The kind of a client's datagram, by its STUN header (RFC 8489), and who signed it. Pure.

use stun_types::message::{LongTermKeyCredentials, Message, MessageIntegrityCredentials};

/// The fixed part of a STUN message.
const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The message type of an Allocate request.
const ALLOCATE_REQUEST: u16 = 0x0003;
/// The class bits of a message type. A request has neither.
const CLASS_BITS: u16 = 0x0110;

/// The kind of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatagramKind {
    /// An Allocate request.
    Allocate,
    /// Any other request.
    Request,
    /// Channel data, an indication, or an unknown format.
    Other,
}

/// The kind of a datagram.
pub(crate) fn kind(datagram: &[u8]) -> DatagramKind {
    let Some((header, _)) = datagram.split_at_checked(HEADER_BYTES) else { return DatagramKind::Other };
    let message_type = u16::from_be_bytes([header[0], header[1]]);
    // The two highest bits are zero in STUN and not in channel data.
    if header[4..8] != MAGIC_COOKIE || message_type > 0x3fff || message_type & CLASS_BITS != 0 {
        return DatagramKind::Other;
    }
    if message_type == ALLOCATE_REQUEST { DatagramKind::Allocate } else { DatagramKind::Request }
}

/// The key that the requests of one user name are signed with.
pub(crate) fn signer(name: &str, password: String, realm: &str) -> MessageIntegrityCredentials {
    LongTermKeyCredentials::new(name.to_owned(), password, realm.to_owned()).into()
}

/// Whether this signer made the request. The source address of any other request can be forged.
pub(crate) fn is_signed_by(datagram: &[u8], signer: &MessageIntegrityCredentials) -> bool {
    Message::from_bytes(datagram).is_ok_and(|message| message.validate_integrity(signer).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stun_types::message::{BINDING, IntegrityAlgorithm, MessageWrite, MessageWriteExt, MessageWriteVec};

    fn message(message_type: u16) -> Vec<u8> {
        let mut bytes = message_type.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE);
        bytes.extend([7; 12]);
        bytes
    }

    #[test]
    fn allocate_requests_other_requests_and_data_are_distinguished() {
        for (message_type, expected) in [
            (0x0003, DatagramKind::Allocate),
            (0x0004, DatagramKind::Request),
            (0x0008, DatagramKind::Request),
            (0x0009, DatagramKind::Request),
            (0x0001, DatagramKind::Request),
            (0x0016, DatagramKind::Other),
            (0x0103, DatagramKind::Other),
            (0x0113, DatagramKind::Other),
            (0x4000, DatagramKind::Other),
        ] {
            assert_eq!(kind(&message(message_type)), expected, "{message_type:#06x}");
        }
        assert_eq!(kind(&message(0x0003)[..19]), DatagramKind::Other, "truncated");
        let mut old = message(0x0003);
        old[4] = 0;
        assert_eq!(kind(&old), DatagramKind::Other, "another cookie");
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(datagram: Vec<u8>) {
            let _ = kind(&datagram);
        }

        #[test]
        fn no_datagram_passes_as_signed_and_none_makes_the_check_panic(body: Vec<u8>) {
            prop_assert!(!is_signed_by(&body, &alice("secret")));
            let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
            let attributes = [&[0, 1][..], &length, &MAGIC_COOKIE, &[7; 12], &body].concat();
            prop_assert!(!is_signed_by(&attributes, &alice("secret")));
        }

        #[test]
        fn a_changed_byte_or_a_cut_off_end_voids_the_signature(at in 0_usize..44, flip in 1_u8.., length in 0_usize..44) {
            let good = signed("secret");
            let mut changed = good.clone();
            changed[at] ^= flip;
            // The signature covers a length of its own, not the one in the header.
            prop_assert!(LENGTH.contains(&at) || !is_signed_by(&changed, &alice("secret")));
            prop_assert!(!is_signed_by(&good[..length], &alice("secret")));
        }
    }

    /// The place of the length in a header.
    const LENGTH: std::ops::Range<usize> = 2..4;

    fn alice(password: &str) -> MessageIntegrityCredentials {
        signer("alice", password.to_owned(), "realm")
    }

    /// A header of 20 bytes and a signature of 24.
    fn signed(password: &str) -> Vec<u8> {
        let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
        message.add_message_integrity(&alice(password), IntegrityAlgorithm::Sha1).unwrap();
        message.finish()
    }

    #[test]
    fn only_the_password_makes_a_signature() {
        assert!(is_signed_by(&signed("secret"), &alice("secret")));
        assert!(!is_signed_by(&signed("guess"), &alice("secret")));
        assert!(!is_signed_by(&message(0x0001), &alice("secret")), "no signature");
    }
}

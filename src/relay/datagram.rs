//! What a client's datagram is, as far as the relay has to know before it is handled: RFC 8489's header. Pure.

/// The fixed part of a STUN message.
const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Method and class of an Allocate request.
const ALLOCATE_REQUEST: u16 = 0x0003;
/// The bits of the type that tell its class; a request has neither.
const CLASS_BITS: u16 = 0x0110;

/// A kind of datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Asks for an allocation.
    Allocate,
    /// Any other request.
    Request,
    /// Data, or nothing that is known.
    Other,
}

/// Which kind it is.
pub(super) fn kind(datagram: &[u8]) -> Kind {
    let Some((header, _)) = datagram.split_at_checked(HEADER_BYTES) else { return Kind::Other };
    let message_type = u16::from_be_bytes([header[0], header[1]]);
    // The two highest bits are zero in STUN; in channel data they are not.
    if header[4..8] != MAGIC_COOKIE || message_type > 0x3fff || message_type & CLASS_BITS != 0 {
        return Kind::Other;
    }
    if message_type == ALLOCATE_REQUEST { Kind::Allocate } else { Kind::Request }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(message_type: u16) -> Vec<u8> {
        let mut bytes = message_type.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE);
        bytes.extend([7; 12]);
        bytes
    }

    #[test]
    fn requests_are_told_from_data_and_allocations_from_the_rest() {
        for (message_type, expected) in [
            (0x0003, Kind::Allocate),
            (0x0004, Kind::Request),
            (0x0008, Kind::Request),
            (0x0009, Kind::Request),
            (0x0001, Kind::Request),
            (0x0016, Kind::Other),
            (0x0103, Kind::Other),
            (0x0113, Kind::Other),
            (0x4000, Kind::Other),
        ] {
            assert_eq!(kind(&message(message_type)), expected, "{message_type:#06x}");
        }
        assert_eq!(kind(&message(0x0003)[..19]), Kind::Other, "cut short");
        let mut old = message(0x0003);
        old[4] = 0;
        assert_eq!(kind(&old), Kind::Other, "another cookie");
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(datagram: Vec<u8>) {
            let _ = kind(&datagram);
        }
    }
}

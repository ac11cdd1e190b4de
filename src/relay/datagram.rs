//! The kind of a client's datagram, by its STUN header (RFC 8489). Pure.

/// The fixed part of a STUN message.
const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The message type of an Allocate request.
const ALLOCATE_REQUEST: u16 = 0x0003;
/// The class bits of a message type. A request has neither.
const CLASS_BITS: u16 = 0x0110;

/// The kind of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An Allocate request.
    Allocate,
    /// Any other request.
    Request,
    /// Channel data, an indication, or an unknown format.
    Other,
}

/// The kind of a datagram.
pub(super) fn kind(datagram: &[u8]) -> Kind {
    let Some((header, _)) = datagram.split_at_checked(HEADER_BYTES) else { return Kind::Other };
    let message_type = u16::from_be_bytes([header[0], header[1]]);
    // The two highest bits are zero in STUN and not in channel data.
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
    fn allocate_requests_other_requests_and_data_are_distinguished() {
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
        assert_eq!(kind(&message(0x0003)[..19]), Kind::Other, "truncated");
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

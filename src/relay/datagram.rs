//! What a client's datagram is, as far as the relay has to know before it is handled: RFC 8489's header and attributes,
//! read without trust in any length. Pure.

/// The fixed part of a STUN message.
const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Method and class of an Allocate request.
const ALLOCATE_REQUEST: u16 = 0x0003;
/// The bits of the type that tell its class; a request has neither.
const CLASS_BITS: u16 = 0x0110;
/// EVEN-PORT and RESERVATION-TOKEN: a pair of ports for RTP and RTCP, which no browser asks for.
const PORT_PAIR_ATTRIBUTES: [u16; 2] = [0x0018, 0x0022];

/// A kind of datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Asks for an allocation.
    Allocate,
    /// Asks for a pair of ports.
    PortPair,
    /// Any other request.
    Request,
    /// Data, or nothing that is known.
    Other,
}

/// Which kind it is.
pub(super) fn kind(datagram: &[u8]) -> Kind {
    let Some((header, attributes)) = datagram.split_at_checked(HEADER_BYTES) else { return Kind::Other };
    let message_type = u16::from_be_bytes([header[0], header[1]]);
    // The two highest bits are zero in STUN; in channel data they are not.
    if header[4..8] != MAGIC_COOKIE || message_type > 0x3fff || message_type & CLASS_BITS != 0 {
        return Kind::Other;
    }
    if message_type != ALLOCATE_REQUEST {
        return Kind::Request;
    }
    let mut types = AttributeTypes(attributes);
    if types.any(|found| PORT_PAIR_ATTRIBUTES.contains(&found)) { Kind::PortPair } else { Kind::Allocate }
}

/// The types of a message's attributes, up to the first that is cut short.
struct AttributeTypes<'a>(&'a [u8]);

impl Iterator for AttributeTypes<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        // Values are padded to four bytes; the last one's padding may be missing.
        self.0 = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(u16::from_be_bytes([head[0], head[1]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(message_type: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = message_type.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE);
        bytes.extend([7; 12]);
        for (name, value) in attributes {
            bytes.extend(name.to_be_bytes());
            bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
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
            assert_eq!(kind(&message(message_type, &[])), expected, "{message_type:#06x}");
        }
        assert_eq!(kind(&message(0x0003, &[])[..19]), Kind::Other, "cut short");
        let mut old = message(0x0003, &[]);
        old[4] = 0;
        assert_eq!(kind(&old), Kind::Other, "another cookie");
    }

    #[test]
    fn a_pair_of_ports_is_found_wherever_it_is_asked_for() {
        let user: (u16, &[u8]) = (0x0006, b"odd");
        assert_eq!(kind(&message(0x0003, &[user, (0x0018, &[0x80])])), Kind::PortPair);
        assert_eq!(kind(&message(0x0003, &[user, (0x0022, &[1; 8]), user])), Kind::PortPair);
        assert_eq!(kind(&message(0x0003, &[user, (0x0019, &[17, 0, 0, 0])])), Kind::Allocate);
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(datagram: Vec<u8>, attributes: Vec<u8>) {
            let _ = kind(&datagram);
            let _ = kind(&[message(0x0003, &[]), attributes].concat());
        }
    }
}

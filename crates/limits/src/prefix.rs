//! Address prefixes: what identifies a client in a table, and the networks around it.

use std::net::{IpAddr, Ipv4Addr};

use turn_budget::{ClientKey, canonical};

use crate::table::Key;

/// The length of the wider IPv6 prefix that has an allowance, too: what a provider assigns to one site.
const GROUP_LENGTH: u8 = 48;
/// The length of the prefix that has all IPv4 addresses, `::ffff:0:0/96`.
const IPV4_LENGTH: u8 = 96;

/// An IPv4 or IPv6 prefix. The bits after it are zero. IPv4 addresses are those of `::ffff:0:0/96`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    bits: u128,
    length: u8,
}

impl Prefix {
    /// The client at an address: an IPv4 address, or the prefix of `ipv6_length` bits around an IPv6 address.
    pub fn of(address: IpAddr, ipv6_length: u8) -> Self {
        match canonical(address) {
            IpAddr::V4(address) => Self::ipv4(address),
            IpAddr::V6(address) => Self::masked(address.to_bits(), ipv6_length.min(128)),
        }
    }

    /// The /48 around an IPv6 client. `None` for IPv4, and if the client's own prefix is at least as wide.
    pub(crate) fn group(self) -> Option<Self> {
        if self.is_ipv4() { None } else { self.around(GROUP_LENGTH) }
    }

    pub(crate) fn is_ipv4(self) -> bool {
        self.length >= IPV4_LENGTH
            && Self::masked(self.bits, IPV4_LENGTH) == Self::masked(0xffff << 32, IPV4_LENGTH)
    }

    fn ipv4(address: Ipv4Addr) -> Self {
        Self::masked(address.to_ipv6_mapped().to_bits(), 128)
    }

    /// The wider prefix of this length. `None` if it is not wider.
    fn around(self, length: u8) -> Option<Self> {
        (length < self.length).then(|| Self::masked(self.bits, length))
    }

    /// The first `length` of these bits.
    fn masked(bits: u128, length: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Self { bits: bits & mask, length }
    }
}

impl Key for Prefix {
    /// For IPv4 a /8 and a /16, for IPv6 a /32 and a /48. The widest is the network of a whole provider, so it may have 64 times the rows:
    /// a flood from a few of the provider's customers must not lock out the others.
    fn networks(self) -> impl Iterator<Item = (Self, usize)> {
        let levels = if self.is_ipv4() {
            [(IPV4_LENGTH + 8, 64), (IPV4_LENGTH + 16, 1)]
        } else {
            [(32, 64), (GROUP_LENGTH, 1)]
        };
        levels.into_iter().filter_map(move |(length, times)| Some((self.around(length)?, times)))
    }
}

impl From<ClientKey> for Prefix {
    fn from(client: ClientKey) -> Self {
        let bits = |prefix| u128::from(u64::from_be_bytes(prefix)) << 64;
        match client {
            ClientKey::V4(address) => Self::ipv4(address),
            ClientKey::V6(prefix) => Self::masked(bits(prefix), 64),
            ClientKey::V6Group(prefix) => Self::masked(bits(prefix), GROUP_LENGTH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, ipv6_length: u8) -> Prefix {
        Prefix::of(address.parse().unwrap(), ipv6_length)
    }

    #[test]
    fn an_ipv6_client_is_its_prefix_and_also_counts_in_the_48_around_it() {
        let group = client("2001:db8:1::", 48);
        for length in [49, 64, 128] {
            assert_eq!(client("2001:db8:1:2:3:4:5:6", length).group(), Some(group), "{length}");
        }
        assert_eq!(client("2001:db8:1:2:3:4:5:6", 64), client("2001:db8:1:2::", 64));
        assert_ne!(client("2001:db8:1:2:3:4:5:6", 128), client("2001:db8:1:2::", 128));
    }

    #[test]
    fn an_ipv4_client_and_an_ipv6_client_of_48_bits_or_fewer_have_no_group() {
        for (address, length) in
            [("203.0.113.9", 64), ("::ffff:203.0.113.9", 64), ("2001:db8:1:2::", 48), ("::", 1)]
        {
            assert_eq!(client(address, length).group(), None, "{address}/{length}");
        }
        assert_eq!(client("::ffff:203.0.113.9", 1), client("203.0.113.9", 64));
        assert_ne!(client("203.0.113.9", 64), client("203.0.113.8", 64));
    }

    #[test]
    fn a_client_of_the_ledger_has_the_same_prefix() {
        for address in ["203.0.113.9", "2001:db8:1:2:3:4:5:6"] {
            let of_ledger = ClientKey::of(address.parse().unwrap());
            assert_eq!(Prefix::from(of_ledger), client(address, 64));
            assert_eq!(of_ledger.wider().map(Prefix::from), client(address, 64).group());
        }
    }
}

//! Client keys: which addresses count as one client. Tests: below.
//! An IPv4 address is one client. In IPv6 one client has a whole /64, and a /48 is a group of clients with four times the allowances of
//! one. Each key has at most one wider key above it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde_plain::{derive_deserialize_from_fromstr, derive_serialize_from_display};

/// How many times as much a group of clients may use as one client.
pub const GROUP_FACTOR: u32 = 4;
/// The allowances of an address for grants of users, as a multiple of those for grants without a user.
pub const USERS_FACTOR: u32 = 10;

/// The first 64 bits of an IPv6 address. They are bytes, because a key in a row takes less memory if it needs no alignment.
type Prefix = [u8; 8];

/// A client, or a group of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKey {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 /64: the first 64 bits of an address.
    V6(Prefix),
    /// An IPv6 /48: the first 64 bits of an address, of which the last 16 are zero.
    V6Group(Prefix),
}

impl ClientKey {
    /// The client with this address.
    pub fn of(address: IpAddr) -> Self {
        match canonical(address) {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(first_half(address)),
        }
    }

    /// The group that this client belongs to; `None` for an IPv4 address and for a group.
    pub fn wider(self) -> Option<Self> {
        match self {
            Self::V6(prefix) => Some(Self::V6Group(group(prefix))),
            Self::V4(_) | Self::V6Group(_) => None,
        }
    }

    /// This key, then that of the group that it belongs to, if any.
    pub fn with_wider(self) -> impl Iterator<Item = Self> {
        std::iter::once(self).chain(self.wider())
    }

    /// The allowances of this key, as a multiple of those of one client.
    pub fn factor(self) -> u32 {
        match self {
            Self::V4(_) | Self::V6(_) => 1,
            Self::V6Group(_) => GROUP_FACTOR,
        }
    }
}

/// The address as IPv4 if an IPv6 one only contains it: IPv4-mapped, or of NAT64 (`64:ff9b::/96`), behind which all callers are one /64.
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let is_nat64 = v6.to_bits() >> 32 == 0x0064_ff9b << 64;
    let mapped = if is_nat64 { 0xffff << 32 | v6.to_bits() & 0xffff_ffff } else { v6.to_bits() };
    Ipv6Addr::from_bits(mapped).to_canonical()
}

fn first_half(address: Ipv6Addr) -> Prefix {
    address.octets().first_chunk().copied().unwrap_or_default()
}

/// The /48 of a /64.
fn group(prefix: Prefix) -> Prefix {
    (u64::from_be_bytes(prefix) & !0xffff).to_be_bytes()
}

fn first_address(prefix: Prefix) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(u64::from_be_bytes(prefix)) << 64)
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(prefix) => write!(f, "{}/64", first_address(*prefix)),
            Self::V6Group(prefix) => write!(f, "{}/48", first_address(*prefix)),
        }
    }
}

/// The text is not a client key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IPv4 address, an IPv6 /64 or an IPv6 /48")]
pub struct NotAClientKey;

impl FromStr for ClientKey {
    type Err = NotAClientKey;

    fn from_str(text: &str) -> Result<Self, NotAClientKey> {
        let prefix_of = |text: &str| text.parse().map(first_half).map_err(|_| NotAClientKey);
        match text.split_once('/') {
            None => text.parse().map(Self::V4).map_err(|_| NotAClientKey),
            Some((address, "64")) => prefix_of(address).map(Self::V6),
            Some((address, "48")) => prefix_of(address).map(|prefix| Self::V6Group(group(prefix))),
            Some(_) => Err(NotAClientKey),
        }
    }
}

derive_serialize_from_display!(ClientKey);
derive_deserialize_from_fromstr!(ClientKey, "an IPv4 address, an IPv6 /64 or an IPv6 /48");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    fn key(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_prefix_of_64_bits() {
        assert_ne!(key("203.0.113.9"), key("203.0.113.10"));
        assert_eq!(["::ffff:203.0.113.9", "64:ff9b::203.0.113.9"].map(key), [key("203.0.113.9"); 2]);
        assert!(
            ["64:ff9b:1::203.0.113.9", "64:ff9b::1:203.0.113.9"]
                .map(key)
                .iter()
                .all(|key| key.wider().is_some())
        );
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:3:4:5:6"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }

    #[test]
    fn the_prefixes_of_a_48_form_one_group() {
        assert_eq!(key("2001:db8:1:2::1").wider(), key("2001:db8:1:3::1").wider());
        assert_ne!(key("2001:db8:1:2::1").wider(), key("2001:db8:2:2::1").wider());
        // A group is not its first client.
        assert_ne!(key("2001:db8:1::1"), key("2001:db8:1::1").wider().unwrap());
        assert_eq!(key("203.0.113.9").wider(), None);
    }

    #[test]
    fn keys_have_a_readable_form() {
        assert_eq!(key("203.0.113.9").to_string(), "203.0.113.9");
        assert_eq!(key("2001:db8:1:2:3::").to_string(), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:3::").wider().unwrap().to_string(), "2001:db8:1::/48");
        for text in ["", "203.0.113.9/32", "2001:db8::", "2001:db8::/63", "x/64"] {
            assert_eq!(text.parse::<ClientKey>(), Err(NotAClientKey), "{text}");
        }
    }

    #[test]
    fn a_key_is_read_back_from_its_text() {
        for (_, mut dice) in Dice::cases(256) {
            let (high, low) = (u128::from(dice.roll()), u128::from(dice.roll()));
            let v4 = Ipv4Addr::from_bits(u32::try_from(dice.below(1 << 32)).unwrap());
            for key in [ClientKey::of(Ipv6Addr::from_bits(high << 64 | low).into()), ClientKey::of(v4.into())]
            {
                for key in std::iter::once(key).chain(key.wider()) {
                    assert_eq!(key.to_string().parse(), Ok(key));
                }
            }
        }
    }
}

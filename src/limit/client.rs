//! The identity of a client: an IPv4 address or an IPv6 prefix. Each client has an allowance. The wide IPv6 prefix around a
//! client has another one, because all addresses in it usually belong to one site. Pure.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The wide IPv6 prefix: what a provider assigns to one site.
pub const WIDE_PREFIX: u8 = 48;
/// How many times a client's allowance a wide prefix has.
pub const WIDE_FACTOR: u32 = turn_ledger::GROUP_FACTOR;

/// An IPv4 address or an IPv6 prefix: a client, or the wide prefix around one. Host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(IpNet);

/// The keys that one address counts under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKeys {
    /// The client.
    pub client: ClientKey,
    /// The wide prefix around an IPv6 client, with [`WIDE_FACTOR`] times its allowance. `None` for IPv4, and if the client's
    /// own prefix is at least as wide.
    pub wide: Option<ClientKey>,
}

impl ClientKeys {
    /// The keys of `address`. An IPv6 client is the prefix of `ipv6_prefix` bits around it.
    #[must_use]
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { ipv6_prefix.min(128) };
        let client = ClientKey::around(address, prefix);
        Self { client, wide: client.within(WIDE_PREFIX).filter(|_| address.is_ipv6()) }
    }
}

impl ClientKey {
    /// Whether this is an IPv4 address.
    #[must_use]
    pub const fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// The prefix of `bits` bits around this key. `None` unless it is wider than the key.
    #[must_use]
    pub fn within(self, bits: u8) -> Option<Self> {
        (bits < self.0.prefix_len()).then(|| Self::around(self.0.addr(), bits))
    }

    /// A prefix has at most as many bits as its address.
    fn around(address: IpAddr, bits: u8) -> Self {
        let net = match address {
            IpAddr::V4(address) => IpNet::V4(Ipv4Net::new_assert(address, bits)),
            IpAddr::V6(address) => IpNet::V6(Ipv6Net::new_assert(address, bits)),
        };
        Self(net.trunc())
    }
}

impl std::fmt::Display for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(address: &str, ipv6_prefix: u8) -> (String, Option<String>) {
        let keys = ClientKeys::of(address.parse().unwrap(), ipv6_prefix);
        (keys.client.to_string(), keys.wide.map(|wide| wide.to_string()))
    }

    #[test]
    fn an_ipv6_client_is_its_prefix_and_also_counts_in_the_48_around_it() {
        let wide = Some("2001:db8:1::/48".to_owned());
        assert_eq!(keys("2001:db8:1:2:3:4:5:6", 64), ("2001:db8:1:2::/64".into(), wide.clone()));
        assert_eq!(keys("2001:db8:1:2:3:4:5:6", 128), ("2001:db8:1:2:3:4:5:6/128".into(), wide));
    }

    #[test]
    fn an_ipv4_client_and_an_ipv6_client_of_48_bits_or_fewer_have_no_wide_prefix() {
        assert_eq!(keys("203.0.113.9", 64), ("203.0.113.9/32".into(), None));
        assert_eq!(keys("2001:db8:1:2::", 48), ("2001:db8:1::/48".into(), None));
        assert_eq!(keys("2001:db8:1:2::", 1), ("::/1".into(), None));
    }
}

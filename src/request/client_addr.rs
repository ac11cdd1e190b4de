//! The client's address: the peer of the socket, or if that is a trusted proxy, an entry of `X-Forwarded-For`. Proxies append
//! to the header, so it is read from the right. The first address that is not a trusted proxy is the client's. Entries to the
//! left of it can be forged and are never used.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The client's address, IPv4-mapped IPv6 as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// The client behind `peer` and the headers of its request.
    #[must_use]
    pub fn find(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Self {
        let is_trusted = |address: &IpAddr| trusted_proxies.iter().any(|net| net.contains(address));
        let mut address = peer.to_canonical();
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        for hop in hops {
            if !is_trusted(&address) {
                break;
            }
            let Some(next) = parse_hop(hop.trim()) else { break };
            address = next.to_canonical();
        }
        Self(address)
    }

    /// The limiter's key. IPv6 is cut to the prefix, because one client has all addresses below it.
    #[must_use]
    pub fn key(self, ipv6_prefix: u8) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }
}

/// An address as proxies write it: alone, with a port, or IPv6 in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    text.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        ClientAddr::find(peer.parse().unwrap(), &headers, &trusted).0.to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_header_it_sends() {
        assert_eq!(client("203.0.113.9", &["6.6.6.6"]), "203.0.113.9");
    }

    #[test]
    fn behind_proxies_the_first_untrusted_address_from_the_right_is_the_client() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("fd00::1", &["6.6.6.6,203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn several_header_lines_are_one_list() {
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "203.0.113.9", "10.0.0.2"]), "203.0.113.9");
    }

    #[test]
    fn an_unreadable_entry_ends_the_walk_at_the_last_valid_hop() {
        assert_eq!(client("10.0.0.1", &["6.6.6.6, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, , 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["garbage, 203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn without_a_header_or_with_proxies_only_the_last_known_hop_is_the_client() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn the_key_of_an_ipv6_client_is_its_prefix() {
        let key = |text: &str, prefix| ClientAddr(text.parse().unwrap()).key(prefix).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 128), "2001:db8:1:2:3:4:5:6");
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 48), "2001:db8:1::");
        assert_eq!(key("203.0.113.9", 64), "203.0.113.9");
    }

    proptest! {
        #[test]
        fn no_header_from_an_untrusted_peer_changes_the_client(text in prop::collection::vec("[ -~]{0,60}", 0..5)) {
            let lines: Vec<&str> = text.iter().map(String::as_str).collect();
            prop_assert_eq!(client("203.0.113.9", &lines), "203.0.113.9");
        }

        #[test]
        fn the_proxys_own_entry_wins_over_anything_that_the_client_sends(text in prop::collection::vec("[ -~]{0,60}", 0..5)) {
            // The client sends `text`; the trusted proxy appends the client's true address.
            let mut lines: Vec<&str> = text.iter().map(String::as_str).collect();
            lines.push("203.0.113.9");
            prop_assert_eq!(client("10.0.0.1", &lines), "203.0.113.9");
            let joined = format!("{}, 203.0.113.9", text.join(","));
            prop_assert_eq!(client("10.0.0.1", &[&joined]), "203.0.113.9");
        }

        #[test]
        fn arbitrary_bytes_in_the_header_cause_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = axum::http::HeaderValue::from_bytes(&bytes) {
                headers.append("x-forwarded-for", value);
            }
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            let _ = ClientAddr::find("10.0.0.1".parse().unwrap(), &headers, &trusted);
        }
    }
}

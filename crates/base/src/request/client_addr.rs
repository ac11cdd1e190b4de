//! The client's address: the peer of the socket, or if that is a trusted proxy, the address that its header names. Proxies append to
//! `X-Forwarded-For`, so that header is read from the right. The first address that is not a trusted proxy is the client's. Entries to the
//! left of it can be forged: they are never used, and no byte in them changes what the others mean. Any other header has one address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::header::only_line;
use turn_budget::canonical;

/// The header in which proxies append the address of their client.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The scheme of the client's request, as a proxy states it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client's address, as IPv4 where an IPv6 one contains that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

/// The proxies whose headers about the client are read.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    /// Their networks.
    pub networks: Arc<[IpNet]>,
    /// The header in which they name the client.
    pub client_header: HeaderName,
}

impl TrustedProxies {
    /// Whether `peer` is one of them.
    pub fn contain(&self, peer: IpAddr) -> bool {
        let address = peer.to_canonical();
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// The client behind `peer` and the headers of its request.
    pub fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddr {
        let address = if self.client_header == FORWARDED_FOR {
            self.walk(peer, headers)
        } else {
            self.named(peer, headers)
        };
        ClientAddr(canonical(address))
    }

    /// The first address that is no trusted proxy: first the peer, then the entries of the header from the right. The walk also ends before
    /// an entry that cannot be read, or when no entry is left: then the result is the last address that was read.
    fn walk(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            if !self.contain(address) {
                break;
            }
            let Some(next) = parse_hop(hop) else { break };
            address = next;
        }
        address
    }

    /// The address that a trusted proxy names. The peer's own if the peer is no trusted proxy, or if the header is not one line with one
    /// address.
    fn named(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let line = only_line(headers, &self.client_header).filter(|_| self.contain(peer));
        line.and_then(|line| parse_hop(line.as_bytes())).unwrap_or(peer)
    }

    /// Whether the client's request came over https, as far as a trusted proxy states it: this process itself has no TLS.
    pub fn state_https(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        self.contain(peer) && headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https")
    }
}

/// An address as proxies write it: alone, with a port, or IPv6 in brackets.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop.trim_ascii()).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    text.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn trusted(client_header: HeaderName) -> TrustedProxies {
        let networks = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()].into();
        TrustedProxies { networks, client_header }
    }

    fn client_of(peer: &str, lines: &[Vec<u8>]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line).unwrap());
        }
        trusted(FORWARDED_FOR).client_of(peer.parse().unwrap(), &headers).0.to_string()
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        client_of(peer, &forwarded.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn only_a_trusted_proxy_can_say_that_a_request_came_over_https() {
        let headers = |scheme: &'static str| {
            HeaderMap::from_iter([(FORWARDED_PROTO, HeaderValue::from_static(scheme))])
        };
        let over = |peer: &str, headers| trusted(FORWARDED_FOR).state_https(peer.parse().unwrap(), &headers);
        assert!(over("10.0.0.1", headers("https")) && over("::ffff:10.0.0.1", headers("https")));
        assert!(!over("10.0.0.1", headers("http")) && !over("10.0.0.1", HeaderMap::new()));
        assert!(!over("203.0.113.1", headers("https")));
    }

    #[test]
    fn behind_proxies_the_first_untrusted_address_from_the_right_is_the_client() {
        for (peer, forwarded, expected) in [
            ("10.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("fd00::1", &["6.6.6.6,203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("fd00::1", &["64:ff9b::203.0.113.9"], "203.0.113.9"),
            ("64:ff9b::10.0.0.1", &["203.0.113.9"], "10.0.0.1"),
            // An entry that cannot be read ends the walk at the last valid hop.
            ("10.0.0.1", &["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["6.6.6.6, , 10.0.0.2"], "10.0.0.2"),
            // Without an entry of a client, the last known hop.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn another_header_has_one_address_and_only_a_trusted_proxy_names_it() {
        let named = |peer: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::from_iter([(FORWARDED_FOR, HeaderValue::from_static("6.6.6.6"))]);
            for line in lines {
                headers.append("x-real-ip", HeaderValue::from_static(line));
            }
            let proxies = trusted(HeaderName::from_static("x-real-ip"));
            proxies.client_of(peer.parse().unwrap(), &headers).0.to_string()
        };
        for (lines, client) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&[" ::ffff:203.0.113.9 "], "203.0.113.9"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            // Not one address: the proxy's own.
            (&[], "10.0.0.1"),
            (&["unknown"], "10.0.0.1"),
            (&["6.6.6.6, 203.0.113.9"], "10.0.0.1"),
            (&["6.6.6.6", "203.0.113.9"], "10.0.0.1"),
        ] {
            assert_eq!(named("10.0.0.1", lines), client, "{lines:?}");
            assert_eq!(named("192.0.2.1", lines), "192.0.2.1", "no trusted proxy");
        }
    }

    /// An address that is no trusted proxy, and a way in which proxies write it.
    fn any_hop() -> impl Strategy<Value = (IpAddr, String)> {
        let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
        let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
        let address = prop_oneof![v4, v6]
            .prop_filter("not trusted", |address| !trusted(FORWARDED_FOR).contain(*address));
        (address, 0..3_u8, any::<u16>(), "[ \t]{0,2}", "[ \t]{0,2}").prop_map(
            |(address, form, port, before, after)| {
                let text = match (address, form) {
                    (_, 0) => address.to_string(),
                    (IpAddr::V6(v6), 1) => format!("[{v6}]"),
                    _ => std::net::SocketAddr::new(address, port).to_string(),
                };
                (canonical(address), format!("{before}{text}{after}"))
            },
        )
    }

    /// Header lines of any bytes that a header can have, commas among them.
    fn any_lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![
            4 => any::<u8>(),
            1 => Just(b','),
            1 => Just(b' '),
            2 => prop::sample::select(&b"0123456789abcdef.:[]"[..]),
        ];
        let byte = byte
            .prop_filter("allowed in a header", |byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f));
        prop::collection::vec(prop::collection::vec(byte, 0..60), 0..5)
    }

    proptest! {
        #[test]
        fn no_header_from_an_untrusted_peer_changes_the_client(lines in any_lines()) {
            prop_assert_eq!(client_of("203.0.113.9", &lines), "203.0.113.9");
        }

        #[test]
        fn the_proxys_own_entry_wins_over_anything_that_the_client_sends(
            sent in any_lines(),
            (address, entry) in any_hop(),
            proxies in prop::collection::vec(prop::sample::select(&["10.0.0.2", " [fd00::2]:443 ", "::ffff:10.0.0.3"][..]), 0..3),
        ) {
            // The client sends `sent`. The first trusted proxy appends the client's true address. Each further proxy appends
            // the address of the proxy before it, to the last line or as a new line.
            let appended = std::iter::once(entry.as_str()).chain(proxies.iter().copied()).map(str::as_bytes);
            let joined = [sent.join(&b','), appended.clone().collect::<Vec<_>>().join(&b',')].join(&b',');
            prop_assert_eq!(client_of("10.0.0.1", &[joined]), address.to_string());
            let lines: Vec<_> = sent.into_iter().chain(appended.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(client_of("10.0.0.1", &lines), address.to_string());
        }
    }
}

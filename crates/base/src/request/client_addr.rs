//! The client's address: the peer of the socket, or if that is a trusted proxy, an entry of `X-Forwarded-For`. Proxies append
//! to the header, so it is read from the right. The first address that is not a trusted proxy is the client's. Entries to the
//! left of it can be forged: they are never used, and no byte in them changes what the others mean.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The header in which proxies append the address of their client.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The scheme of the client's request, as a proxy states it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client's address, IPv4-mapped IPv6 as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// The client behind `peer` and the headers of its request.
    pub fn find(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Self {
        let mut address = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            if !is_trusted(address, trusted_proxies) {
                break;
            }
            let Some(next) = parse_hop(hop) else { break };
            address = next.to_canonical();
        }
        Self(address)
    }
}

/// Whether `peer` is a proxy whose `X-Forwarded-For` is read.
pub fn is_trusted(peer: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    let address = peer.to_canonical();
    trusted_proxies.iter().any(|net| net.contains(&address))
}

/// Whether the client's request came over https, as far as a trusted proxy states it: this process itself has no TLS.
pub fn is_https(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> bool {
    is_trusted(peer, trusted_proxies) && headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https")
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

    fn trusted() -> [IpNet; 2] {
        ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
    }

    fn client_of(peer: &str, lines: &[Vec<u8>]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line).unwrap());
        }
        ClientAddr::find(peer.parse().unwrap(), &headers, &trusted()).0.to_string()
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        client_of(peer, &forwarded.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn only_a_trusted_proxy_can_say_that_a_request_came_over_https() {
        let headers = |scheme: &'static str| {
            HeaderMap::from_iter([(FORWARDED_PROTO, HeaderValue::from_static(scheme))])
        };
        let over = |peer: &str, headers| is_https(peer.parse().unwrap(), &headers, &trusted());
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

    /// An address that is no trusted proxy, and a way in which proxies write it.
    fn any_hop() -> impl Strategy<Value = (IpAddr, String)> {
        let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
        let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
        let address = prop_oneof![v4, v6].prop_filter("not trusted", |address| {
            let address = address.to_canonical();
            !trusted().iter().any(|net| net.contains(&address))
        });
        (address, 0..3_u8, any::<u16>(), "[ \t]{0,2}", "[ \t]{0,2}").prop_map(
            |(address, form, port, before, after)| {
                let text = match (address, form) {
                    (_, 0) => address.to_string(),
                    (IpAddr::V6(v6), 1) => format!("[{v6}]"),
                    _ => std::net::SocketAddr::new(address, port).to_string(),
                };
                (address.to_canonical(), format!("{before}{text}{after}"))
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

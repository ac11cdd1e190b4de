//! ICE URLs (RFC 7064, RFC 7065): `stun:`, `stuns:`, `turn:` or `turns:`, a host, and optionally a port and a transport.
//! An [`IceUrl`] is always valid, so a response never contains another scheme.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::sync::Arc;

use serde::Serialize;

/// The longest URL. Real ones have under 100 characters.
const LENGTH_MAX: usize = 512;

/// A valid ICE URL. It prints as written, with the scheme in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct IceUrl {
    text: Arc<str>,
    /// The host, without brackets.
    #[serde(skip)]
    pub host: Arc<str>,
    /// The port, the usual one of the scheme if the URL has none.
    #[serde(skip)]
    pub port: u16,
}

/// What a client can do through a URL: find its own address, or relay over a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// STUN, over any transport.
    Stun,
    /// TURN over UDP.
    TurnUdp,
    /// TURN over TCP.
    TurnTcp,
    /// TURN over TLS, or over DTLS, which browsers do not use.
    TurnTls,
}

impl Reach {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stun, Self::TurnUdp, Self::TurnTcp, Self::TurnTls];
}

/// A text is not an ICE URL. Says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct IceUrlError(&'static str);

/// What a text in lower case contains that is no URL, and what was expected: usual slips, then any other.
const SLIPS: [(&str, &str); 5] = [
    ("://", "no // before the host: turn:host"),
    ("transport=tls", "turns: and ?transport=tcp for TURN over TLS, as turns:host:443?transport=tcp"),
    ("transport=", "?transport=udp or ?transport=tcp in lower case, at the end of a turn: or turns: URL"),
    ("@", "no user before the host: turn:host"),
    (
        "",
        "stun:, stuns:, turn: or turns:, a host, perhaps a port from 1 to 65535, and for TURN perhaps ?transport=udp or ?transport=tcp; at most 512 characters",
    ),
];

impl IceUrl {
    /// Parses one URL.
    pub fn parse(text: &str) -> Result<Self, IceUrlError> {
        let found = Self::read(text.trim()).filter(|_| text.len() <= LENGTH_MAX);
        found.ok_or_else(|| {
            let lower = text.to_ascii_lowercase();
            let slip = SLIPS.iter().find(|(part, _)| lower.contains(part));
            IceUrlError(slip.map_or("", |(_, expected)| expected))
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let scheme = scheme.to_ascii_lowercase();
        let (relays, default_port) = match scheme.as_str() {
            "stun" => (false, 3478),
            "stuns" => (false, 5349),
            "turn" => (true, 3478),
            "turns" => (true, 5349),
            _ => return None,
        };
        let authority = match rest.split_once('?') {
            None => rest,
            Some((authority, "transport=udp" | "transport=tcp")) if relays => authority,
            Some(_) => return None,
        };
        let (host, port) = split_authority(authority)?;
        let port = if port.is_empty() { default_port } else { parse_port(port.strip_prefix(':')?)? };
        Some(Self { text: format!("{scheme}:{rest}").into(), host: host.into(), port })
    }

    /// Whether this is a `turn:` or `turns:` URL, which a browser accepts only with username and credential.
    pub fn relays(&self) -> bool {
        self.text.starts_with("turn")
    }

    /// What a client can do through it.
    pub fn reach(&self) -> Reach {
        if !self.relays() {
            Reach::Stun
        } else if self.text.starts_with("turns:") {
            Reach::TurnTls
        } else if self.text.ends_with("?transport=tcp") {
            Reach::TurnTcp
        } else {
            Reach::TurnUdp
        }
    }

    /// Whether it is a relay over DTLS, which browsers do not use.
    pub fn is_dtls(&self) -> bool {
        self.reach() == Reach::TurnTls && self.text.ends_with("?transport=udp")
    }

    /// Whether browsers refuse it: they block port 53 except for DNS.
    pub fn is_blocked_by_browsers(&self) -> bool {
        self.port == 53
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The host without brackets, and the text after it, in which a colon and a port are expected.
fn split_authority(authority: &str) -> Option<(&str, &str)> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return Some((host, rest));
    }
    let (host, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    if is_host(host) { Some((host, rest)) } else { None }
}

/// A number from 1 to 65535, without a sign.
fn parse_port(text: &str) -> Option<u16> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok().map(NonZeroU16::get)
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn host_port_and_reach_come_from_the_url_or_the_scheme() {
        for (text, host, port, reach, is_dtls) in [
            ("stun:stun.cloudflare.com:3478", "stun.cloudflare.com", 3478, Reach::Stun, false),
            ("stun:[::1]", "::1", 3478, Reach::Stun, false),
            ("stuns:192.0.2.1", "192.0.2.1", 5349, Reach::Stun, false),
            ("turn:turn.cloudflare.com:53?transport=tcp", "turn.cloudflare.com", 53, Reach::TurnTcp, false),
            ("TURN:relay.example?transport=udp", "relay.example", 3478, Reach::TurnUdp, false),
            (
                "turns:turn.cloudflare.com:443?transport=tcp",
                "turn.cloudflare.com",
                443,
                Reach::TurnTls,
                false,
            ),
            ("turns:relay.example?transport=udp", "relay.example", 5349, Reach::TurnTls, true),
            ("turn:[2001:db8::1]:80?transport=tcp", "2001:db8::1", 80, Reach::TurnTcp, false),
            ("turn:[::1]", "::1", 3478, Reach::TurnUdp, false),
        ] {
            let url = IceUrl::parse(text).unwrap();
            assert_eq!(
                (&*url.host, url.port, url.reach(), url.is_dtls()),
                (host, port, reach, is_dtls),
                "{text}"
            );
            assert_eq!(url.relays(), reach != Reach::Stun, "{text}");
        }
    }

    #[test]
    fn port_53_is_detected_by_number_and_not_by_text() {
        assert!(IceUrl::parse("turn:host:53?transport=udp").unwrap().is_blocked_by_browsers());
        assert!(IceUrl::parse("turn:host:053").unwrap().is_blocked_by_browsers());
        assert!(!IceUrl::parse("turn:host:5349").unwrap().is_blocked_by_browsers());
        assert!(!IceUrl::parse("turn:53.example:80").unwrap().is_blocked_by_browsers());
    }

    #[test]
    fn an_invalid_url_is_refused() {
        for text in [
            "https://example.com",
            "javascript:alert(1)",
            "turn",
            "turn:",
            "turn://host",
            "turn:ho st",
            "turn:user@host",
            "turn:[::zz]",
            "turn:[::1]80",
            "turn:host:",
            "turn:host:0",
            "turn:host:65536",
            "turn:host:+80",
            "turn:host?transport=sctp",
            "stun:host?transport=udp",
            &format!("turn:{}", "a".repeat(600)),
        ] {
            assert!(IceUrl::parse(text).is_err(), "{text}");
        }
        assert!(SLIPS[4].1.contains(&LENGTH_MAX.to_string()));
    }

    proptest! {
        #[test]
        fn the_parser_never_panics_and_a_printed_url_parses_again(text in "(stun|turn|turns|x)?:?.{0,40}") {
            if let Ok(url) = IceUrl::parse(&text) {
                let again = IceUrl::parse(url.as_str());
                prop_assert_eq!(again, Ok(url));
            }
        }
    }
}

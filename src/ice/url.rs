//! ICE URLs (RFC 7064, RFC 7065): `stun:`, `stuns:`, `turn:` or `turns:`, a host, and optionally a port and a transport.
//! An [`IceUrl`] is always valid, so a response never contains another scheme.

use std::fmt;
use std::net::Ipv6Addr;

/// The longest URL. Real ones have under 100 characters.
const LENGTH_MAX: usize = 512;

/// A valid ICE URL. It prints as written, with the scheme in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IceUrl {
    text: String,
    relays: bool,
    port: u16,
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

/// Why a text is not an ICE URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IceUrlError {
    /// Another scheme, or none.
    #[error("expected a stun:, stuns:, turn: or turns: URL")]
    Scheme,
    /// An empty host, or invalid characters in it.
    #[error("expected a host name or address after the scheme")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// Something other than `?transport=udp` or `?transport=tcp` on a TURN URL.
    #[error("expected nothing or ?transport=udp|tcp after the port")]
    Query,
    /// Longer than 512 characters.
    #[error("expected at most 512 characters")]
    Length,
}

impl IceUrl {
    /// Parses one URL.
    pub fn parse(text: &str) -> Result<Self, IceUrlError> {
        if text.len() > LENGTH_MAX {
            return Err(IceUrlError::Length);
        }
        let (scheme, rest) = text.trim().split_once(':').ok_or(IceUrlError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let (relays, default_port) = match scheme.as_str() {
            "stun" => (false, 3478),
            "stuns" => (false, 5349),
            "turn" => (true, 3478),
            "turns" => (true, 5349),
            _ => return Err(IceUrlError::Scheme),
        };
        let authority = match rest.split_once('?') {
            None => rest,
            Some((authority, "transport=udp" | "transport=tcp")) if relays => authority,
            Some(_) => return Err(IceUrlError::Query),
        };
        let port = parse_authority(authority)?.unwrap_or(default_port);
        Ok(Self { text: format!("{scheme}:{rest}"), relays, port })
    }

    /// Whether this is a `turn:` or `turns:` URL, which a browser accepts only with username and credential.
    pub fn relays(&self) -> bool {
        self.relays
    }

    /// The port, or the scheme's default.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host; an IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        let (_, rest) = self.text.split_once(':').unwrap_or_default();
        let authority = rest.split_once('?').map_or(rest, |(authority, _)| authority);
        match authority.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').map_or(bracketed, |(address, _)| address),
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        }
    }

    /// What a client can do through it.
    pub fn reach(&self) -> Reach {
        if !self.relays {
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

/// Checks the host, and parses the port if present.
fn parse_authority(authority: &str) -> Result<Option<u16>, IceUrlError> {
    let (host_is_good, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or(IceUrlError::Host)?;
        let port = match rest {
            "" => None,
            _ => Some(rest.strip_prefix(':').ok_or(IceUrlError::Port)?),
        };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (is_host(host), Some(port)),
            None => (is_host(authority), None),
        }
    };
    if !host_is_good {
        return Err(IceUrlError::Host);
    }
    port.map(parse_port).transpose()
}

fn parse_port(text: &str) -> Result<u16, IceUrlError> {
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits_only && *port > 0).ok_or(IceUrlError::Port)
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

serde_plain::derive_serialize_from_display!(IceUrl);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_of_real_providers_are_valid() {
        for (text, port, relays) in [
            ("stun:stun.cloudflare.com:3478", 3478, false),
            ("turn:turn.cloudflare.com:3478?transport=udp", 3478, true),
            ("turns:turn.cloudflare.com:443?transport=tcp", 443, true),
            ("turns:turn.cloudflare.com", 5349, true),
            ("TURN:relay.example", 3478, true),
            ("turn:[2001:db8::1]:80?transport=tcp", 80, true),
            ("stun:[::1]", 3478, false),
            ("stun:192.0.2.1:53", 53, false),
        ] {
            let url = IceUrl::parse(text).unwrap();
            assert_eq!((url.port(), url.relays()), (port, relays), "{text}");
        }
    }

    #[test]
    fn host_and_reach_come_from_the_url_or_the_scheme() {
        for (text, host, reach, is_dtls) in [
            ("stun:stun.cloudflare.com:3478", "stun.cloudflare.com", Reach::Stun, false),
            ("turn:turn.cloudflare.com:3478?transport=tcp", "turn.cloudflare.com", Reach::TurnTcp, false),
            ("TURN:relay.example?transport=udp", "relay.example", Reach::TurnUdp, false),
            ("turns:relay.example:443?transport=tcp", "relay.example", Reach::TurnTls, false),
            ("stuns:relay.example", "relay.example", Reach::Stun, false),
            ("turns:relay.example?transport=udp", "relay.example", Reach::TurnTls, true),
            ("turn:[2001:db8::1]:80?transport=tcp", "2001:db8::1", Reach::TurnTcp, false),
            ("turn:[::1]", "::1", Reach::TurnUdp, false),
        ] {
            let url = IceUrl::parse(text).unwrap();
            assert_eq!((url.host(), url.reach(), url.is_dtls()), (host, reach, is_dtls), "{text}");
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
    fn each_invalid_url_has_its_error() {
        for (text, error) in [
            ("https://example.com", IceUrlError::Scheme),
            ("javascript:alert(1)", IceUrlError::Scheme),
            ("turn", IceUrlError::Scheme),
            ("turn:", IceUrlError::Host),
            ("turn://host", IceUrlError::Host),
            ("turn:ho st", IceUrlError::Host),
            ("turn:user@host", IceUrlError::Host),
            ("turn:[::zz]", IceUrlError::Host),
            ("turn:host:0", IceUrlError::Port),
            ("turn:host:65536", IceUrlError::Port),
            ("turn:host:+80", IceUrlError::Port),
            ("turn:host?transport=sctp", IceUrlError::Query),
            ("stun:host?transport=udp", IceUrlError::Query),
        ] {
            assert_eq!(IceUrl::parse(text), Err(error), "{text}");
        }
        assert_eq!(IceUrl::parse(&format!("turn:{}", "a".repeat(600))), Err(IceUrlError::Length));
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

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

/// The transport between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP without TLS.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP, which browsers do not use with a relay.
    Dtls,
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
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        match query {
            None => {}
            Some("transport=udp" | "transport=tcp") if relays => {}
            Some(_) => return Err(IceUrlError::Query),
        }
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

    /// The transport, or the scheme's default.
    pub fn transport(&self) -> Transport {
        let is_secure = self.text.starts_with("turns:") || self.text.starts_with("stuns:");
        match (is_secure, self.text.split_once('?')) {
            (false, Some((_, "transport=tcp"))) => Transport::Tcp,
            (false, _) => Transport::Udp,
            (true, Some((_, "transport=udp"))) => Transport::Dtls,
            (true, _) => Transport::Tls,
        }
    }

    /// What a client can do through it.
    pub fn reach(&self) -> Reach {
        match self.transport() {
            _ if !self.relays => Reach::Stun,
            Transport::Udp => Reach::TurnUdp,
            Transport::Tcp => Reach::TurnTcp,
            Transport::Tls | Transport::Dtls => Reach::TurnTls,
        }
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

impl serde::Serialize for IceUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for IceUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

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
    fn host_and_transport_come_from_the_url_or_the_scheme() {
        for (text, host, transport) in [
            ("stun:stun.cloudflare.com:3478", "stun.cloudflare.com", Transport::Udp),
            ("turn:turn.cloudflare.com:3478?transport=tcp", "turn.cloudflare.com", Transport::Tcp),
            ("TURN:relay.example?transport=udp", "relay.example", Transport::Udp),
            ("turns:relay.example:443?transport=tcp", "relay.example", Transport::Tls),
            ("stuns:relay.example", "relay.example", Transport::Tls),
            ("turns:relay.example?transport=udp", "relay.example", Transport::Dtls),
            ("turn:[2001:db8::1]:80?transport=tcp", "2001:db8::1", Transport::Tcp),
            ("turn:[::1]", "::1", Transport::Udp),
        ] {
            let url = IceUrl::parse(text).unwrap();
            assert_eq!((url.host(), url.transport()), (host, transport), "{text}");
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

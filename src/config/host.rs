//! The hosts that a request may name, in one canonical form: lower case, without a dot at the end, IPv6 in brackets. An
//! attacker's page can make its own host name resolve to this service (DNS rebinding), so that the browser regards the service
//! as the page's own origin. The browser still sends the attacker's host name, which is not among the allowed hosts.

use reqwest::RequestBuilder;
use reqwest::header::HOST;

use super::origin::canonical;

/// The port of an `http` URL that names none.
const HTTP_PORT: u16 = 80;

/// The hosts that a request may name in its `Host` header. `ALLOWED_HOSTS`, with the host of `PUBLIC_URL`; any when `ALLOWED_HOSTS` is
/// unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHosts {
    /// Every host.
    Any,
    /// Only these.
    List(Vec<AllowedHost>),
}

/// A host that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// A name or an address, in canonical form.
    name: String,
    /// The only port that is served; `None` for any. A host from a setting has `None`, because a proxy changes ports.
    port: Option<u16>,
}

impl AllowedHosts {
    /// Only these names, with this port. A name without a canonical form is left out.
    pub(crate) fn at_port(names: &[&str], port: u16) -> Self {
        let host = |(name, _)| AllowedHost { name, port: Some(port) };
        Self::List(names.iter().filter_map(|name| split(name)).map(host).collect())
    }

    /// Sets `Host` to the first allowed name, because the host in the URL is possibly not allowed. Changes nothing if every host is
    /// allowed.
    pub fn with_allowed_host(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::List(hosts) if !hosts.is_empty() => request.header(HOST, &hosts[0].name),
            _ => request,
        }
    }

    /// Whether a request with this `Host` header may be served.
    pub fn allows(&self, host: &str) -> bool {
        let Self::List(allowed) = self else { return true };
        let Some((name, port)) = split(host) else { return false };
        allowed.iter().any(|host| host.name == name && host.port.is_none_or(|only| only == port))
    }
}

/// A host from the configuration. Its port is ignored.
pub(super) fn parse_entry(text: &str) -> Option<AllowedHost> {
    split(text).map(|(name, _)| AllowedHost { name, port: None })
}

/// Name and port of `host[:port]`.
fn split(text: &str) -> Option<(String, u16)> {
    let origin = canonical(&format!("http://{text}"))?;
    let authority = origin.strip_prefix("http://")?;
    let (name, port) = authority
        .rsplit_once(':')
        .and_then(|(name, port)| Some((name, port.parse().ok()?)))
        .unwrap_or((authority, HTTP_PORT));
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| (name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_host_has_one_form() {
        for (text, name, port) in [
            ("Turn.Example", "turn.example", 80),
            ("turn.example.:8080", "turn.example", 8_080),
            ("turn_broker:80", "turn_broker", 80),
            ("192.0.2.7:3001", "192.0.2.7", 3_001),
            ("[2001:DB8:0::1]", "[2001:db8::1]", 80),
            ("[::1]:3001", "[::1]", 3_001),
            ("bücher.example", "xn--bcher-kva.example", 80),
        ] {
            assert_eq!(split(text), Some((name.to_owned(), port)), "{text}");
        }
        for text in ["", ".", "a b", "a/b", "user@a", "*", "*.example", "a:99999", "http://a", "::1"] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn a_setting_ignores_the_port_and_a_fixed_list_compares_it() {
        let set = AllowedHosts::List(vec![parse_entry("turn.example:1").unwrap()]);
        assert!(set.allows("turn.example") && set.allows("turn.example:3001"));
        assert!(!set.allows("a.turn.example") && !set.allows("turn.example.evil.example") && !set.allows(""));
        let fixed = AllowedHosts::at_port(&["localhost", "[::1]"], 3_001);
        assert!(fixed.allows("localhost:3001") && fixed.allows("[::1]:3001"));
        assert!(!fixed.allows("localhost") && !fixed.allows("localhost:3002") && !fixed.allows("x:3001"));
        assert!(AllowedHosts::at_port(&["localhost"], 80).allows("localhost"));
        assert!(AllowedHosts::Any.allows("anything at all"));
    }
}

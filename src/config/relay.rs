//! Settings of the relay in this process. It listens on loopback by default, because it is not a production relay.

use std::net::{IpAddr, SocketAddr};

use super::form::form;
use super::settings::Settings;

/// The relay in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Address and UDP port; port 0 lets the system pick one. `RELAY_LISTEN`; `127.0.0.1:3478` when unset.
    pub listen: SocketAddr,
    /// The address that clients and peers use, of a single host and of the same family. `RELAY_PUBLIC_IP`; that of
    /// `RELAY_LISTEN` when unset.
    pub public_ip: IpAddr,
}

impl RelayConfig {
    /// Also read if `ICE_SOURCES` does not name the relay, so that mistakes are found early.
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let socket = form("address:port such as 127.0.0.1:3478 or [::1]:3478", parse_listen);
        let host = form("the address of a single host, such as 203.0.113.7", parse_public);
        let listen = settings.get("RELAY_LISTEN", "127.0.0.1:3478", socket);
        let public_ip = settings.optional("RELAY_PUBLIC_IP", host);
        let (is_loopback, is_set) = (listen.ip().is_loopback(), settings.is_set("RELAY_PUBLIC_IP"));
        if is_loopback && is_set {
            settings.warn("RELAY_PUBLIC_IP has no effect: RELAY_LISTEN is loopback");
        } else if listen.ip().is_unspecified() && !is_set {
            let expected = "expected a value because RELAY_LISTEN is an unspecified address";
            settings.refuse("RELAY_PUBLIC_IP", expected);
        } else if public_ip.is_some_and(|ip| ip.is_ipv4() != listen.is_ipv4()) {
            settings.refuse("RELAY_PUBLIC_IP", "expected an address of RELAY_LISTEN's family");
        }
        let public_ip = if is_loopback { None } else { public_ip };
        Self { listen, public_ip: public_ip.unwrap_or(listen.ip()) }
    }
}

/// Whether an address is neither multicast nor IPv4-mapped. A mapped one would not equal the IPv4 address that it contains.
fn is_plain(ip: IpAddr) -> bool {
    ip == ip.to_canonical() && !ip.is_multicast()
}

fn parse_listen(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|listen: &SocketAddr| is_plain(listen.ip()))
}

fn parse_public(text: &str) -> Option<IpAddr> {
    let is_host = |ip: &IpAddr| is_plain(*ip) && !ip.is_unspecified() && !ip.is_loopback();
    text.parse().ok().filter(is_host)
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{assert_refused, load};

    fn relay<const N: usize>(pairs: [(&str, &str); N]) -> (String, String) {
        let config = load(pairs).ice.relay.expect("ICE_SOURCES names it");
        (config.listen.to_string(), config.public_ip.to_string())
    }

    #[test]
    fn it_listens_on_loopback_by_default() {
        let named = ("ICE_SOURCES", "relay");
        assert_eq!(relay([named]), ("127.0.0.1:3478".into(), "127.0.0.1".into()));
        assert_eq!(relay([named, ("RELAY_LISTEN", "[::1]:0")]), ("[::1]:0".into(), "::1".into()));
        assert_eq!(
            relay([named, ("RELAY_LISTEN", "10.0.0.7:3478")]),
            ("10.0.0.7:3478".into(), "10.0.0.7".into())
        );
        let public = ("RELAY_PUBLIC_IP", "203.0.113.7");
        assert_eq!(
            relay([named, ("RELAY_LISTEN", "0.0.0.0:3478"), public]),
            ("0.0.0.0:3478".into(), "203.0.113.7".into())
        );
    }

    #[test]
    fn settings_of_an_unnamed_relay_give_a_warning() {
        let warnings = load([("RELAY_LISTEN", "127.0.0.1:1")]).warnings;
        let warning = "add relay to ICE_SOURCES: without it there is no effect of RELAY_LISTEN";
        assert_eq!(warnings, [warning]);
        let warnings = load([("RELAY_PUBLIC_IP", "203.0.113.7")]).warnings;
        assert!(warnings.contains(&"RELAY_PUBLIC_IP has no effect: RELAY_LISTEN is loopback".into()));
    }

    #[test]
    fn listen_address_and_public_address_must_match() {
        let every = "RELAY_PUBLIC_IP: expected a value because RELAY_LISTEN is an unspecified address";
        assert_refused([("RELAY_LISTEN", "0.0.0.0:3478")], &[every]);
        assert_refused([("RELAY_LISTEN", "[::]:3478")], &[every]);
        let bad = ("RELAY_PUBLIC_IP", "relay.example");
        let one = "RELAY_PUBLIC_IP: expected the address of a single host, such as 203.0.113.7, found \"relay.example\"";
        assert_refused([("RELAY_LISTEN", "0.0.0.0:3478"), bad], &[one]);
        let family = "RELAY_PUBLIC_IP: expected an address of RELAY_LISTEN's family";
        assert_refused([("RELAY_LISTEN", "[::]:1"), ("RELAY_PUBLIC_IP", "203.0.113.7")], &[family]);
    }
}

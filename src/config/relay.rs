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
    #[test]
    fn each_setting_has_a_default_a_form_and_a_message() {
        crate::config::testing::assert_cases(
            "
            ICE_SOURCES=relay
            = relay: Some(RelayConfig { listen: 127.0.0.1:3478, public_ip: 127.0.0.1 })
            ICE_SOURCES=relay; RELAY_LISTEN=[::1]:0
            = relay: Some(RelayConfig { listen: [::1]:0, public_ip: ::1 })
            ICE_SOURCES=relay; RELAY_LISTEN=10.0.0.7:3478
            = relay: Some(RelayConfig { listen: 10.0.0.7:3478, public_ip: 10.0.0.7 })
            ICE_SOURCES=relay; RELAY_LISTEN=0.0.0.0:3478; RELAY_PUBLIC_IP=203.0.113.7
            = relay: Some(RelayConfig { listen: 0.0.0.0:3478, public_ip: 203.0.113.7 })
            ICE_SOURCES=relay; RELAY_PUBLIC_IP=203.0.113.7
            ? RELAY_PUBLIC_IP has no effect: RELAY_LISTEN is loopback
            RELAY_LISTEN=0.0.0.0:3478 | [::]:3478
            ! RELAY_PUBLIC_IP: expected a value because RELAY_LISTEN is an unspecified address
            RELAY_PUBLIC_IP=203.0.113.7; RELAY_LISTEN=[::]:1
            ! RELAY_PUBLIC_IP: expected an address of RELAY_LISTEN's family
            RELAY_LISTEN=0.0.0.0:1; RELAY_PUBLIC_IP=relay.example | 0.0.0.0 | :: | 127.0.0.1 | ff02::1 | ::ffff:203.0.113.7
            ! RELAY_PUBLIC_IP: expected the address of a single host, such as 203.0.113.7, found <value>
            RELAY_LISTEN=3478 | localhost:3478 | 127.0.0.1 | ::1:3478 | 224.0.0.1:1 | [::ffff:127.0.0.1]:1
            ! RELAY_LISTEN: expected address:port such as 127.0.0.1:3478 or [::1]:3478, found <value>
            ",
        );
    }
}

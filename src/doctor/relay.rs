//! The check of the relays. At each `turn:` URL over UDP, the doctor makes an allocation with the source's credential, and relays a
//! datagram from the allocation to the allocation itself. TCP and TLS are for `/relay-check`, which tests them from where the clients are.
//! If a source has only URLs over TCP and TLS, a TCP connection to each shows whether something listens.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Examination;
use super::connect::address;
use super::report::{Check, Verdict, fail, ok, skipped, warn};
use crate::ice::server::{IceServer, IceServerList};
use crate::ice::udp_relay;
use crate::ice::url::IceUrl;
use turn_ledger::IceSource;
use turn_relay::client::{RelayError, relay_to_itself};
use turn_relay::tunnel::{allocations_of_one, private_peer, relays_tcp};

/// The most URLs that are tried. Real responses have one over UDP for each relay.
const URLS_MAX: usize = 16;

/// So many allocations at once are no call's. The shipped `user-quota` is 8.
const ALLOCATIONS_MAX: usize = 33;

/// The time limit for one connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Checks the relays of one source.
pub(super) async fn check(source: IceSource, servers: &IceServerList, doctor: &mut Examination<'_, '_>) {
    let mut relays = servers.udp_relays().take(URLS_MAX).peekable();
    if relays.peek().is_none() {
        for url in servers.urls().filter(|url| url.relays() && !url.is_dtls()).take(URLS_MAX) {
            doctor.check(Check::Turn, url.as_str(), connects(url)).await;
        }
    }
    for (server, url) in relays {
        doctor.check(Check::Turn, url.as_str(), relays_at(url, server, source)).await;
        if source == IceSource::Coturn {
            doctor.check(Check::Tunnel, url.as_str(), refuses_tunnels(url, server)).await;
        }
    }
}

/// Opens a TCP connection to a URL. Success is only a warning, because nothing was relayed.
async fn connects(url: &IceUrl) -> Verdict {
    let Some(address) = address(&url.host, url.port).await else { return unresolved(url) };
    let port = url.port;
    let remedy = format!(
        "check that the server listens on TCP port {port}, and allow it in the firewalls here and there"
    );
    match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
        Ok(Ok(_)) => warn(
            "it accepts connections, but nothing was relayed: the source has no turn: URL over UDP",
            "open /relay-check in a browser, which relays over TCP and TLS",
        ),
        Ok(Err(error)) => fail(format!("no TCP connection: {error}"), remedy),
        Err(_) => fail("no TCP connection in time", remedy),
    }
}

/// The failure that a URL's host has no address.
fn unresolved(url: &IceUrl) -> Verdict {
    let remedy = format!("correct the name, or fix this machine's resolver: `getent hosts {}`", url.host);
    fail("the name has no address, or the resolver does not answer", remedy)
}

/// Relays one datagram at a URL over UDP.
async fn relays_at(url: &IceUrl, server: &IceServer, source: IceSource) -> Verdict {
    let Some(address) = address(&url.host, url.port).await else { return unresolved(url) };
    match relay_to_itself(&udp_relay::at(address, server), 1).await {
        Ok(relayed) => ok(format!("relays at {relayed}")),
        Err(error) => fail(error.to_string(), remedy(error, url.port, source)),
    }
}

/// Asks a coturn for what a tunnel needs: a private peer, and TCP to peers. Bytes of TCP allocations are in no listing while they live.
async fn refuses_tunnels(url: &IceUrl, server: &IceServer) -> Verdict {
    let Some(address) = address(&url.host, url.port).await else { return unresolved(url) };
    let relay = udp_relay::at(address, server);
    if relays_tcp(&relay).await == Some(true) {
        return fail(
            "it makes allocations for TCP, whose bytes are hidden while they live",
            "add no-tcp-relay to turnserver.conf",
        );
    }
    match private_peer(&relay).await {
        Ok(None) if allocations_of_one(&relay, ALLOCATIONS_MAX).await == ALLOCATIONS_MAX => warn(
            format!(
                "one credential can make {ALLOCATIONS_MAX} allocations, and is promised one LIABILITY_MBPS_PER_GRANT"
            ),
            "set user-quota and max-bps in turnserver.conf so that their product is LIABILITY_MBPS_PER_GRANT",
        ),
        Ok(None) => ok("it refuses private peers, allocations for TCP, and too many of one credential"),
        Ok(Some(peer)) => warn(
            format!("it relays to the private address {peer}: a credential is a tunnel into its network"),
            "add the lines denied-peer-ip of docs/turnserver.conf",
        ),
        Err(error) => skipped(format!("no allocation to try private peers with: {error}")),
    }
}

fn remedy(error: RelayError, port: u16, source: IceSource) -> String {
    let advice = match error {
        RelayError::Unreachable => "fix this machine's route to the server, or run doctor on another machine",
        RelayError::Timeout(_) => {
            return format!(
                "check that the server listens on UDP port {port}, and allow it in the firewalls here and there; where no \
                 UDP may leave, open /relay-check in a browser, which tries TCP and TLS too"
            );
        }
        RelayError::Refused { code: 401, .. } => source.facts().if_refused,
        RelayError::Refused { code: 403, .. } => {
            "allow the relay's own address as a peer (coturn: allowed-peer-ip, denied-peer-ip)"
        }
        RelayError::Refused { code: 486, .. } => "raise the user's quota of allocations (coturn: user-quota)",
        RelayError::Refused { code: 508, .. } => "give the server more ports (coturn: min-port, max-port)",
        RelayError::Refused { .. } => "read the server's log",
        RelayError::NothingThrough => {
            "check the relay's public address (coturn: external-ip), and open its UDP ports in the firewall (coturn: \
             min-port to max-port)"
        }
        RelayError::Alternate(_) => {
            "check that server (coturn: alternate-server): it needs the same secret, and this machine must reach it"
        }
        RelayError::NoChallenge => {
            "check that the port is a relay's, and that it asks for credentials (coturn: use-auth-secret, no no-auth): \
             else anyone can relay at your cost"
        }
    };
    advice.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_of_a_refused_credential_depends_on_the_source_and_a_port_is_named() {
        let refused = |source| remedy(RelayError::Refused { step: "it", code: 401 }, 3478, source);
        assert!(refused(IceSource::Coturn).contains("COTURN_SECRET"));
        assert!(refused(IceSource::Manual).contains("MANUAL_ICE_SERVERS"));
        assert!(refused(IceSource::Cloudflare).contains("TURN key"));
        assert!(remedy(RelayError::Timeout("it"), 443, IceSource::Coturn).contains("UDP port 443"));
    }
}

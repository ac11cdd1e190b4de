//! The check of the relays. At each `turn:` URL over UDP, the doctor makes an allocation with the source's credential, and relays a
//! datagram from the allocation to the allocation itself. At each `turns:` URL, it verifies the certificate as a browser does. Relaying
//! over TCP and TLS is for `/relay-check`, which tests it from where the clients are. If a source has no URL over UDP, a TCP connection
//! to each other one shows whether something listens.

use std::io::ErrorKind;

use super::Examination;
use super::prelude::*;
use crate::ice::relays;
use crate::ice::server::IceServer;
use crate::ice::url::{IceUrl, Reach};
use turn_base::Trust;
use turn_relay::client::{RelayError, relay_to_itself};
use turn_relay::tunnel::{allocations_of_one, private_peer, relays_tcp};

/// The most URLs that are tried. Real responses have one over UDP for each relay.
const URLS_MAX: usize = 16;

/// So many allocations at once are no call's. The shipped `user-quota` is 8.
const ALLOCATIONS_MAX: usize = 33;

/// A certificate that ends in fewer days should have been renewed: those of 90 days are renewed 30 days before their end.
const RENEW_DAYS: u64 = 14;

pub(super) async fn check(source: IceSource, servers: &IceServerList, doctor: &mut Examination<'_, '_>) {
    let mut relays = servers.udp_relays().take(URLS_MAX).peekable();
    let (is_only, config, now) = (relays.peek().is_none(), doctor.config, doctor.clock.now());
    let others = servers.urls().filter(|url| url.relays() && !url.is_dtls());
    for url in others.filter(|url| is_only || url.reach() == Reach::TurnTls).take(URLS_MAX) {
        let connects = connects(url, &config.network.trust, now, is_only);
        doctor.check(Check::Turn, url.as_str(), connects).await;
    }
    for (server, url) in relays {
        doctor.check(Check::Turn, url.as_str(), relays_at(url, server, source)).await;
        if source == IceSource::Coturn {
            doctor.check(Check::Tunnel, url.as_str(), refuses_tunnels(url, server)).await;
        }
    }
}

/// Connects to a URL. Without TLS, success is only a warning, because nothing was relayed. Without a connection, it is a failure if the
/// source `is_only` reached like this; a bad certificate always is.
async fn connects(url: &IceUrl, trust: &Trust, now: Timestamp, is_only: bool) -> Verdict {
    let remedy = format!(
        "check that the server listens on TCP port {}, allow it in the firewalls here and there, and renew its certificate of a known authority for {}",
        url.port, url.host
    );
    match relays::connect(url, trust).await {
        Ok(Some(end)) => judge_certificate(end.saturating_sub(now.since(Timestamp::default())), remedy),
        Ok(None) => warn(
            "it accepts connections, but nothing was relayed: the source has no turn: URL over UDP",
            "open /relay-check in a browser, which relays over TCP and TLS",
        ),
        Err(error) if is_only || error.kind() == ErrorKind::InvalidData => fail(error.to_string(), remedy),
        Err(error) => warn(error.to_string(), remedy),
    }
}

/// `left`: how long the certificate is still good.
fn judge_certificate(left: Duration, remedy: String) -> Verdict {
    let days = left.as_secs() / 86_400;
    let seen = format!("TLS works, and its certificate is good for {days} days; nothing was relayed");
    if days < RENEW_DAYS { warn(seen, remedy) } else { ok(seen) }
}

/// The failure that a URL's host has no address.
fn unresolved(url: &IceUrl) -> Verdict {
    let remedy = format!("correct the name, or fix this machine's resolver: `getent hosts {}`", url.host);
    fail("the name has no address, or the resolver does not answer", remedy)
}

/// Relays one datagram at a URL over UDP.
async fn relays_at(url: &IceUrl, server: &IceServer, source: IceSource) -> Verdict {
    let Some(relay) = relays::of(server, url).await else { return unresolved(url) };
    match relay_to_itself(&relay, 1).await {
        Ok(relayed) => ok(format!("relays at {relayed}")),
        Err(error) => fail(error.to_string(), remedy(error, url.port, source)),
    }
}

/// Asks a coturn for what a tunnel needs: a private peer, and TCP to peers. Bytes of TCP allocations are in no listing while they live.
async fn refuses_tunnels(url: &IceUrl, server: &IceServer) -> Verdict {
    let Some(relay) = relays::of(server, url).await else { return unresolved(url) };
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
    use super::super::CheckState;
    use super::*;

    #[test]
    fn a_certificate_that_should_have_been_renewed_is_a_warning() {
        let state = |days: u64| judge_certificate(Duration::from_secs(days * 86_400), String::new()).state;
        assert_eq!([0, 13, 14].map(state), [CheckState::Warn, CheckState::Warn, CheckState::Ok]);
    }

    #[test]
    fn the_remedy_of_a_refused_credential_depends_on_the_source_and_a_port_is_named() {
        let refused = |source| remedy(RelayError::Refused { step: "it", code: 401 }, 3478, source);
        assert!(refused(IceSource::Coturn).contains("COTURN_SECRET"));
        assert!(refused(IceSource::Manual).contains("MANUAL_ICE_SERVERS"));
        assert!(refused(IceSource::Cloudflare).contains("TURN key"));
        assert!(remedy(RelayError::Timeout("it"), 443, IceSource::Coturn).contains("UDP port 443"));
    }
}

//! The errors of a STUN or TURN server, with their meaning and remedy. Every text is ours; the server's texts are not repeated.

use std::io;

use crate::ice::url::{IceUrl, Transport};
use turn_ledger::IceSource;

/// The step that opens the connection.
pub(super) const CONNECT: &str = "the connection";

/// Why a server could not be used. A step is named as in a sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// The name has no address.
    #[error("the name has no address, or the resolver does not answer")]
    Name,
    /// This machine has no route to the address.
    #[error("there is no route from this machine")]
    NoRoute,
    /// Connection refused.
    #[error("refused: nothing listens on that port, or a firewall rejects it")]
    Refused,
    /// No answer.
    #[error("no answer in time: {0}")]
    Timeout(&'static str),
    /// The connection broke.
    #[error("the connection broke: {} ({})", .0, .1.kind())]
    Broken(&'static str, io::Error),
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Another service listens there.
    #[error("another service answers there, not a STUN or TURN server")]
    NotStun,
    /// The answer does not prove that the server knows the credential.
    #[error("the server's answer is not signed with the credential")]
    Unsigned,
    /// No datagram comes out of the allocation.
    #[error("it makes allocations, but no datagram comes through one, so calls fail")]
    NothingThrough,
    /// The server answered with an error code.
    #[error("{step} was answered with {code}: {}", explained(*.code).0)]
    Code {
        /// A code of RFC 8489 or RFC 8656.
        code: u16,
        /// The step that failed.
        step: &'static str,
        /// Whether the request carried the credential.
        with_credential: bool,
    },
    /// The credential or the challenge is longer than STUN allows.
    #[error("the credential or the server's challenge is longer than STUN allows")]
    TooLong,
}

impl ProbeError {
    /// The error for a failed system call.
    pub(super) fn of_io(step: &'static str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::AddrNotAvailable => Self::NoRoute,
            io::ErrorKind::TimedOut => Self::Timeout(step),
            _ => Self::Broken(step, error),
        }
    }

    /// Whether no server answered.
    pub(super) const fn is_unreached(&self) -> bool {
        matches!(self, Self::Name | Self::Refused | Self::NoRoute | Self::Timeout(_) | Self::Broken(..))
    }

    /// The remedy.
    pub(super) fn remedy(&self, url: &IceUrl, source: IceSource) -> String {
        let (host, port, transport) = (url.host(), url.port(), url.transport());
        let is_datagrams = matches!(transport, Transport::Udp | Transport::Dtls);
        let protocol = if is_datagrams { "UDP" } else { "TCP" };
        match self {
            Self::Name => format!("correct the name {host}, or fix this machine's resolver: `getent hosts {host}`"),
            Self::NoRoute => format!("fix this machine's route to {host}, or try from another network"),
            Self::Refused => {
                format!("check that the server listens on {protocol} port {port}, and that its firewall allows it")
            }
            Self::Timeout(step) | Self::Broken(step, _) if !is_datagrams && *step != CONNECT => format!(
                "check that port {port} of {host} is the relay's port for {}: it accepts connections and does not answer",
                if transport == Transport::Tls { "TLS" } else { "TCP without TLS" },
            ),
            Self::Timeout(_) | Self::Broken(..) => format!(
                "allow outgoing {protocol} port {port} to {host} in this network, and incoming at the server"
            ),
            Self::Tls(_) => {
                "install a certificate for this name with its complete chain; for an authority of your own, use --ca".into()
            }
            Self::NotStun => "check the URL: the port belongs to another service".into(),
            Self::NothingThrough => RELAY_PORTS.into(),
            Self::Unsigned | Self::Code { code: 401, with_credential: true, .. } => {
                refused_credential(source).into()
            }
            Self::Code { code, .. } => explained(*code).1.into(),
            Self::TooLong => "use a shorter user name or realm".into(),
        }
    }
}

/// What a code of RFC 8489 or RFC 8656 means, and what to do.
fn explained(code: u16) -> (&'static str, &'static str) {
    match code {
        401 => {
            ("the server does not accept the credential", "configure its authentication (use-auth-secret)")
        }
        403 => ("the server forbids this request", "check its lists of addresses (coturn: denied-peer-ip)"),
        437 | 441 => ("the server already has an allocation for this port", "run doctor again in a minute"),
        438 => ("the server rejects its own nonce as stale", "let a client always reach the same server"),
        440 | 442 => ("the server does not relay UDP over IPv4", "configure it (coturn: relay-ip)"),
        486 => ("this user has reached its quota of allocations", "raise it (coturn: user-quota)"),
        508 => ("the server has no relay port left", "give it more (coturn: min-port, max-port)"),
        _ => ("an error of the server", LOG),
    }
}

/// The remedy for relay ports that nothing reaches.
pub(super) const RELAY_PORTS: &str = "open the relay's UDP ports in its firewall (coturn: min-port to max-port), and check its public address (coturn: external-ip)";
const LOG: &str = "read the server's log";

fn refused_credential(source: IceSource) -> &'static str {
    match source {
        IceSource::Coturn => {
            "set COTURN_SECRET to coturn's static-auth-secret, and compare both machines' clocks"
        }
        IceSource::Manual => "set the server's current user name and password in MANUAL_ICE_SERVERS",
        IceSource::Cloudflare => "run doctor again; if the error continues, make a new TURN key",
        IceSource::Relay | IceSource::Stun | IceSource::Sfu => LOG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_for_a_refused_credential_depends_on_the_source() {
        let url = IceUrl::parse("turn:relay.example").unwrap();
        let refused = ProbeError::Code { code: 401, step: "the allocation request", with_credential: true };
        assert!(refused.remedy(&url, IceSource::Coturn).contains("COTURN_SECRET"));
        assert!(refused.remedy(&url, IceSource::Manual).contains("MANUAL_ICE_SERVERS"));
        assert!(refused.remedy(&url, IceSource::Cloudflare).contains("TURN key"));
    }

    #[test]
    fn the_remedy_names_port_and_protocol() {
        let url = IceUrl::parse("turns:relay.example:443").unwrap();
        let remedy = ProbeError::Timeout(CONNECT).remedy(&url, IceSource::Coturn);
        assert!(remedy.contains("TCP port 443 to relay.example"), "{remedy}");
        let remedy = ProbeError::Timeout("the TLS handshake").remedy(&url, IceSource::Coturn);
        assert!(remedy.contains("accepts connections") && remedy.contains("port for TLS"), "{remedy}");
    }
}

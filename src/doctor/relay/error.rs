//! The errors of a STUN or TURN server, with their meaning and remedy. Every text is ours; the server's texts are not repeated.

use std::io;

use super::super::finding::Remedy;
use crate::ice::url::{IceUrl, Transport};
use turn_ledger::IceSource;

/// A step of the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// A binding request.
    Binding,
    /// An Allocate request, at first without a credential; the server answers with a challenge.
    Allocate,
    /// Refreshing the allocation.
    Refresh,
    /// Releasing the allocation.
    Release,
}

/// Why a server could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// The name has no address.
    #[error("the name has no address")]
    Name,
    /// This machine has no route to the address.
    #[error("there is no route from this machine")]
    NoRoute,
    /// Connection refused.
    #[error("refused: nothing listens on that port, or a firewall rejects it")]
    Refused,
    /// No answer.
    #[error("no answer in time: {}", noun(*.0))]
    Timeout(Step),
    /// The connection broke.
    #[error("the connection broke: {} ({})", noun(*.0), .1.kind())]
    Broken(Step, io::Error),
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Another service listens there.
    #[error("another service answers there, not a STUN or TURN server")]
    NotStun,
    /// The answer does not prove that the server knows the credential.
    #[error("the server's answer is not signed with the credential")]
    Unsigned,
    /// The server answered with an error code.
    #[error("{} was answered with {code}: {}", noun(*.step), code_row(*.code).0)]
    Code {
        /// A code of RFC 8489 or RFC 8656.
        code: u16,
        /// The step that failed.
        step: Step,
        /// Whether the request carried the credential.
        with_credential: bool,
    },
    /// TURN over DTLS is not supported here.
    #[error("TURN over DTLS is not tried: browsers do not support it")]
    Dtls,
    /// The credential or the challenge is longer than STUN allows.
    #[error("the credential or the server's challenge is longer than STUN allows")]
    TooLong,
}

impl ProbeError {
    /// The error for a failed system call.
    pub(super) fn of_io(step: Step, error: io::Error) -> Self {
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
    pub(super) fn remedy(&self, url: &IceUrl, source: IceSource) -> Remedy {
        let (host, port) = (url.host(), url.port());
        match self {
            Self::Name => Remedy::from(format!("correct the name {host}, or fix this machine's resolver")),
            Self::NoRoute => {
                Remedy::from(format!("fix this machine's route to {host}, or try from another network"))
            }
            Self::Refused => Remedy::from(format!(
                "check that the server listens on {} port {port}, and that its firewall allows it",
                protocol(url)
            )),
            Self::Timeout(step) | Self::Broken(step, _) if is_open(url, *step) => Remedy::guess(format!(
                "check that port {port} of {host} is the relay's port for {}: it accepts connections and does not answer",
                if url.transport() == Transport::Tls { "TLS" } else { "TCP without TLS" },
            )),
            Self::Timeout(_) | Self::Broken(..) => Remedy::from(format!(
                "allow outgoing {} port {port} to {host} in this network, and incoming at the server",
                protocol(url)
            )),
            Self::Tls(_) => Remedy::from(
                "install a certificate for this name with its complete chain; for an authority of your own, use --ca",
            ),
            Self::NotStun => Remedy::from("check the URL: the port belongs to another service"),
            Self::Unsigned | Self::Code { code: 401, with_credential: true, .. } => {
                refused_credential(source)
            }
            Self::Code { code, .. } => code_row(*code).1,
            Self::Dtls => Remedy::from("use ?transport=tcp in turns: URLs"),
            Self::TooLong => Remedy::from("use a shorter user name or realm"),
        }
    }
}

const fn noun(step: Step) -> &'static str {
    match step {
        Step::Connect => "the connection",
        Step::Handshake => "the TLS handshake",
        Step::Binding => "the binding request",
        Step::Allocate => "the allocation request",
        Step::Refresh => "the refresh of the allocation",
        Step::Release => "the release of the allocation",
    }
}

/// Whether the step happened on an open stream.
fn is_open(url: &IceUrl, step: Step) -> bool {
    matches!(url.transport(), Transport::Tcp | Transport::Tls) && step != Step::Connect
}

fn protocol(url: &IceUrl) -> &'static str {
    match url.transport() {
        Transport::Udp | Transport::Dtls => "UDP",
        Transport::Tcp | Transport::Tls => "TCP",
    }
}

/// The codes of RFC 8489 and RFC 8656: the code, what it means, the remedy, and whether that is a guess.
const CODES: [(u16, &str, &str, bool); 13] = [
    (
        300,
        "the server redirects to another server",
        "list the URL of the target server: browsers do not follow it",
        false,
    ),
    (400, "the server does not understand the request", LOG, false),
    (
        401,
        "the server does not accept the credential",
        "configure the server's authentication (coturn: use-auth-secret and realm)",
        false,
    ),
    (
        403,
        "the server forbids this request",
        "check its lists of allowed and denied addresses (coturn: denied-peer-ip, its log)",
        true,
    ),
    (420, "the server does not know an attribute of the request", LOG, false),
    (
        437,
        "the server already has an allocation for this address and port",
        "run doctor again in a minute",
        true,
    ),
    (
        438,
        "the server rejects its own nonce as stale again and again",
        "make sure that a client always reaches the same server",
        true,
    ),
    (
        440,
        "the server does not relay for this address family",
        "relay UDP over IPv4 (coturn: relay-ip)",
        false,
    ),
    (
        441,
        "an allocation on this connection belongs to another credential",
        "run doctor again in a minute",
        true,
    ),
    (442, "the server does not relay UDP", "relay UDP over IPv4 (coturn: no no-udp-relay)", false),
    (
        486,
        "this user has reached its quota of allocations",
        "raise the server's quota (coturn: user-quota, total-quota)",
        false,
    ),
    (500, "an error inside the server", LOG, false),
    (
        508,
        "the server has no relay port left",
        "give the server more relay ports (coturn: min-port, max-port)",
        false,
    ),
];
const LOG: &str = "read the server's log";

fn code_row(code: u16) -> (&'static str, Remedy) {
    let row = CODES.iter().find(|row| row.0 == code);
    let (_, meaning, text, is_guess) = *row.unwrap_or(&(0, "a code that TURN does not define", LOG, false));
    (meaning, Remedy { text: text.to_owned(), is_guess })
}

fn refused_credential(source: IceSource) -> Remedy {
    match source {
        IceSource::Coturn => {
            "set COTURN_SECRET to coturn's static-auth-secret, and compare both machines' clocks".into()
        }
        IceSource::Manual => "set the server's current user name and password in MANUAL_ICE_SERVERS".into(),
        IceSource::Cloudflare => {
            Remedy::guess("run doctor again; if the error continues, make a new TURN key")
        }
        IceSource::Relay | IceSource::Stun | IceSource::Sfu => LOG.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: u16) -> ProbeError {
        ProbeError::Code { code, step: Step::Allocate, with_credential: true }
    }

    #[test]
    fn every_code_of_turn_has_a_meaning_and_a_remedy() {
        let url = IceUrl::parse("turn:relay.example").unwrap();
        for known in [300, 400, 401, 403, 420, 437, 438, 440, 441, 442, 486, 500, 508] {
            let text = code(known).to_string();
            assert!(text.contains(&known.to_string()) && !text.contains("does not define"), "{text}");
            assert!(!code(known).remedy(&url, IceSource::Coturn).text.is_empty());
        }
        assert!(code(699).to_string().contains("does not define"));
    }

    #[test]
    fn the_remedy_for_a_refused_credential_depends_on_the_source() {
        let url = IceUrl::parse("turn:relay.example").unwrap();
        let remedy = |source| code(401).remedy(&url, source);
        assert!(remedy(IceSource::Coturn).text.contains("COTURN_SECRET"));
        assert!(remedy(IceSource::Manual).text.contains("MANUAL_ICE_SERVERS"));
        assert!(remedy(IceSource::Cloudflare).is_guess);
    }

    #[test]
    fn the_remedy_names_port_and_protocol() {
        let url = IceUrl::parse("turns:relay.example:443").unwrap();
        let remedy = ProbeError::Timeout(Step::Connect).remedy(&url, IceSource::Coturn).text;
        assert!(remedy.contains("TCP port 443 to relay.example"), "{remedy}");
        let remedy = ProbeError::Timeout(Step::Handshake).remedy(&url, IceSource::Coturn).text;
        assert!(remedy.contains("accepts connections") && remedy.contains("port for TLS"), "{remedy}");
    }
}

//! Why a STUN or TURN server could not be used, what that means, and what to do. Every text is ours: what a server says in
//! words is not repeated.

use std::io;

use super::super::finding::Remedy;
use crate::ice::url::{IceUrl, Transport};
use turn_ledger::source::IceSource;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Asking for our own address.
    Binding,
    /// Asking for an allocation, at first without a credential, which a server answers by saying what it wants to see.
    Allocate,
    /// Giving the allocation back.
    Release,
}

/// Why it could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// No address under that name.
    #[error("the name has no address")]
    Name,
    /// No way from here to such an address.
    #[error("there is no route from this machine")]
    NoRoute,
    /// A definite no: nothing listens there.
    #[error("refused: nothing listens on that port, or a firewall says no")]
    Refused,
    /// Silence.
    #[error("no answer in time: {}", noun(*.0))]
    Timeout(Step),
    /// The connection ended.
    #[error("the connection broke: {} ({})", noun(*.0), .1.kind())]
    Broken(Step, io::Error),
    /// No TLS, or no certificate that is good.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Something else lives there.
    #[error("what answers is no STUN or TURN server")]
    NotStun,
    /// The answer does not prove that the server knows the credential.
    #[error("the server's answer is not signed with the credential")]
    Unsigned,
    /// It says no, by this code.
    #[error("{} was answered with {code}: {}", noun(*.step), meaning(*.code))]
    Code {
        /// RFC 8489 and RFC 8656.
        code: u16,
        /// What was asked.
        step: Step,
        /// Whether the credential was shown.
        shown: bool,
    },
    /// Not spoken here.
    #[error("TURN over DTLS is not tried: browsers do not speak it")]
    Dtls,
    /// A name in the credential or in the challenge that STUN does not allow.
    #[error("the credential or the server's challenge is longer than STUN allows")]
    Unwritable,
}

/// What kind of trouble it is, for telling what the errors mean together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its name has no address: the way there was not tried.
    Unnamed,
    /// Nothing came back that a server sent.
    Unreachable,
    /// The server answers and does not take the credential.
    Credential,
    /// The server answers and says no for another reason.
    Server,
    /// A certificate.
    Certificate,
    /// Not tried.
    NotTried,
}

impl Trouble {
    /// Whether no server has said anything.
    pub(super) const fn is_unreached(self) -> bool {
        matches!(self, Self::Unnamed | Self::Unreachable)
    }
}

impl ProbeError {
    /// What a failed call of the system means.
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

    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Name => Trouble::Unnamed,
            Self::NoRoute | Self::Refused | Self::Timeout(_) | Self::Broken(..) => Trouble::Unreachable,
            Self::Code { code: 401 | 403 | 431 | 441, shown: true, .. }
            | Self::Unsigned
            | Self::Unwritable => Trouble::Credential,
            Self::Code { .. } | Self::NotStun => Trouble::Server,
            Self::Tls(_) => Trouble::Certificate,
            Self::Dtls => Trouble::NotTried,
        }
    }

    /// What to do about it.
    pub(super) fn remedy(&self, url: &IceUrl, source: IceSource) -> Remedy {
        let (host, port) = (url.host(), url.port());
        match self {
            Self::Name => Remedy::sure(format!("mend the name {host}, or this machine's resolver")),
            Self::NoRoute => {
                Remedy::sure(format!("mend this machine's way to {host}, or try from another network"))
            }
            Self::Refused => Remedy::sure(format!(
                "see that the server listens on port {port} for {}, and that the firewall there lets it in",
                spoken(url)
            )),
            Self::Timeout(step) | Self::Broken(step, _) if is_open(url, *step) => Remedy::guess(format!(
                "port {port} of {host} takes connections and then does not speak: see that it is the relay's port for \
                 {}, and what filters on the way",
                if url.transport() == Transport::Tls { "TLS" } else { "TCP without TLS" },
            )),
            Self::Timeout(_) | Self::Broken(..) => Remedy::sure(format!(
                "open {} port {port} to {host} on the way out of this network, and on the way in at the server",
                spoken(url)
            )),
            Self::Tls(_) => Remedy::sure(
                "give the server a certificate for this name from a public authority, with its whole chain; for one of \
                 your own, try --ca with its PEM file: clients have to know it too",
            ),
            Self::NotStun => Remedy::sure("the port belongs to another service: check the URL"),
            Self::Code { code, shown, .. } => by_code(*code, *shown, source),
            Self::Unsigned => refused_credential(source),
            Self::Dtls => Remedy::sure("use ?transport=tcp in turns: URLs"),
            Self::Unwritable => Remedy::sure("use a shorter user name or realm"),
        }
    }
}

const fn noun(step: Step) -> &'static str {
    match step {
        Step::Connect => "the connection",
        Step::Handshake => "the TLS handshake",
        Step::Binding => "the binding request",
        Step::Allocate => "the allocation request",
        Step::Release => "giving the allocation back",
    }
}

/// Whether it was a stream that was there already.
fn is_open(url: &IceUrl, step: Step) -> bool {
    matches!(url.transport(), Transport::Tcp | Transport::Tls) && step != Step::Connect
}

fn spoken(url: &IceUrl) -> &'static str {
    match url.transport() {
        Transport::Udp | Transport::Dtls => "UDP",
        Transport::Tcp | Transport::Tls => "TCP",
    }
}

const fn meaning(code: u16) -> &'static str {
    match code {
        300 => "it sends us to another server",
        400 => "it does not understand the request",
        401 => "it does not accept the credential",
        403 => "it forbids this to us",
        420 => "it does not know something that we said",
        437 => "it has another allocation for this address and port already",
        438 => "it keeps on calling its own nonce stale",
        440 => "it does not relay for this address family",
        441 => "an allocation on this connection belongs to another credential",
        442 => "it does not relay UDP",
        486 => "this user has as many allocations as it may",
        500 => "an error inside the server",
        508 => "the server has no room for another relay port",
        _ => "a code that TURN does not explain",
    }
}

fn by_code(code: u16, shown: bool, source: IceSource) -> Remedy {
    match code {
        300 => "put the URL of the server that is to be used into the list: browsers do not follow".into(),
        401 if !shown => "the server asks for a credential without saying its realm: set up its authentication (coturn: \
             use-auth-secret and realm)"
            .into(),
        401 => refused_credential(source),
        403 => Remedy::guess(
            "the server does not want this address: look at its lists of allowed and denied addresses (coturn: allowed-\
             and denied-peer-ip, its log)",
        ),
        437 | 441 => Remedy::guess("run doctor again in a minute: an old allocation ends by itself"),
        438 => Remedy::guess(
            "several servers behind one address do not share their nonces, or their clocks differ: let a client always \
             reach the same one",
        ),
        440 | 442 => "let the server relay UDP over IPv4 (coturn: relay-ip, no-udp-relay)".into(),
        486 => "raise the server's quota (coturn: user-quota, total-quota), or find out who keeps so many allocations"
            .into(),
        508 => "give the server more relay ports (coturn: min-port, max-port), or more capacity".into(),
        _ => "look into the server's log".into(),
    }
}

fn refused_credential(source: IceSource) -> Remedy {
    match source {
        IceSource::Coturn => {
            "make COTURN_SECRET the same as coturn's static-auth-secret, set use-auth-secret there, and \
             compare the clocks of both machines"
                .into()
        }
        IceSource::Manual => {
            "put the user name and password that the server has now into MANUAL_ICE_SERVERS".into()
        }
        IceSource::Cloudflare => Remedy::guess(
            "the credential was made a moment ago: run doctor again; if it stays so, make a new TURN key and set both \
             CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN",
        ),
        IceSource::Relay | IceSource::Stun => "look into the server's log".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: u16) -> ProbeError {
        ProbeError::Code { code, step: Step::Allocate, shown: true }
    }

    #[test]
    fn every_code_that_turn_knows_is_explained_and_has_a_remedy() {
        let url = IceUrl::parse("turn:relay.example").unwrap();
        for known in [300, 400, 401, 403, 420, 437, 438, 440, 441, 442, 486, 500, 508] {
            let text = code(known).to_string();
            assert!(text.contains(&known.to_string()) && !text.contains("does not explain"), "{text}");
            assert!(!code(known).remedy(&url, IceSource::Coturn).text.is_empty());
        }
        assert!(code(699).to_string().contains("does not explain"));
    }

    #[test]
    fn a_refused_credential_is_told_by_its_source() {
        let url = IceUrl::parse("turn:relay.example").unwrap();
        let remedy = |source| code(401).remedy(&url, source);
        assert!(remedy(IceSource::Coturn).text.contains("COTURN_SECRET"));
        assert!(remedy(IceSource::Manual).text.contains("MANUAL_ICE_SERVERS"));
        assert!(remedy(IceSource::Cloudflare).is_guess);
    }

    #[test]
    fn a_401_to_a_credential_is_another_trouble_than_one_before_it() {
        assert_eq!(code(401).trouble(), Trouble::Credential);
        let before = ProbeError::Code { code: 401, step: Step::Allocate, shown: false };
        assert_eq!(before.trouble(), Trouble::Server);
        assert_eq!(code(486).trouble(), Trouble::Server);
        assert_eq!(ProbeError::Timeout(Step::Connect).trouble(), Trouble::Unreachable);
    }

    #[test]
    fn the_port_and_the_protocol_to_open_are_named() {
        let url = IceUrl::parse("turns:relay.example:443").unwrap();
        let remedy = ProbeError::Timeout(Step::Connect).remedy(&url, IceSource::Coturn).text;
        assert!(remedy.contains("TCP port 443 to relay.example"), "{remedy}");
        let remedy = ProbeError::Timeout(Step::Handshake).remedy(&url, IceSource::Coturn).text;
        assert!(remedy.contains("takes connections") && remedy.contains("port for TLS"), "{remedy}");
    }
}

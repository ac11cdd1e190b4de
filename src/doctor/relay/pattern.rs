//! A conclusion about the network from the results of all STUN and TURN servers. Pure.

use super::super::finding::{Check, Finding};
use super::error::FailureKind;
use crate::ice::url::Transport;

/// One URL that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) relays: bool,
    pub(super) transport: Transport,
    pub(super) port: u16,
    /// Whether it worked, else the kind of error.
    pub(super) outcome: Result<(), FailureKind>,
}

/// The conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// No server was tried.
    Nothing,
    /// No name of a relay has an address. Without relays: no name of a STUN server has one.
    NoAddress,
    /// There are only STUN servers, and one answers.
    StunAlone,
    /// There are only STUN servers, and all are silent.
    NoStun,
    /// There are only STUN servers, none works, and not all are silent.
    StunFails,
    /// Every relay works, at least one over TLS.
    AllWork,
    /// Every relay works, none over TLS.
    NoTls,
    /// A relay is reachable and rejects the credential.
    CredentialRefused,
    /// No relay can be reached, but STUN answers.
    RelaysBlocked,
    /// Nothing can be reached.
    EverythingBlocked,
    /// No relay works, and the network is not the reason.
    NoneServes,
    /// No UDP passes, not even to STUN; TCP or TLS does. Only said if every name has an address and no port refused.
    UdpBlocked,
    /// UDP works to STUN and not to the relay. TCP or TLS works.
    RelayUdpClosed,
    /// Only TLS on port 443 works.
    OnlyTls443,
    /// UDP works, TCP and TLS do not.
    OnlyUdp,
    /// Any other combination.
    SomeFail,
}

impl Pattern {
    fn of(tried: &[Tried]) -> Self {
        let tried: Vec<_> = tried.iter().filter(|one| one.outcome != Err(FailureKind::NotTried)).collect();
        let (relays, stun): (Vec<&Tried>, Vec<&Tried>) = tried.into_iter().partition(|one| one.relays);
        let stun_answers = stun.iter().any(|one| one.outcome.is_ok());
        let failures: Vec<FailureKind> = relays.iter().filter_map(|one| one.outcome.err()).collect();
        let works: Vec<_> = relays.iter().filter(|one| one.outcome.is_ok()).collect();
        let some_work = |transport| works.iter().any(|one| one.transport == transport);
        let over = |is_udp: bool| -> Vec<&Tried> {
            relays.iter().copied().filter(|one| (one.transport == Transport::Udp) == is_udp).collect()
        };
        let is_silent = |one: &&Tried| one.outcome == Err(FailureKind::Unreachable);
        let is_closed = |one: &&Tried| is_silent(one) || one.outcome == Err(FailureKind::Refused);
        let all_closed = |these: &[&Tried]| !these.is_empty() && these.iter().all(is_closed);
        let decisive = if relays.is_empty() { &stun } else { &relays };
        if !decisive.is_empty() && decisive.iter().all(|one| one.outcome == Err(FailureKind::NoAddress)) {
            return Self::NoAddress;
        }
        if relays.is_empty() {
            return match (stun.is_empty(), stun_answers) {
                (true, _) => Self::Nothing,
                (false, true) => Self::StunAlone,
                (false, false) if stun.iter().all(is_silent) => Self::NoStun,
                (false, false) => Self::StunFails,
            };
        }
        if failures.is_empty() {
            return if some_work(Transport::Tls) { Self::AllWork } else { Self::NoTls };
        }
        if works.is_empty() {
            if failures.contains(&FailureKind::Credential) {
                return Self::CredentialRefused;
            }
            return match failures.iter().all(|kind| kind.is_unreached()) {
                false => Self::NoneServes,
                true if stun_answers => Self::RelaysBlocked,
                true => Self::EverythingBlocked,
            };
        }
        let only_443 = works.iter().all(|one| one.transport == Transport::Tls && one.port == 443);
        let udp = over(true);
        if all_closed(&udp) && stun_answers {
            return Self::RelayUdpClosed;
        }
        if !udp.is_empty() && udp.iter().chain(&stun).all(is_silent) {
            return if only_443 { Self::OnlyTls443 } else { Self::UdpBlocked };
        }
        if all_closed(&over(false)) { Self::OnlyUdp } else { Self::SomeFail }
    }
}

/// The finding with the conclusion.
pub(super) fn finding(tried: &[Tried]) -> Finding {
    let ok = |seen: &str| Finding::ok(Check::Network, "", seen);
    let warn = |seen: &str, remedy: &str| Finding::warn(Check::Network, "", seen, remedy);
    let fail = |seen: &str, remedy: &str| Finding::fail(Check::Network, "", seen, remedy);
    match Pattern::of(tried) {
        Pattern::Nothing => Finding::skipped(Check::Network, "", "no server was tried"),
        Pattern::NoAddress => fail(
            "the names of these servers have no address here, so the network could not be tested",
            "correct the names, or fix this machine's resolver: see dns above",
        ),
        Pattern::StunAlone => warn(
            "STUN answers, but no relay could be tried: calls that need a relay fail (reportedly 15 to 20 % of all \
             calls)",
            "configure a source that relays, or see above why it gave no credential",
        ),
        Pattern::NoStun => fail(
            "no STUN server answers, and there is no relay: UDP seems to be blocked here",
            "allow outgoing UDP in this network, or try from the network of the clients",
        ),
        Pattern::StunFails => fail(
            "no STUN server works, and there is no relay; the network is not the only reason",
            "see the remedies at these URLs",
        ),
        Pattern::AllWork => ok("every relay URL works"),
        Pattern::NoTls => warn(
            "every relay URL works, but none uses TLS: networks that allow only outgoing TLS (many offices) have no relay",
            "add a turns: URL on 443 or 5349 over TCP",
        ),
        Pattern::CredentialRefused => fail(
            "the relay can be reached and rejects the credential: calls that need it fail everywhere",
            "follow the remedy of the URL that rejects the credential",
        ),
        Pattern::RelaysBlocked => fail(
            "STUN answers, but no relay can be reached: its ports are closed, on the path or at the server",
            "check that the relay runs, and open its ports",
        ),
        Pattern::EverythingBlocked => fail(
            "nothing can be reached from here: neither STUN nor a relay",
            "check that the servers run, and that this network allows outgoing UDP and these TCP ports",
        ),
        Pattern::NoneServes => {
            fail("the relay's servers answer, but none of them relays", "see the remedies at its URLs")
        }
        Pattern::UdpBlocked => warn(
            "UDP is blocked here, as in many offices: calls over the relay work by TCP or TLS, with more delay",
            "allow outgoing UDP to the relay's ports here; clients elsewhere need nothing",
        ),
        Pattern::RelayUdpClosed => warn(
            "UDP works here (STUN answers), but not to the relay: calls over it work by TCP or TLS, with more delay",
            "check that the relay listens for UDP, and open those ports at the server",
        ),
        Pattern::OnlyTls443 => warn(
            "only TLS on port 443 works here, as in strict offices: calls over the relay work, with more delay",
            "keep the turns: URL on 443 in the list; allow outgoing UDP and the other ports here, if you want",
        ),
        Pattern::OnlyUdp => warn(
            "UDP works, TCP and TLS do not: networks that block UDP have no relay",
            "open the relay's TCP ports, and check that it listens there",
        ),
        Pattern::SomeFail => {
            warn("some of the relay's URLs work, others do not", "see the remedies at these URLs")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::State;
    use super::*;
    use Transport::{Tcp, Tls, Udp};

    const OK: Result<(), FailureKind> = Ok(());
    const LOST: Result<(), FailureKind> = Err(FailureKind::Unreachable);
    const NO_ADDRESS: Result<(), FailureKind> = Err(FailureKind::NoAddress);
    const REFUSED: Result<(), FailureKind> = Err(FailureKind::Refused);

    fn turn(transport: Transport, port: u16, outcome: Result<(), FailureKind>) -> Tried {
        Tried { relays: true, transport, port, outcome }
    }

    fn stun(outcome: Result<(), FailureKind>) -> Tried {
        Tried { relays: false, transport: Udp, port: 3478, outcome }
    }

    #[test]
    fn all_results_together_lead_to_one_conclusion() {
        let five = |udp, tcp, tls, tls_443| {
            vec![
                stun(udp),
                turn(Udp, 3478, udp),
                turn(Tcp, 3478, tcp),
                turn(Tls, 5349, tls),
                turn(Tls, 443, tls_443),
            ]
        };
        for (tried, pattern) in [
            (vec![], Pattern::Nothing),
            (vec![stun(OK)], Pattern::StunAlone),
            (vec![stun(LOST), stun(LOST)], Pattern::NoStun),
            (vec![stun(NO_ADDRESS), stun(NO_ADDRESS)], Pattern::NoAddress),
            (vec![stun(NO_ADDRESS), stun(LOST)], Pattern::StunFails),
            (vec![stun(REFUSED), stun(LOST)], Pattern::StunFails),
            (five(REFUSED, OK, OK, OK), Pattern::SomeFail),
            (vec![stun(REFUSED), turn(Udp, 3478, LOST), turn(Tls, 443, OK)], Pattern::SomeFail),
            (vec![stun(NO_ADDRESS), turn(Udp, 3478, LOST), turn(Tls, 443, OK)], Pattern::SomeFail),
            (vec![stun(LOST), turn(Udp, 3478, NO_ADDRESS), turn(Tls, 443, OK)], Pattern::SomeFail),
            (vec![stun(OK), turn(Udp, 3478, REFUSED), turn(Tls, 443, OK)], Pattern::RelayUdpClosed),
            (five(OK, REFUSED, REFUSED, REFUSED), Pattern::OnlyUdp),
            (vec![stun(OK), turn(Udp, 3478, NO_ADDRESS), turn(Tls, 443, NO_ADDRESS)], Pattern::NoAddress),
            (vec![stun(OK), turn(Udp, 3478, NO_ADDRESS), turn(Tls, 443, LOST)], Pattern::RelaysBlocked),
            (vec![stun(OK), turn(Udp, 3478, NO_ADDRESS), turn(Tls, 443, OK)], Pattern::SomeFail),
            (five(OK, OK, OK, OK), Pattern::AllWork),
            (five(LOST, OK, OK, OK), Pattern::UdpBlocked),
            (five(LOST, LOST, OK, OK), Pattern::UdpBlocked),
            (five(LOST, LOST, LOST, OK), Pattern::OnlyTls443),
            (vec![stun(OK), turn(Udp, 3478, LOST), turn(Tls, 443, OK)], Pattern::RelayUdpClosed),
            (five(OK, LOST, LOST, LOST), Pattern::OnlyUdp),
            (five(LOST, LOST, LOST, LOST), Pattern::EverythingBlocked),
            (five(OK, OK, LOST, OK), Pattern::SomeFail),
            (vec![stun(OK), turn(Udp, 3478, LOST), turn(Tcp, 3478, LOST)], Pattern::RelaysBlocked),
            (vec![turn(Udp, 3478, OK), turn(Tcp, 3478, OK)], Pattern::NoTls),
            (
                vec![turn(Udp, 3478, Err(FailureKind::Credential)), turn(Tls, 443, LOST)],
                Pattern::CredentialRefused,
            ),
            (vec![turn(Udp, 3478, Err(FailureKind::Credential)), turn(Tls, 443, OK)], Pattern::SomeFail),
            (vec![turn(Udp, 3478, Err(FailureKind::Server)), turn(Tls, 443, LOST)], Pattern::NoneServes),
            (vec![turn(Tls, 443, Err(FailureKind::Certificate))], Pattern::NoneServes),
            (vec![turn(Udp, 3478, OK), turn(Tls, 443, Err(FailureKind::Certificate))], Pattern::SomeFail),
            (
                vec![turn(Tls, 443, OK), turn(Transport::Dtls, 443, Err(FailureKind::NotTried))],
                Pattern::AllWork,
            ),
        ] {
            assert_eq!(Pattern::of(&tried), pattern, "{tried:?}");
        }
    }

    #[test]
    fn no_working_relay_is_a_failure_and_a_slower_one_is_a_warning() {
        for (tried, state) in [
            (vec![turn(Udp, 3478, LOST), turn(Tls, 443, OK)], State::Warn),
            (vec![turn(Udp, 3478, LOST), turn(Tls, 443, LOST)], State::Fail),
            (vec![turn(Udp, 3478, Err(FailureKind::Credential))], State::Fail),
            (vec![stun(LOST)], State::Fail),
            (vec![stun(NO_ADDRESS)], State::Fail),
            (vec![stun(OK)], State::Warn),
        ] {
            assert_eq!(finding(&tried).state, state, "{tried:?}");
        }
    }
}

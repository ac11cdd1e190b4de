//! What the answers of all STUN and TURN servers mean together, in plain words. Pure.

use super::super::finding::{Check, Finding};
use super::error::Trouble;
use crate::ice::url::Transport;

/// One URL that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) relays: bool,
    pub(super) transport: Transport,
    pub(super) port: u16,
    /// `Err`: what kind of trouble.
    pub(super) outcome: Result<(), Trouble>,
}

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// No server was tried.
    Nothing,
    /// What should relay, or answer where nothing relays, has names without an address.
    Unnamed,
    /// Only STUN, and it answers.
    StunAlone,
    /// Only STUN, and none answers.
    NoStun,
    /// Every relay works, one of them over TLS.
    AllWell,
    /// Every relay works, none of them is over TLS.
    NoTls,
    /// Reachable, and the credential is not taken.
    CredentialRefused,
    /// No relay can be reached, while STUN answers.
    RelaysBlocked,
    /// Nothing can be reached.
    EverythingBlocked,
    /// None works, and not because of the network.
    NoneServes,
    /// No datagram gets through, not even STUN's; streams do.
    UdpBlocked,
    /// STUN's datagrams get through, the relay's do not; streams do.
    RelayUdpClosed,
    /// Nothing gets through but TLS on 443.
    OnlyTls443,
    /// Datagrams get through, no stream does.
    OnlyUdp,
    /// All else.
    SomeFail,
}

impl Pattern {
    fn of(tried: &[Tried]) -> Self {
        let tried: Vec<_> = tried.iter().filter(|one| one.outcome != Err(Trouble::NotTried)).collect();
        let (relays, stun): (Vec<&Tried>, Vec<&Tried>) = tried.into_iter().partition(|one| one.relays);
        let stun_answers = stun.iter().any(|one| one.outcome.is_ok());
        let troubles: Vec<Trouble> = relays.iter().filter_map(|one| one.outcome.err()).collect();
        let works: Vec<_> = relays.iter().filter(|one| one.outcome.is_ok()).collect();
        let some_work = |transport| works.iter().any(|one| one.transport == transport);
        let all_blocked = |is_udp: bool| {
            let mut these =
                relays.iter().filter(|one| (one.transport == Transport::Udp) == is_udp).peekable();
            these.peek().is_some() && these.all(|one| one.outcome == Err(Trouble::Unreachable))
        };
        let decisive = if relays.is_empty() { &stun } else { &relays };
        if !decisive.is_empty() && decisive.iter().all(|one| one.outcome == Err(Trouble::Unnamed)) {
            return Self::Unnamed;
        }
        if relays.is_empty() {
            return match (stun.is_empty(), stun_answers) {
                (true, _) => Self::Nothing,
                (false, true) => Self::StunAlone,
                (false, false) => Self::NoStun,
            };
        }
        if troubles.is_empty() {
            return if some_work(Transport::Tls) { Self::AllWell } else { Self::NoTls };
        }
        if works.is_empty() {
            if troubles.contains(&Trouble::Credential) {
                return Self::CredentialRefused;
            }
            return match troubles.iter().all(|trouble| trouble.is_unreached()) {
                false => Self::NoneServes,
                true if stun_answers => Self::RelaysBlocked,
                true => Self::EverythingBlocked,
            };
        }
        let only_443 = works.iter().all(|one| one.transport == Transport::Tls && one.port == 443);
        if all_blocked(true) {
            return match (stun_answers, only_443) {
                (true, _) => Self::RelayUdpClosed,
                (false, true) => Self::OnlyTls443,
                (false, false) => Self::UdpBlocked,
            };
        }
        if all_blocked(false) { Self::OnlyUdp } else { Self::SomeFail }
    }
}

/// The finding that says it.
pub(super) fn finding(tried: &[Tried]) -> Finding {
    let ok = |seen: &str| Finding::ok(Check::Network, "", seen);
    let warn = |seen: &str, remedy: &str| Finding::warn(Check::Network, "", seen, remedy);
    let fail = |seen: &str, remedy: &str| Finding::fail(Check::Network, "", seen, remedy);
    match Pattern::of(tried) {
        Pattern::Nothing => Finding::skipped(Check::Network, "", "no server was tried"),
        Pattern::Unnamed => fail(
            "these servers' names have no address here, so that nothing can be said of the network",
            "see dns above: mend the names, or this machine's resolver",
        ),
        Pattern::StunAlone => warn(
            "STUN answers, but no relay could be tried: without one calls fail where a direct way is not found, in 15 to \
             20 % of networks as others report",
            "configure a source that relays, or see above why it gave no credential",
        ),
        Pattern::NoStun => fail(
            "no STUN server answers, and there is no relay: UDP seems to be blocked here",
            "let UDP out of this network, or try from the network where the clients are",
        ),
        Pattern::AllWell => ok("every relay works, by datagrams and by streams as the list has them"),
        Pattern::NoTls => warn(
            "every relay works, but none is behind TLS: from networks that let nothing but TLS out (many offices) there \
             is no relay",
            "add a turns: URL on 443 or 5349 over TCP",
        ),
        Pattern::CredentialRefused => fail(
            "the relay can be reached and does not take the credential: calls that need it fail everywhere",
            "see the remedy at the URL that says so",
        ),
        Pattern::RelaysBlocked => fail(
            "STUN answers, but no relay can be reached: its ports are closed, on the way or at the server",
            "see whether the relay runs, and open its ports",
        ),
        Pattern::EverythingBlocked => fail(
            "nothing can be reached from here: neither STUN nor a relay",
            "see whether the servers run, and whether this network lets UDP and these TCP ports out",
        ),
        Pattern::NoneServes => {
            fail("the relay's servers answer, and none of them relays", "see the remedies at its URLs")
        }
        Pattern::UdpBlocked => warn(
            "UDP is blocked from here, as in many offices: calls over the relay work by TCP or TLS, with more delay",
            "nothing has to be done for clients elsewhere; here, let UDP out to the relay's ports",
        ),
        Pattern::RelayUdpClosed => warn(
            "UDP gets out of here (STUN answers), but not to the relay: calls over it work by TCP or TLS, with more delay",
            "see whether the relay listens for UDP, and open those ports at the server",
        ),
        Pattern::OnlyTls443 => warn(
            "only TLS on port 443 gets out of here, as in strict offices: calls over the relay work, with more delay",
            "keep the turns: URL on 443 in the list; here, let UDP and the other ports out if that is wanted",
        ),
        Pattern::OnlyUdp => warn(
            "UDP gets through, TCP and TLS do not: from networks that block UDP there is no relay",
            "open the relay's TCP ports, or see whether it listens there",
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

    const OK: Result<(), Trouble> = Ok(());
    const LOST: Result<(), Trouble> = Err(Trouble::Unreachable);
    const UNNAMED: Result<(), Trouble> = Err(Trouble::Unnamed);

    fn turn(transport: Transport, port: u16, outcome: Result<(), Trouble>) -> Tried {
        Tried { relays: true, transport, port, outcome }
    }

    fn stun(outcome: Result<(), Trouble>) -> Tried {
        Tried { relays: false, transport: Udp, port: 3478, outcome }
    }

    #[test]
    fn the_answers_together_tell_what_the_network_does() {
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
            (vec![stun(UNNAMED), stun(UNNAMED)], Pattern::Unnamed),
            (vec![stun(UNNAMED), stun(LOST)], Pattern::NoStun),
            (vec![stun(OK), turn(Udp, 3478, UNNAMED), turn(Tls, 443, UNNAMED)], Pattern::Unnamed),
            (vec![stun(OK), turn(Udp, 3478, UNNAMED), turn(Tls, 443, LOST)], Pattern::RelaysBlocked),
            (vec![stun(OK), turn(Udp, 3478, UNNAMED), turn(Tls, 443, OK)], Pattern::SomeFail),
            (five(OK, OK, OK, OK), Pattern::AllWell),
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
                vec![turn(Udp, 3478, Err(Trouble::Credential)), turn(Tls, 443, LOST)],
                Pattern::CredentialRefused,
            ),
            (vec![turn(Udp, 3478, Err(Trouble::Credential)), turn(Tls, 443, OK)], Pattern::SomeFail),
            (vec![turn(Udp, 3478, Err(Trouble::Server)), turn(Tls, 443, LOST)], Pattern::NoneServes),
            (vec![turn(Tls, 443, Err(Trouble::Certificate))], Pattern::NoneServes),
            (vec![turn(Udp, 3478, OK), turn(Tls, 443, Err(Trouble::Certificate))], Pattern::SomeFail),
            (vec![turn(Tls, 443, OK), turn(Transport::Dtls, 443, Err(Trouble::NotTried))], Pattern::AllWell),
        ] {
            assert_eq!(Pattern::of(&tried), pattern, "{tried:?}");
        }
    }

    #[test]
    fn a_network_without_any_relay_that_works_is_a_failure_and_a_detour_is_not() {
        for (tried, state) in [
            (vec![turn(Udp, 3478, LOST), turn(Tls, 443, OK)], State::Warn),
            (vec![turn(Udp, 3478, LOST), turn(Tls, 443, LOST)], State::Fail),
            (vec![turn(Udp, 3478, Err(Trouble::Credential))], State::Fail),
            (vec![stun(LOST)], State::Fail),
            (vec![stun(UNNAMED)], State::Fail),
            (vec![stun(OK)], State::Warn),
        ] {
            assert_eq!(finding(&tried).state, state, "{tried:?}");
        }
    }
}

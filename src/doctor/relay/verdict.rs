//! The findings about one URL, and about all together. Pure. An unreachable URL is a warning if another URL of its source works, because clients
//! use that one. It is a failure if none works, or if a server answers with an error.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::dialogue::Served;
use super::error::ProbeError;
use super::{Check, Finding, IceSource, IceUrl, Probed, Remedy};
use crate::ice::url::Transport;

/// The text if there is nothing to try.
pub(super) const fn nothing(check: Check) -> &'static str {
    match check {
        Check::Stun => "no source has a stun: URL",
        _ => "no source that relays gave a credential",
    }
}

/// One finding for each URL.
pub(super) fn findings(check: Check, probed: &[Probed]) -> Vec<Finding> {
    let works =
        |source: IceSource| probed.iter().any(|one| one.entry.source == source && outcome(one).is_ok());
    probed.iter().map(|one| finding(check, one, works(one.entry.source))).collect()
}

/// One sentence about all of them together. What lets a user's calls through is for `/relay-check` to say.
pub(super) fn together(probed: &[Probed]) -> Finding {
    let tried = probed.iter().filter(|one| !matches!(outcome(one), Err(ProbeError::Dtls)));
    let (relays, stun): (Vec<_>, Vec<_>) = tried.partition(|one| one.entry.url.relays());
    let stun_answers = stun.iter().any(|one| outcome(one).is_ok());
    let some = |works: bool| relays.iter().filter(move |one| outcome(one).is_ok() == works);
    let list = |works| some(works).map(|one| place(&one.entry.url)).collect::<BTreeSet<_>>();
    let list = |works| list(works).into_iter().collect::<Vec<_>>().join(", ");
    let warn = |seen: String, remedy: &str| Finding::warn(Check::Network, "", seen, remedy);
    let fail = |seen: &str, remedy: &str| Finding::fail(Check::Network, "", seen, remedy);
    let has_tls = some(true).any(|one| one.entry.url.transport() == Transport::Tls);
    match (some(true).count(), some(false).count()) {
        (0, 0) if stun_answers => warn(
            "STUN answers, but no relay could be tried: calls that need a relay fail (reportedly 15 to 20 % of all calls)".into(),
            "configure a source that relays, or see above why it gave no credential",
        ),
        (0, 0) if stun.is_empty() => Finding::skipped(Check::Network, "", "no server was tried"),
        (0, 0) => fail(
            "no STUN server answers, and there is no relay",
            "allow outgoing UDP in this network, or try from the network of the clients",
        ),
        (0, _) if stun_answers => {
            fail("no relay works from here, although STUN answers", "follow the remedies of the relay's URLs")
        }
        (0, _) => fail(
            "no relay works from here, and STUN does not answer",
            "check that the servers run, and that this network allows outgoing UDP and these TCP ports",
        ),
        (_, 0) if has_tls => Finding::ok(Check::Network, "", "every relay URL works"),
        (_, 0) => warn(
            "every relay URL works, but none uses TLS: networks that allow only outgoing TLS (many offices) have no relay".into(),
            "add a turns: URL on 443 or 5349 over TCP",
        ),
        _ => warn(
            format!("relays work by {}, but not by {}", list(true), list(false)),
            "follow the remedies of the URLs that fail; calls use the others, perhaps with more delay",
        ),
    }
}

/// Transport and port, as firewalls name them.
fn place(url: &IceUrl) -> String {
    let transport = match url.transport() {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
        Transport::Dtls => "DTLS",
    };
    format!("{transport} {}", url.port())
}

/// The result of the first address that works, otherwise an error. A missing route is the least informative error, so any
/// other is preferred.
fn outcome(probed: &Probed) -> Result<(&Served, Duration), &ProbeError> {
    let served = probed.at.iter().find_map(|(_, result, took)| Some((result.as_ref().ok()?, *took)));
    let mut errors: Vec<_> = probed.at.iter().filter_map(|(_, result, _)| result.as_ref().err()).collect();
    errors.sort_by_key(|error| matches!(error, ProbeError::NoRoute));
    served.ok_or(errors.first().copied().unwrap_or(&ProbeError::Name))
}

fn finding(check: Check, probed: &Probed, another_works: bool) -> Finding {
    let (url, source) = (&probed.entry.url, probed.entry.source);
    match outcome(probed) {
        Ok((served, took)) => worked(check, url, served, probed, source).after(took),
        Err(error) => failed(check, url, error, source, another_works),
    }
}

fn worked(check: Check, url: &IceUrl, served: &Served, probed: &Probed, source: IceSource) -> Finding {
    let mut seen = match (served.relayed, served.mapped) {
        (Some(relayed), Some(mapped)) => format!("relays at {relayed}, sees us as {mapped}"),
        (Some(relayed), None) => format!("relays at {relayed}"),
        (None, Some(mapped)) => format!("sees us as {mapped}"),
        (None, None) => "answers".to_owned(),
    };
    if served.is_left {
        seen.push_str("; the allocation was not released and expires by itself");
    }
    if served.is_open {
        return Finding::warn(
            check,
            url.as_str(),
            format!("{seen}; it needs no credential: anyone can relay through it, at your cost"),
            "configure its authentication (coturn: use-auth-secret, no no-auth)",
        );
    }
    if served.is_sha256_only {
        return Finding::warn(
            check,
            url.as_str(),
            format!("{seen}; it accepts only SHA-256"),
            "allow MD5 and SHA-1 too: browsers support nothing else",
        );
    }
    let failed = probed.at.iter().find_map(|(address, result, _)| Some((address, result.as_ref().err()?)));
    match failed {
        None => Finding::ok(check, url.as_str(), seen),
        // A machine without IPv6, or without IPv4, is not the server's fault.
        Some((address, ProbeError::NoRoute)) => {
            let family = family(*address);
            Finding::ok(
                check,
                url.as_str(),
                format!("{seen}; not tried by {family}: no route from this machine"),
            )
        }
        Some((address, error)) => Finding::warn(
            check,
            url.as_str(),
            format!("{seen}; by {} at {address}: {error}", family(*address)),
            error.remedy(url, source),
        ),
    }
}

fn failed(check: Check, url: &IceUrl, error: &ProbeError, source: IceSource, another_works: bool) -> Finding {
    let (seen, remedy): (_, Remedy) = (error.to_string(), error.remedy(url, source));
    match error {
        ProbeError::Dtls => Finding::skipped(check, url.as_str(), seen),
        error if error.is_unreached() && (another_works || check == Check::Stun) => {
            Finding::warn(check, url.as_str(), seen, remedy)
        }
        _ => Finding::fail(check, url.as_str(), seen, remedy),
    }
}

const fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::State;
    use super::super::error::Step;
    use super::super::{Credential, Entry};
    use super::*;

    const V4: &str = "192.0.2.1";
    const V6: &str = "2001:db8::1";

    fn relayed() -> Served {
        Served {
            mapped: "192.0.2.7:5000".parse().ok(),
            relayed: "198.51.100.9:49152".parse().ok(),
            ..Served::default()
        }
    }

    fn probed(url: &str, at: Vec<(&str, Result<Served, ProbeError>)>) -> Probed {
        let credential = Credential { username: "hush-user".into(), password: "hush-password".into() };
        let entry = Entry {
            source: IceSource::Coturn,
            url: IceUrl::parse(url).unwrap(),
            credential: Some(credential),
        };
        let at = at.into_iter().map(|(address, result)| (address.parse().unwrap(), result, Duration::ZERO));
        Probed { entry, at: at.collect() }
    }

    fn timeout() -> ProbeError {
        ProbeError::Timeout(Step::Allocate)
    }

    fn refused(code: u16) -> ProbeError {
        ProbeError::Code { code, step: Step::Allocate, with_credential: true }
    }

    fn states(all: &[Probed]) -> Vec<State> {
        findings(Check::Turn, all).iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn an_unreachable_url_is_a_failure_only_if_no_other_of_its_source_works() {
        let dead = || probed("turn:a", vec![(V4, Err(timeout()))]);
        let good = probed("turn:b", vec![(V4, Ok(relayed()))]);
        assert_eq!(states(&[dead(), good]), [State::Warn, State::Ok]);
        assert_eq!(states(&[dead(), dead()]), [State::Fail, State::Fail]);
    }

    #[test]
    fn an_error_from_a_server_is_a_failure_even_if_another_url_works() {
        let good = probed("turn:b", vec![(V4, Ok(relayed()))]);
        let all = [probed("turn:a", vec![(V4, Err(refused(401)))]), good];
        assert_eq!(states(&all), [State::Fail, State::Ok]);
        let seen = &findings(Check::Turn, &all)[0].seen;
        assert!(seen.contains("401: the server does not accept the credential"), "{seen}");
    }

    #[test]
    fn a_failing_address_family_is_a_warning_unless_this_machine_has_no_route_to_it() {
        for (v6, state, says) in [
            (Ok(relayed()), State::Ok, "relays at 198.51.100.9:49152, sees us as 192.0.2.7:5000"),
            (Err(ProbeError::NoRoute), State::Ok, "not tried by IPv6"),
            (
                Err(timeout()),
                State::Warn,
                "by IPv6 at 2001:db8::1: no answer in time: the allocation request",
            ),
        ] {
            let all = [probed("turn:a", vec![(V4, Ok(relayed())), (V6, v6)])];
            let found = &findings(Check::Turn, &all)[0];
            assert_eq!(found.state, state, "{found:?}");
            assert!(found.seen.contains(says), "{found:?}");
        }
    }

    #[test]
    fn a_relay_without_authentication_is_a_warning() {
        let open = Served { is_open: true, ..relayed() };
        assert_eq!(states(&[probed("turn:a", vec![(V4, Ok(open))])]), [State::Warn]);
    }

    #[test]
    fn a_name_without_an_address_is_reported_without_the_credential() {
        let found = findings(Check::Turn, &[probed("turn:a", vec![])]).remove(0);
        assert_eq!((found.state, &*found.seen), (State::Fail, "the name has no address"));
        assert!(!format!("{found:?}").contains("hush"));
    }

    #[test]
    fn a_stun_server_that_does_not_answer_is_a_warning_and_dtls_is_not_tried() {
        let stun = probed("stun:a", vec![(V4, Err(timeout()))]);
        assert_eq!(findings(Check::Stun, &[stun])[0].state, State::Warn);
        let dtls = probed("turns:a?transport=udp", vec![(V4, Err(ProbeError::Dtls))]);
        assert_eq!(states(&[dtls]), [State::Skipped]);
    }

    #[test]
    fn one_sentence_says_which_ways_work() {
        let ok = |url| probed(url, vec![(V4, Ok(relayed()))]);
        let lost = |url| probed(url, vec![(V4, Err(timeout()))]);
        for (all, state, says) in [
            (vec![], State::Skipped, "no server was tried"),
            (vec![ok("stun:a")], State::Warn, "STUN answers, but no relay could be tried"),
            (vec![lost("stun:a")], State::Fail, "no STUN server answers"),
            (
                vec![ok("stun:a"), lost("turn:a")],
                State::Fail,
                "no relay works from here, although STUN answers",
            ),
            (vec![lost("stun:a"), lost("turn:a")], State::Fail, "STUN does not answer"),
            (vec![lost("stun:a"), ok("turns:a")], State::Ok, "every relay URL works"),
            (vec![ok("turn:a")], State::Warn, "none uses TLS"),
            (
                vec![lost("turn:a"), ok("turn:a?transport=tcp"), ok("turns:a:443"), lost("turns:a")],
                State::Warn,
                "relays work by TCP 3478, TLS 443, but not by TLS 5349, UDP 3478",
            ),
            (
                vec![ok("turns:a"), probed("turns:a?transport=udp", vec![(V4, Err(ProbeError::Dtls))])],
                State::Ok,
                "every relay URL works",
            ),
        ] {
            let found = together(&all);
            assert!(found.state == state && found.seen.contains(says), "{found:?}");
        }
    }
}

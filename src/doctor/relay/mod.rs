//! The check of the STUN and TURN servers of every source, as a client would use them: at most [`URLS_MAX`] URLs at once,
//! each at one IPv4 and one IPv6 address. It releases each allocation at once and relays nothing. An unreachable URL is a
//! warning if another URL of its source works, because clients use that one. It is a failure if none works, or if a server
//! answers with an error.

mod client;
mod error;
mod message;
pub(super) mod tail;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Examination;
use super::connect::Need;
use super::finding::{Check, Finding, Verdict, fail, ok, skipped, warn};
use crate::ice::server::IceServerList;
use crate::ice::url::{IceUrl, Transport};
use client::{Served, Target};
use error::{ProbeError, Step};
use message::Credential;
use turn_ledger::IceSource;

/// The most URLs that are tried. Real responses have under ten.
const URLS_MAX: usize = 16;
/// The time limit for all steps of one URL at one address.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// The servers that one source gives to clients.
pub(super) struct Offer {
    pub(super) source: IceSource,
    pub(super) servers: IceServerList,
}

/// One URL of an offer, with the credential for it.
struct Entry {
    source: IceSource,
    url: IceUrl,
    credential: Option<Credential>,
}

/// The results of one URL, by address.
struct Probed {
    entry: Entry,
    at: Vec<(IpAddr, Result<Served, ProbeError>, Duration)>,
}

/// Checks all servers.
pub(super) async fn check<W: Write>(offers: Vec<Offer>, doctor: &mut Examination<'_, W>) {
    let (entries, left_out) = entries(offers);
    for entry in &entries {
        let need = if entry.source == IceSource::Stun { Need::Fallback } else { Need::Required };
        doctor.look_up(entry.url.host(), need).await;
    }
    let (relays, stun): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.url.relays());
    let mut tried = Vec::new();
    for (check, entries, nothing) in [
        (Check::Stun, stun, "no source has a stun: URL"),
        (Check::Turn, relays, "no source that relays gave a credential"),
    ] {
        if entries.is_empty() {
            doctor.found(check, "", skipped(nothing));
            continue;
        }
        doctor.progress.starts(&format!("{}, URLs at once: {}", check.name(), entries.len()));
        let probed = probe_all(entries, doctor).await;
        for finding in findings(check, &probed) {
            doctor.progress.found(finding);
        }
        tried.extend(probed);
    }
    if left_out > 0 {
        let why = format!("{left_out} more URLs were not tried: the limit is {URLS_MAX}");
        doctor.found(Check::Turn, "", skipped(why));
    }
    doctor.found(Check::Network, "", together(&tried));
}

/// The first [`URLS_MAX`] URLs, and the number of the others.
fn entries(offers: Vec<Offer>) -> (Vec<Entry>, usize) {
    let mut entries: Vec<Entry> = Vec::new();
    for Offer { source, servers } in offers {
        for server in servers.as_slice() {
            let credential = server.username.clone().zip(server.credential.clone());
            let credential = credential.map(|(username, password)| Credential { username, password });
            for url in server.urls.as_slice() {
                let is_known = |known: &Entry| known.url == *url && (known.source == source || !url.relays());
                if !entries.iter().any(is_known) {
                    let credential = credential.clone().filter(|_| url.relays());
                    entries.push(Entry { source, url: url.clone(), credential });
                }
            }
        }
    }
    let left_out = entries.len().saturating_sub(URLS_MAX);
    entries.truncate(URLS_MAX);
    (entries, left_out)
}

/// Probes all at once; returns the results in the same order.
async fn probe_all<W>(entries: Vec<Entry>, doctor: &Examination<'_, W>) -> Vec<Probed> {
    let mut tasks = JoinSet::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let addresses = one_of_each_family(doctor.names.addresses(entry.url.host()));
        let (trust, clock) = (doctor.trust.clone(), doctor.clock.clone());
        tasks.spawn(async move {
            let mut at = Vec::new();
            for address in addresses {
                let began = clock.instant();
                let target = Target { url: &entry.url, address, trust: &trust };
                let served = timeout(PROBE_MAX, target.ask(entry.credential.as_ref())).await;
                let served = served.unwrap_or(Err(ProbeError::Timeout(Step::Allocate)));
                at.push((address, served, clock.instant().saturating_duration_since(began)));
            }
            (index, Probed { entry, at })
        });
    }
    let mut probed = tasks.join_all().await;
    probed.sort_by_key(|(index, _)| *index);
    probed.into_iter().map(|(_, probed)| probed).collect()
}

fn one_of_each_family(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first = |is_v4: bool| addresses.iter().find(|address| address.is_ipv4() == is_v4).copied();
    first(true).into_iter().chain(first(false)).collect()
}

/// One finding for each URL.
fn findings(check: Check, probed: &[Probed]) -> Vec<Finding> {
    let works =
        |source: IceSource| probed.iter().any(|one| one.entry.source == source && outcome(one).is_ok());
    let finding = |one: &Probed| {
        let Entry { url, source, .. } = &one.entry;
        match outcome(one) {
            Ok((served, took)) => worked(served, one).about(check, url.as_str()).after(took),
            Err(error) => {
                let (seen, remedy) = (error.to_string(), error.remedy(url, *source));
                let is_warning = error.is_unreached() && (check == Check::Stun || works(*source));
                let verdict = match error {
                    ProbeError::Dtls => skipped(seen),
                    _ if is_warning => warn(seen, remedy),
                    _ => fail(seen, remedy),
                };
                verdict.about(check, url.as_str())
            }
        }
    };
    probed.iter().map(finding).collect()
}

/// The result of the first address that works, otherwise an error. A missing route is the least informative error, so any
/// other is preferred.
fn outcome(probed: &Probed) -> Result<(&Served, Duration), &ProbeError> {
    let served = probed.at.iter().find_map(|(_, result, took)| Some((result.as_ref().ok()?, *took)));
    let errors = probed.at.iter().filter_map(|(_, result, _)| result.as_ref().err());
    let error = errors.min_by_key(|error| matches!(error, ProbeError::NoRoute));
    served.ok_or(error.unwrap_or(&ProbeError::Name))
}

fn worked(served: &Served, probed: &Probed) -> Verdict {
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
        let seen = format!("{seen}; it needs no credential: anyone can relay through it, at your cost");
        return warn(seen, "configure its authentication (coturn: use-auth-secret, no no-auth)");
    }
    if served.is_sha256_only {
        let seen = format!("{seen}; it accepts only SHA-256");
        return warn(seen, "allow MD5 and SHA-1 too: browsers support nothing else");
    }
    let failed = probed.at.iter().find_map(|(address, result, _)| Some((address, result.as_ref().err()?)));
    let Some((address, error)) = failed else { return ok(seen) };
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    match error {
        // A machine without IPv6, or without IPv4, is not the server's fault.
        ProbeError::NoRoute => ok(format!("{seen}; not tried by {family}: no route from this machine")),
        error => warn(
            format!("{seen}; by {family} at {address}: {error}"),
            error.remedy(&probed.entry.url, probed.entry.source),
        ),
    }
}

/// One sentence about all of them together. What lets a user's calls through is for `/relay-check` to say.
fn together(probed: &[Probed]) -> Verdict {
    let tried = probed.iter().filter(|one| !matches!(outcome(one), Err(ProbeError::Dtls)));
    let (relays, stun): (Vec<_>, Vec<_>) = tried.partition(|one| one.entry.url.relays());
    let stun_answers = stun.iter().any(|one| outcome(one).is_ok());
    let some = |works: bool| relays.iter().filter(move |one| outcome(one).is_ok() == works);
    let list = |works| some(works).map(|one| place(&one.entry.url)).collect::<BTreeSet<_>>();
    let list = |works| list(works).into_iter().collect::<Vec<_>>().join(", ");
    let has_tls = some(true).any(|one| one.entry.url.transport() == Transport::Tls);
    match (some(true).count(), some(false).count()) {
        (0, 0) if stun_answers => warn(
            "STUN answers, but no relay could be tried: calls that need a relay fail",
            "configure a source that relays, or see above why it gave no credential",
        ),
        (0, 0) if stun.is_empty() => skipped("no server was tried"),
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
        (_, 0) if has_tls => ok("every relay URL works"),
        (_, 0) => warn(
            "every relay URL works, but none uses TLS: networks that allow only outgoing TLS have no relay",
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

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn offer(source: IceSource, urls: &[String]) -> Offer {
        let urls = urls.iter().map(|url| IceUrl::parse(url).unwrap()).collect();
        Offer { source, servers: IceServerList::of_turn(urls, "user".into(), "password".into()) }
    }

    #[test]
    fn the_number_of_tried_urls_is_bounded() {
        let urls = |count: usize| -> Vec<String> { (0..count).map(|n| format!("turn:host{n}")).collect() };
        let (kept, left_out) = entries(vec![offer(IceSource::Coturn, &urls(URLS_MAX))]);
        assert_eq!((kept.len(), left_out), (URLS_MAX, 0));
        let (kept, left_out) = entries(vec![offer(IceSource::Coturn, &urls(URLS_MAX + 3))]);
        assert_eq!((kept.len(), left_out), (URLS_MAX, 3));
    }

    #[test]
    fn a_stun_server_is_tried_once_and_without_a_credential() {
        let urls = ["stun:a".to_owned(), "turn:a".to_owned()];
        let (kept, _) = entries(vec![
            offer(IceSource::Cloudflare, &urls),
            offer(IceSource::Coturn, &urls),
            offer(IceSource::Coturn, &urls),
        ]);
        let shown: Vec<_> =
            kept.iter().map(|entry| (entry.source, entry.url.as_str(), entry.credential.is_some())).collect();
        let expected = [
            (IceSource::Cloudflare, "stun:a", false),
            (IceSource::Cloudflare, "turn:a", true),
            (IceSource::Coturn, "turn:a", true),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn one_address_of_each_family_is_tried() {
        let all = ["2001:db8::1", "192.0.2.1", "192.0.2.2", "2001:db8::2"].map(|text| text.parse().unwrap());
        let tried: Vec<String> = one_of_each_family(&all).iter().map(ToString::to_string).collect();
        assert_eq!(tried, ["192.0.2.1", "2001:db8::1"]);
    }

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

//! The check of the STUN and TURN servers of every source, as a client would use them: at most [`URLS_MAX`] URLs at once,
//! each at one IPv4 and one IPv6 address. It sends a datagram through each allocation and releases it. An unreachable URL is a
//! warning if another URL of its source works, because clients use that one. It is a failure if none works, or if a server
//! answers with an error.

mod client;
mod error;
mod message;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Examination;
use super::connect::addresses;
use super::report::{Check, Verdict, fail, ok, skipped, warn};
use crate::ice::server::IceServerList;
use crate::ice::url::{IceUrl, Transport};
use client::{Served, Target, Through};
use error::{ProbeError, RELAY_PORTS};
use message::Credential;
use turn_base::clock::Clock;
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

/// The results of one URL.
struct Probed {
    entry: Entry,
    /// The first address that works, and how long it took.
    served: Option<(Served, Duration)>,
    /// The error of an address that does not.
    failed: Option<(IpAddr, ProbeError)>,
}

/// Checks all servers.
pub(super) async fn check(offers: Vec<Offer>, doctor: &mut Examination<'_, '_>) {
    let (entries, left_out) = entries(offers);
    let (relays, stun): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.url.relays());
    let mut tried = Vec::new();
    for (check, entries, nothing) in [
        (Check::Stun, stun, "no source has a stun: URL"),
        (Check::Turn, relays, "no source that relays gave a credential"),
    ] {
        if entries.is_empty() {
            doctor.found(check, "", skipped(nothing));
        }
        let probed = probe_all(entries, doctor.trust, doctor.clock).await;
        for one in &probed {
            let (verdict, took) = judge(one, &probed);
            doctor.progress.found(check, one.entry.url.as_str(), verdict, took);
        }
        tried.extend(probed);
    }
    if left_out > 0 {
        let why =
            format!("{left_out} more URLs were not tried: they are TURN over DTLS, or more than {URLS_MAX}");
        doctor.found(Check::Turn, "", skipped(why));
    }
    doctor.found(Check::Network, "", together(&tried));
}

/// The URLs of all sources, each with its credential, and the number of URLs left out. A STUN URL is listed once. Browsers do not
/// support TURN over DTLS.
fn entries(offers: Vec<Offer>) -> (Vec<Entry>, usize) {
    let mut entries = Vec::<Entry>::new();
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
    let all = entries.len();
    entries.retain(|entry| entry.url.transport() != Transport::Dtls);
    entries.truncate(URLS_MAX);
    let left_out = all - entries.len();
    (entries, left_out)
}

/// Probes all at once; returns the results in the same order.
async fn probe_all(entries: Vec<Entry>, trust: &TlsConnector, clock: &Arc<dyn Clock>) -> Vec<Probed> {
    let mut tasks = Vec::new();
    for entry in entries {
        let (trust, clock) = (trust.clone(), Arc::clone(clock));
        tasks.push(tokio::spawn(async move { probe(entry, &trust, &*clock).await }));
    }
    let mut probed = Vec::new();
    for task in tasks {
        probed.extend(task.await);
    }
    probed
}

/// Probes one URL at its addresses. A missing route is the least informative error, so any other is preferred.
async fn probe(entry: Entry, trust: &TlsConnector, clock: &dyn Clock) -> Probed {
    let (mut served, mut failed) = (None, None);
    for address in addresses(entry.url.host()).await {
        let began = clock.instant();
        let target = Target { url: &entry.url, address, trust };
        let asked = timeout(PROBE_MAX, target.ask(entry.credential.as_ref())).await;
        match asked.unwrap_or(Err(ProbeError::Timeout("all steps together"))) {
            Ok(one) => served = served.or(Some((one, clock.instant().saturating_duration_since(began)))),
            Err(ProbeError::NoRoute) if failed.is_some() => {}
            Err(error) => failed = Some((address, error)),
        }
    }
    Probed { entry, served, failed }
}

/// The verdict about one URL, and how long its server took. `all`: the URLs that were probed with it.
fn judge(one: &Probed, all: &[Probed]) -> (Verdict, Duration) {
    let Entry { url, source, .. } = &one.entry;
    let error = one.failed.as_ref().map_or(&ProbeError::Name, |(_, error)| error);
    if let Some((served, took)) = &one.served {
        return (worked(served, one), *took);
    }
    let works = |other: &Probed| other.entry.source == *source && other.served.is_some();
    let is_warning = error.is_unreached() && (!url.relays() || all.iter().any(works));
    let verdict = if is_warning { warn } else { fail };
    (verdict(error.to_string(), error.remedy(url, *source)), Duration::ZERO)
}

fn worked(served: &Served, probed: &Probed) -> Verdict {
    let relayed = served.relayed.map(|address| format!("relays at {address}"));
    let mapped = served.mapped.map(|address| format!("sees us as {address}"));
    let seen = relayed.into_iter().chain(mapped).collect::<Vec<_>>().join(", ");
    let Entry { url, source, .. } = &probed.entry;
    if served.is_open && url.relays() {
        let seen = format!("{seen}; it needs no credential: anyone can relay through it, at your cost");
        return warn(seen, "configure its authentication (coturn: use-auth-secret, no no-auth)");
    }
    let seen = match served.through {
        None | Some(Through::Peer) => seen,
        Some(Through::ItselfOnly) => {
            format!("{seen}; only its own clients were tried as peers, because it refuses our address")
        }
        Some(Through::NotByUdp) => {
            let seen = format!("{seen}; from this machine, no datagram comes to the relayed address");
            return warn(seen, format!("allow outgoing UDP in this network, or {RELAY_PORTS}"));
        }
    };
    match &probed.failed {
        None => ok(seen),
        // A machine without IPv6, or without IPv4, is not the server's fault.
        Some((address, ProbeError::NoRoute)) => {
            ok(format!("{seen}; no route from this machine to {address}"))
        }
        Some((address, error)) => warn(format!("{seen}; at {address}: {error}"), error.remedy(url, *source)),
    }
}

/// One sentence about all of them together. What lets a user's calls through is for `/relay-check` to say.
fn together(probed: &[Probed]) -> Verdict {
    let (relays, stun): (Vec<_>, Vec<_>) = probed.iter().partition(|one| one.entry.url.relays());
    let stun_answers = stun.iter().any(|one| one.served.is_some());
    let stun = if stun_answers { "STUN answers" } else { "STUN does not answer" };
    let places = |works: bool| {
        let some = relays.iter().filter(|one| one.served.is_some() == works).map(|one| &one.entry.url);
        some.map(|url| format!("{} {}", url.transport(), url.port())).collect::<BTreeSet<_>>()
    };
    let [works, fails] = [true, false].map(|works| Vec::from_iter(places(works)));
    if relays.is_empty() {
        let seen = format!("{stun}, but no relay could be tried: calls that need a relay fail");
        let verdict = if stun_answers { warn } else { fail };
        return verdict(seen, "configure a source that relays, or see above why it gave no credential");
    }
    if works.is_empty() {
        let remedy = "follow the remedies of the relay's URLs: the servers, or what this network allows out";
        return fail(format!("no relay works from here; {stun}"), remedy);
    }
    let mut seen = format!("relays work by {}", works.join(", "));
    if !fails.is_empty() {
        seen = format!("{seen}, but not by {}", fails.join(", "));
        return warn(
            seen,
            "follow the remedies of those URLs; calls use the others, perhaps with more delay",
        );
    }
    if works.iter().any(|place| place.starts_with("TLS")) {
        return ok(seen);
    }
    let seen = format!("{seen}; none uses TLS: networks that allow only outgoing TLS have no relay");
    warn(seen, "add a turns: URL on 443 or 5349 over TCP")
}

#[cfg(test)]
mod tests {
    use super::super::report::CheckState;
    use super::*;

    fn offer(source: IceSource, urls: &[String]) -> Offer {
        let urls = urls.iter().map(|url| IceUrl::parse(url).unwrap()).collect();
        Offer { source, servers: IceServerList::of_turn(urls, "user".into(), "password".into()) }
    }

    #[test]
    fn a_stun_server_is_tried_once_without_a_credential_and_turn_over_dtls_never() {
        let urls = ["stun:a", "turn:a", "turns:a?transport=udp"].map(str::to_owned);
        let sources = [IceSource::Cloudflare, IceSource::Coturn, IceSource::Coturn];
        let (kept, left_out) = entries(sources.map(|source| offer(source, &urls)).into());
        let shown: Vec<_> =
            kept.iter().map(|entry| (entry.source, entry.url.as_str(), entry.credential.is_some())).collect();
        let expected = [
            (IceSource::Cloudflare, "stun:a", false),
            (IceSource::Cloudflare, "turn:a", true),
            (IceSource::Coturn, "turn:a", true),
        ];
        assert_eq!((&shown[..], left_out), (&expected[..], 2));
    }

    #[test]
    fn the_number_of_tried_urls_is_bounded() {
        for more in [0, 3] {
            let urls: Vec<_> = (0..URLS_MAX + more).map(|n| format!("turn:host{n}")).collect();
            let (kept, left_out) = entries(vec![offer(IceSource::Coturn, &urls)]);
            assert_eq!((kept.len(), left_out), (URLS_MAX, more));
        }
    }

    fn probed(url: &str, served: bool, failed: Option<(&str, ProbeError)>) -> Probed {
        let credential = Credential { username: "hush-user".into(), password: "hush-password".into() };
        let url = IceUrl::parse(url).unwrap();
        let entry = Entry { source: IceSource::Coturn, url, credential: Some(credential) };
        let [mapped, relayed] = ["192.0.2.7:5000", "198.51.100.9:49152"].map(|text| text.parse().ok());
        let through = Some(Through::Peer);
        let served = served.then_some((Served { mapped, relayed, is_open: false, through }, Duration::ZERO));
        Probed { entry, served, failed: failed.map(|(address, error)| (address.parse().unwrap(), error)) }
    }

    fn works(url: &str) -> Probed {
        probed(url, true, None)
    }

    fn lost(url: &str) -> Probed {
        probed(url, false, Some(("192.0.2.1", timeout())))
    }

    fn timeout() -> ProbeError {
        ProbeError::Timeout("the allocation request")
    }

    #[test]
    fn an_unreachable_url_is_a_failure_only_if_no_other_of_its_source_works() {
        let states = |all: [Probed; 2]| all.each_ref().map(|one| judge(one, &all).0.state);
        assert_eq!(states([lost("turn:a"), works("turn:b")]), [CheckState::Warn, CheckState::Ok]);
        assert_eq!(states([lost("turn:a"), lost("turn:a")]), [CheckState::Fail, CheckState::Fail]);
    }

    #[test]
    fn a_failing_address_family_is_a_warning_unless_this_machine_has_no_route_to_it() {
        for (works, v6, state, says) in [
            (true, None, CheckState::Ok, "relays at 198.51.100.9:49152, sees us as 192.0.2.7:5000"),
            (true, Some(ProbeError::NoRoute), CheckState::Ok, "no route from this machine to 2001:db8::1"),
            (
                true,
                Some(timeout()),
                CheckState::Warn,
                "at 2001:db8::1: no answer in time: the allocation request",
            ),
            (false, None, CheckState::Fail, "the name has no address"),
        ] {
            let one = probed("turn:a", works, v6.map(|error| ("2001:db8::1", error)));
            let (found, _) = judge(&one, &[]);
            assert!(found.state == state && found.seen.contains(says), "{found:?}");
            assert!(!format!("{found:?}").contains("hush"));
        }
    }

    #[test]
    fn one_sentence_says_which_ways_work() {
        for (all, state, says) in [
            (vec![works("stun:a")], CheckState::Warn, "STUN answers, but no relay could be tried"),
            (vec![lost("stun:a")], CheckState::Fail, "STUN does not answer, but no relay could be tried"),
            (
                vec![works("stun:a"), lost("turn:a")],
                CheckState::Fail,
                "no relay works from here; STUN answers",
            ),
            (vec![lost("stun:a"), lost("turn:a")], CheckState::Fail, "STUN does not answer"),
            (vec![lost("stun:a"), works("turns:a")], CheckState::Ok, "relays work by TLS 5349"),
            (vec![works("turn:a")], CheckState::Warn, "none uses TLS"),
            (
                vec![lost("turn:a"), works("turn:a?transport=tcp"), works("turns:a:443"), lost("turns:a")],
                CheckState::Warn,
                "relays work by TCP 3478, TLS 443, but not by TLS 5349, UDP 3478",
            ),
        ] {
            let found = together(&all);
            assert!(found.state == state && found.seen.contains(says), "{found:?}");
        }
    }
}

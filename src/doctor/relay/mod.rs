//! The check of the STUN and TURN servers of every source, as a client would use them: at most [`URLS_MAX`] URLs at once,
//! each at one IPv4 and one IPv6 address. It releases each allocation at once and relays nothing.

mod dialogue;
mod error;
mod exchange;
mod message;
pub(super) mod tail;
mod verdict;

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::{Check, Finding, Remedy};
use super::names::{Names, Need};
use super::progress::Progress;
use super::tls::Trust;
use crate::clock::Clock;
use crate::ice::server::IceServerList;
use crate::ice::url::IceUrl;
use dialogue::{Served, Target};
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

/// What the check needs from the doctor.
pub(super) struct Context<'a, W> {
    pub(super) names: &'a mut Names,
    pub(super) trust: &'a Trust,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) progress: &'a mut Progress<W>,
}

/// Checks all servers.
pub(super) async fn check<W: Write>(offers: Vec<Offer>, context: Context<'_, W>) {
    let Context { names, trust, clock, progress } = context;
    let (entries, left_out) = entries(offers);
    for entry in &entries {
        let need = if entry.source == IceSource::Stun { Need::Fallback } else { Need::Required };
        names.look_up(entry.url.host(), need, &**clock, progress).await;
    }
    let (relays, stun): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.url.relays());
    let mut tried = Vec::new();
    for (check, entries) in [(Check::Stun, stun), (Check::Turn, relays)] {
        if entries.is_empty() {
            progress.found(Finding::skipped(check, "", verdict::nothing(check)));
            continue;
        }
        progress.starts(&format!("{}, URLs at once: {}", check.name(), entries.len()));
        let probed = probe_all(entries, names, trust, clock).await;
        for finding in verdict::findings(check, &probed) {
            progress.found(finding);
        }
        tried.extend(probed);
    }
    if left_out > 0 {
        let why = format!("{left_out} more URLs were not tried: the limit is {URLS_MAX}");
        progress.found(Finding::skipped(Check::Turn, "", why));
    }
    progress.found(verdict::together(&tried));
}

/// The first [`URLS_MAX`] URLs, and the number of the others.
fn entries(offers: Vec<Offer>) -> (Vec<Entry>, usize) {
    let mut entries: Vec<Entry> = Vec::new();
    let mut left_out = 0;
    for Offer { source, servers } in offers {
        for server in servers.as_slice() {
            let credential = server.username.clone().zip(server.credential.clone());
            let credential = credential.map(|(username, password)| Credential { username, password });
            for url in server.urls.as_slice() {
                let is_known = |known: &Entry| known.url == *url && (known.source == source || !url.relays());
                if entries.iter().any(is_known) {
                    continue;
                }
                if entries.len() == URLS_MAX {
                    left_out += 1;
                    continue;
                }
                let credential = credential.clone().filter(|_| url.relays());
                entries.push(Entry { source, url: url.clone(), credential });
            }
        }
    }
    (entries, left_out)
}

/// Probes all at once; returns the results in the same order.
async fn probe_all(entries: Vec<Entry>, names: &Names, trust: &Trust, clock: &Arc<dyn Clock>) -> Vec<Probed> {
    let mut tasks = JoinSet::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let addresses = one_of_each_family(names.addresses(entry.url.host()));
        let (trust, clock) = (trust.clone(), Arc::clone(clock));
        tasks.spawn(async move { (index, probe(entry, addresses, &trust, &*clock).await) });
    }
    let mut probed = tasks.join_all().await;
    probed.sort_by_key(|(index, _)| *index);
    probed.into_iter().map(|(_, probed)| probed).collect()
}

fn one_of_each_family(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first = |is_v4: bool| addresses.iter().find(|address| address.is_ipv4() == is_v4).copied();
    first(true).into_iter().chain(first(false)).collect()
}

async fn probe(entry: Entry, addresses: Vec<IpAddr>, trust: &Trust, clock: &dyn Clock) -> Probed {
    let mut at = Vec::new();
    for address in addresses {
        let began = clock.instant();
        let target = Target { url: &entry.url, address: (address, entry.url.port()).into(), trust };
        let served = timeout(PROBE_MAX, target.ask(entry.credential.as_ref())).await;
        let served = served.unwrap_or(Err(ProbeError::Timeout(Step::Allocate)));
        at.push((address, served, clock.instant().saturating_duration_since(began)));
    }
    Probed { entry, at }
}

#[cfg(test)]
mod tests {
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
}

//! The addresses of host names. Each name is looked up once, within [`LOOKUP_MAX`]. A host that is an address needs no
//! lookup.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::finding::{Check, Finding, Remedy};
use super::progress::Progress;
use crate::clock::Clock;

/// The time limit for one name. The system's resolver gives up after 5 s per server.
const LOOKUP_MAX: Duration = Duration::from_secs(8);

/// The addresses of the names that were looked up.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Vec<IpAddr>>);

/// How much depends on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A configured source or receiver does not work without it.
    Required,
    /// Only the fallback needs it.
    Fallback,
}

impl Names {
    /// Looks a host up. A host that was looked up before is skipped.
    pub(super) async fn look_up<W: Write>(
        &mut self,
        host: &str,
        need: Need,
        clock: &dyn Clock,
        progress: &mut Progress<W>,
    ) {
        if self.0.contains_key(host) {
            return;
        }
        if let Ok(address) = host.parse() {
            self.0.insert(host.to_owned(), vec![address]);
            return;
        }
        progress.starts(&format!("{} {host}", Check::Dns.name()));
        let began = clock.instant();
        let found = timeout(LOOKUP_MAX, lookup_host((host, 0))).await;
        let took = clock.instant().saturating_duration_since(began);
        let mut addresses: Vec<IpAddr> =
            found.ok().and_then(Result::ok).into_iter().flatten().map(|socket| socket.ip()).collect();
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        progress.found(judge(host, &addresses, need).after(took));
        self.0.insert(host.to_owned(), addresses);
    }

    /// The addresses of a host that was looked up.
    pub(super) fn addresses(&self, host: &str) -> &[IpAddr] {
        self.0.get(host).map(Vec::as_slice).unwrap_or_default()
    }
}

fn judge(host: &str, addresses: &[IpAddr], need: Need) -> Finding {
    if !addresses.is_empty() {
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        return Finding::ok(Check::Dns, host, list.join(", "));
    }
    let seen = "the name has no address, or the resolver does not answer";
    let remedy = Remedy::sure(format!(
        "check the spelling of {host}; run `getent hosts {host}`, and fix /etc/resolv.conf or this network's DNS"
    ));
    match need {
        Need::Required => Finding::fail(Check::Dns, host, seen, remedy),
        Need::Fallback => Finding::warn(Check::Dns, host, seen, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::super::progress::OutputFormat;
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_name_without_an_address_is_a_failure_unless_only_the_fallback_needs_it() {
        assert_eq!(judge("a.example", &[], Need::Required).state, State::Fail);
        assert_eq!(judge("a.example", &[], Need::Fallback).state, State::Warn);
        let addresses = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(judge("a.example", &addresses, Need::Required).seen, "192.0.2.1, 2001:db8::1");
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up_and_not_reported() {
        let (mut names, mut progress) = (Names::default(), Progress::new(Vec::new(), OutputFormat::Json));
        for host in ["127.0.0.1", "::1", "127.0.0.1"] {
            names.look_up(host, Need::Required, &SystemClock, &mut progress).await;
            assert_eq!(names.addresses(host), [host.parse::<IpAddr>().unwrap()]);
        }
        assert!(names.addresses("never.asked").is_empty());
        assert!(progress.finish().findings.is_empty());
    }
}

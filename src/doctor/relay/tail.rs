//! The probe of the tail: it keeps one allocation of a short credential open until the server refuses to refresh it. It relays
//! nothing. One probe is one sample: another server of the same provider may behave differently.

use std::io::Write;
use std::time::{Duration, Instant};

use super::dialogue::{End, Held, Hold, Target};
use super::{Context, Entry, Offer, entries, one_of_each_family};
use crate::doctor::finding::{Check, Finding, Remedy};
use crate::doctor::names::Need;
use crate::doctor::service::too_short;
use crate::ice::url::Transport;

/// The time between two refreshes. The allocation lives three times as long.
const REFRESH_PAUSE: Duration = Duration::from_secs(20);

/// The option `--probe-tail`.
#[derive(Clone, Copy, Debug)]
pub struct ProbeTail {
    /// The probe ends this long after the expiry at the latest.
    pub max: Duration,
    /// The time between two refreshes.
    pub pause: Duration,
}

impl ProbeTail {
    /// A probe that ends this long after the expiry at the latest.
    #[must_use]
    pub fn up_to(max: Duration) -> Self {
        Self { max, pause: REFRESH_PAUSE }
    }
}

/// Probes the first URL of the offer that gives an allocation. `expires`: when its credential does. `configured`: the tail that
/// the ledger assumes.
pub(in crate::doctor) async fn probe<W: Write>(
    offer: Offer,
    expires: Instant,
    probe: ProbeTail,
    configured: Duration,
    context: Context<'_, W>,
) -> Finding {
    let Context { names, trust, clock, progress } = context;
    let source = offer.source;
    let (entries, _) = entries(vec![offer]);
    let mut failed = None;
    for Entry { url, credential, .. } in entries {
        let Some(credential) = credential.filter(|_| url.transport() != Transport::Dtls) else { continue };
        names.look_up(url.host(), Need::Required, &**clock, progress).await;
        for address in one_of_each_family(names.addresses(url.host())) {
            progress.starts(&format!(
                "{} {}, up to {} min",
                Check::Tail.name(),
                url,
                probe.max.as_secs() / 60
            ));
            let target = Target { url: &url, address: (address, url.port()).into(), trust };
            let terms = Hold { until: expires + probe.max, pause: probe.pause, clock: &**clock };
            match target.hold(&credential, terms).await {
                Ok(held) => return verdict(url.as_str(), &held, expires, configured),
                Err(error) => {
                    failed = Some(Finding::fail(
                        Check::Tail,
                        url.as_str(),
                        error.to_string(),
                        error.remedy(&url, source),
                    ));
                }
            }
        }
    }
    failed.unwrap_or_else(|| Finding::skipped(Check::Tail, source.name(), "no TURN URL can be tried"))
}

fn verdict(url: &str, held: &Held, expires: Instant, configured: Duration) -> Finding {
    let tail = held.last.saturating_duration_since(expires).as_secs();
    let seen = match &held.end {
        End::Open => {
            format!("its allocation was still refreshed {tail} s after its expiry, when the probe ended")
        }
        End::Refused { code, at } => {
            let at = at.saturating_duration_since(expires).as_secs();
            format!(
                "its allocation was refreshed until {tail} s after its expiry, and refused with {code} at {at} s"
            )
        }
        End::Lost(error) => {
            format!("its allocation was refreshed until {tail} s after its expiry, then: {error}")
        }
    };
    let seen = format!("a credential of 60 s: {seen}; the ledger assumes {} s", configured.as_secs());
    if tail > configured.as_secs() {
        return Finding::warn(Check::Tail, url, seen, too_short(tail));
    }
    match &held.end {
        End::Lost(_) => Finding::warn(
            Check::Tail,
            url,
            seen,
            Remedy::guess(
                "run the probe again: the server may end allocations silently, or a packet was lost",
            ),
        ),
        End::Open | End::Refused { .. } => Finding::ok(Check::Tail, url, seen),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
mod tests {
    use super::super::error::{ProbeError, Step};
    use super::*;
    use crate::doctor::finding::State;

    fn found(last: u64, end: impl FnOnce(Instant) -> End) -> Finding {
        let expires = Instant::now();
        let held = Held { last: expires + Duration::from_secs(last), end: end(expires) };
        verdict("turn:relay.example", &held, expires, Duration::from_secs(600))
    }

    #[test]
    fn the_tail_is_the_time_from_the_expiry_to_the_last_refresh() {
        let refused =
            found(540, |expires| End::Refused { code: 401, at: expires + Duration::from_secs(560) });
        assert_eq!(refused.state, State::Ok);
        let says =
            "refreshed until 540 s after its expiry, and refused with 401 at 560 s; the ledger assumes 600 s";
        assert!(refused.seen.contains(says), "{refused:?}");
    }

    #[test]
    fn a_tail_that_is_longer_than_the_configured_one_is_a_warning() {
        assert_eq!(found(600, |_| End::Open).state, State::Ok);
        let longer = found(601, |_| End::Open);
        assert_eq!(longer.state, State::Warn);
        assert!(longer.remedy.unwrap().text.contains("TURN_EXPIRY_TAIL_SECONDS to more than 601"));
    }

    #[test]
    fn a_server_that_stops_answering_is_a_warning_with_a_guess() {
        let lost = found(40, |_| End::Lost(ProbeError::Timeout(Step::Refresh)));
        assert!(lost.state == State::Warn && lost.remedy.is_some_and(|remedy| remedy.is_guess));
        assert!(lost.seen.contains("no answer in time"), "{}", lost.seen);
    }
}

//! The probe of the tail: it keeps one allocation of a short credential open until the server refuses to refresh it. It relays
//! nothing. One probe is one sample: another server of the same provider may behave differently.

use std::io::Write;
use std::time::{Duration, Instant};

use super::client::{End, Held, Hold, Target};
use super::{Entry, Examination, Need, Offer, entries, one_of_each_family};
use crate::doctor::finding::{Check, Finding, Remedy, State, Verdict, fail, skipped, warn};
use crate::doctor::settings::judge_tail;
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

/// Probes the first URL of the offer that gives an allocation. `expires`: when its credential does.
pub(in crate::doctor) async fn probe<W: Write>(
    offer: Offer,
    expires: Instant,
    probe: ProbeTail,
    doctor: &mut Examination<'_, W>,
) -> Finding {
    let source = offer.source;
    let assumed = doctor.config.budget.expiry_tail.unwrap_or(source.expiry_tail());
    let (entries, _) = entries(vec![offer]);
    let mut failed = None;
    for Entry { url, credential, .. } in entries {
        let Some(credential) = credential.filter(|_| url.transport() != Transport::Dtls) else { continue };
        doctor.look_up(url.host(), Need::Required).await;
        for address in one_of_each_family(doctor.names.addresses(url.host())) {
            let minutes = probe.max.as_secs() / 60;
            doctor.progress.starts(&format!("{} {url}, up to {minutes} min", Check::Tail.name()));
            let target = Target { url: &url, address, trust: &doctor.trust };
            let terms = Hold { until: expires + probe.max, pause: probe.pause, clock: &*doctor.clock };
            match target.hold(&credential, terms).await {
                Ok(held) => return judge(&held, expires, assumed).about(Check::Tail, url.as_str()),
                Err(error) => {
                    let verdict = fail(error.to_string(), error.remedy(&url, source));
                    failed = Some(verdict.about(Check::Tail, url.as_str()));
                }
            }
        }
    }
    failed.unwrap_or_else(|| skipped("no TURN URL can be tried").about(Check::Tail, source.name()))
}

fn judge(held: &Held, expires: Instant, assumed: Duration) -> Verdict {
    let after = |at: Instant| at.saturating_duration_since(expires).as_secs();
    let tail = after(held.last);
    let seen = match &held.end {
        End::Open => format!("still refreshed {tail} s after its expiry, when the probe ended"),
        End::Refused { code, at } => {
            format!("refreshed until {tail} s after its expiry, and refused with {code} at {} s", after(*at))
        }
        End::Lost(error) => format!("refreshed until {tail} s after its expiry, then: {error}"),
    };
    let verdict = judge_tail(tail, assumed, &format!("a credential of 60 s: its allocation was {seen}"));
    match held.end {
        End::Lost(_) if verdict.state == State::Ok => {
            warn(verdict.seen, Remedy::guess("run the probe again: a packet may have been lost"))
        }
        _ => verdict,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
mod tests {
    use super::super::error::{ProbeError, Step};
    use super::*;

    fn found(last: u64, end: impl FnOnce(Instant) -> End) -> Verdict {
        let expires = Instant::now();
        let held = Held { last: expires + Duration::from_secs(last), end: end(expires) };
        judge(&held, expires, Duration::from_secs(600))
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

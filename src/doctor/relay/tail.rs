//! The probe of the tail: it keeps one allocation of a short credential open until the server refuses to refresh it. It relays
//! nothing. One probe is one sample: another server of the same provider may behave differently.

use std::time::{Duration, Instant};

use super::client::{Held, Target};
use super::error::ProbeError;
use super::{Entry, Examination, Offer, entries};
use crate::doctor::connect::addresses;
use crate::doctor::report::{CheckState, Verdict, fail, skipped, warn};
use crate::doctor::settings::judge_tail;

/// The time between two refreshes. The allocation lives three times as long.
pub(in crate::doctor) const REFRESH_PAUSE: Duration = Duration::from_secs(20);

/// Probes the first URL of the offer that gives an allocation, until `max` after the expiry at the latest. `expires`: when its credential
/// does. Returns the URL as well.
pub(in crate::doctor) async fn probe(
    offer: Offer,
    expires: Instant,
    max: Duration,
    pause: Duration,
    doctor: &Examination<'_, '_>,
) -> (String, Verdict) {
    let source = offer.source;
    let assumed = doctor.config.budget.expiry_tail.unwrap_or(source.expiry_tail());
    let mut found = (source.name().to_owned(), skipped("no TURN URL can be tried"));
    for Entry { url, credential, .. } in entries(vec![offer]).0 {
        let Some(credential) = credential else { continue };
        for address in addresses(url.host()).await {
            let target = Target { url: &url, address, trust: doctor.trust };
            let verdict = match target.hold(&credential, expires + max, pause, &**doctor.clock).await {
                Ok(held) => return (url.as_str().to_owned(), judge(&held, expires, assumed)),
                Err(error) => fail(error.to_string(), error.remedy(&url, source)),
            };
            found = (url.as_str().to_owned(), verdict);
        }
    }
    found
}

fn judge(held: &Held, expires: Instant, assumed: Duration) -> Verdict {
    let after = |at: Instant| at.saturating_duration_since(expires).as_secs();
    let tail = after(held.last);
    let seen = match &held.end {
        None => format!("still refreshed {tail} s after its expiry, when the probe ended"),
        Some((ProbeError::Code { code, .. }, at)) => {
            format!("refreshed until {tail} s after its expiry, and refused with {code} at {} s", after(*at))
        }
        Some((error, _)) => format!("refreshed until {tail} s after its expiry, then: {error}"),
    };
    let verdict = judge_tail(tail, assumed, &format!("a credential of 60 s: its allocation was {seen}"));
    match held.end {
        None | Some((ProbeError::Code { .. }, _)) => verdict,
        Some(_) if verdict.state != CheckState::Ok => verdict,
        Some(_) => warn(verdict.seen, "run the probe again: a packet may have been lost"),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
mod tests {
    use super::*;

    fn found(last: u64, end: Option<(ProbeError, u64)>) -> Verdict {
        let expires = Instant::now();
        let end = end.map(|(error, at)| (error, expires + Duration::from_secs(at)));
        let held = Held { last: expires + Duration::from_secs(last), end };
        judge(&held, expires, Duration::from_secs(600))
    }

    #[test]
    fn the_tail_is_the_time_from_the_expiry_to_the_last_refresh() {
        let error = ProbeError::Code { code: 401, step: "the refresh", with_credential: true };
        let refused = found(540, Some((error, 560)));
        assert_eq!(refused.state, CheckState::Ok);
        let says =
            "refreshed until 540 s after its expiry, and refused with 401 at 560 s; the ledger assumes 600 s";
        assert!(refused.seen.contains(says), "{refused:?}");
    }

    #[test]
    fn a_tail_that_is_longer_than_the_configured_one_is_a_warning() {
        assert_eq!(found(600, None).state, CheckState::Ok);
        let longer = found(601, None);
        assert_eq!(longer.state, CheckState::Warn);
        assert!(longer.remedy.unwrap().contains("TURN_EXPIRY_TAIL_SECONDS to more than 601"));
    }

    #[test]
    fn a_server_that_stops_answering_is_a_warning() {
        let lost = found(40, Some((ProbeError::Timeout("the refresh"), 60)));
        assert!(lost.state == CheckState::Warn && lost.remedy.is_some_and(|remedy| remedy.contains("again")));
        assert!(lost.seen.contains("no answer in time"), "{}", lost.seen);
    }
}

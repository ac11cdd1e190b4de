//! The check of this machine's clock. It compares the `Date` of an HTTP response with the local time halfway between request
//! and response. The date is truncated to the second, so half a second is added to it.

use std::time::Duration;

use chrono::DateTime;
use reqwest::Client;
use reqwest::header::DATE;
use url::Url;

use super::finding::{Check, Finding};
use super::tls::host_of;
use crate::clock::Clock;
use turn_ledger::units::Timestamp;

/// Above this, times in responses are visibly wrong.
const WARN_ABOVE: Duration = Duration::from_secs(5);
/// Above this, coturn credentials expire early or late, and signatures are refused.
const FAIL_ABOVE: Duration = Duration::from_secs(60);
/// Half a second in milliseconds.
const HALF_SECOND: u64 = 500;

/// Compares with the first of these URLs whose response has a date.
pub(super) async fn check(client: &Client, urls: &[&Url], clock: &dyn Clock) -> Finding {
    for url in urls {
        let before = clock.now();
        // An error response has a date, too.
        let Ok(answer) = client.head((*url).clone()).send().await else { continue };
        let after = clock.now();
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(parse);
        if let Some(date) = date {
            return judge(host_of(url), date, middle(before, after));
        }
    }
    let why = if urls.is_empty() {
        "no API is configured, so there is no clock to compare with"
    } else {
        "no API response has a date"
    };
    Finding::skipped(Check::Clock, "", why)
}

/// Parses the current HTTP date format. Servers no longer send the two obsolete ones.
fn parse(date: &str) -> Option<Timestamp> {
    let at: Timestamp = DateTime::parse_from_rfc2822(date).ok()?.to_utc().into();
    Some(at.plus_millis(HALF_SECOND))
}

fn middle(before: Timestamp, after: Timestamp) -> Timestamp {
    before.plus_millis(after.millis_since(before) / 2)
}

fn judge(host: &str, theirs: Timestamp, ours: Timestamp) -> Finding {
    let (ahead, behind) = (ours.since(theirs), theirs.since(ours));
    let (off, word) = if ahead >= behind { (ahead, "ahead of") } else { (behind, "behind") };
    if off <= WARN_ABOVE {
        return Finding::ok(Check::Clock, "", format!("within {} s of {host}", WARN_ABOVE.as_secs()));
    }
    let seen = format!("this machine's clock is {} s {word} {host}", off.as_secs());
    let remedy = "set the clock by NTP (systemd-timesyncd, chrony), then restart the service: it accepts a clock that \
                  jumps ahead, and keeps the later time when the clock is set back";
    if off <= FAIL_ABOVE {
        return Finding::warn(Check::Clock, "", seen, remedy);
    }
    Finding::fail(Check::Clock, "", seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);

    #[test]
    fn up_to_five_seconds_are_ok_up_to_a_minute_a_warning_and_more_a_failure() {
        let at = |millis: i64| Timestamp::from_millis(NOON.as_millis() + millis);
        for (millis, state) in [
            (0, State::Ok),
            (5_000, State::Ok),
            (5_001, State::Warn),
            (60_000, State::Warn),
            (60_001, State::Fail),
        ] {
            for (ours, word) in [(at(millis), "ahead of"), (at(-millis), "behind")] {
                let found = judge("a.example", NOON, ours);
                assert_eq!(found.state, state, "{millis}");
                assert!(state == State::Ok || found.seen.contains(word), "{found:?}");
            }
        }
    }

    #[test]
    fn the_middle_of_the_second_is_compared_with_the_middle_of_the_exchange() {
        assert_eq!(parse("Wed, 15 Jan 2025 12:00:00 GMT"), Some(NOON.plus_millis(500)));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(middle(NOON, NOON.plus_millis(3_000)), NOON.plus_millis(1_500));
    }
}

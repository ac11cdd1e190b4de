//! Which spans of time a poll by grant counts. Tests: below.
//! Pure: the meter asks for them.
//!
//! Counts are final up to an instant. The open span begins there and ends where the count of the total does: with the last minute that the
//! lag has settled. So a count replaces claims only where every byte has arrived, and the claims of the last minutes stay.

use crate::prelude::*;

/// The length of a span that is counted finally.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Counts are final this long after the lag, because some bytes are counted late.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(3_600);

/// A span of whole minutes, and how long ago it must have ended by Cloudflare's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub until: Timestamp,
    /// How long ago it must have ended, by Cloudflare's clock, when it is counted. A count of a younger span is an error.
    pub age: Duration,
}

/// What a poll counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// The hour that is counted finally; `None` if none is due.
    pub closed: Option<Span>,
    /// All settled time after the final counts. The next polls count it again. If the hour of `closed` is counted now, only what follows
    /// that hour is left to count.
    pub open: Span,
    /// Whether time after the final counts is left out, because it is too long ago.
    pub skips: bool,
}

/// Until when minutes have settled: the latest end of a minute that is at least `lag` before `now`.
pub fn settled_minute(now: Timestamp, lag: Duration) -> Timestamp {
    Minute::of(now.minus(lag)).start()
}

/// The age at which minutes are counted finally.
pub fn final_after(lag: Duration) -> Duration {
    lag.saturating_add(RECOUNT_INTERVAL)
}

/// What to count now. `from`: the end of the final counts. `None` if no whole minute has settled since.
pub fn spans(from: Timestamp, now: Timestamp, lag: Duration) -> Option<Spans> {
    let (until, oldest) = (settled_minute(now, lag), settled_minute(now, COUNTED_WITHIN));
    let start = from.max(oldest);
    if until <= start {
        return None;
    }
    let (end, age) = (start.plus(WINDOW), final_after(lag));
    let is_final = now >= end.plus(age);
    let closed = if is_final { Some(Span { from: start, until: end, age }) } else { None };
    Some(Spans { closed, open: Span { from: start, until, age: lag }, skips: from < oldest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2025-01-15T12:00:00Z
    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);
    const LAG: Duration = Duration::from_secs(600);

    fn after(minutes: u64) -> Timestamp {
        NOON.plus_millis(minutes * 60_000)
    }

    #[test]
    fn the_open_span_ends_where_the_lag_has_passed() {
        let open = spans(NOON, after(30), LAG).unwrap().open;
        assert_eq!(open, Span { from: NOON, until: after(20), age: LAG });
    }

    #[test]
    fn an_hour_is_closed_when_the_lag_and_another_hour_have_passed() {
        let before = spans(NOON, NOON.plus_millis(130 * 60_000 - 1), LAG).unwrap();
        assert_eq!((before.closed, before.open.from, before.open.until), (None, NOON, after(119)));
        let at = spans(NOON, after(130), LAG).unwrap();
        assert_eq!(at.closed, Some(Span { from: NOON, until: after(60), age: final_after(LAG) }));
    }

    #[test]
    fn less_than_a_settled_minute_and_a_clock_that_is_set_back_count_nothing() {
        assert_eq!(spans(NOON, NOON.plus_millis(659_999), LAG), None);
        assert_eq!(spans(after(1), NOON, LAG), None);
    }

    #[test]
    fn time_that_is_more_than_a_week_ago_is_left_out() {
        let week = 7 * 24 * 60;
        let spans = |minutes| spans(NOON, after(minutes), LAG).unwrap();
        assert_eq!((spans(week).skips, spans(week).open.from), (false, NOON));
        assert_eq!((spans(week + 5).skips, spans(week + 5).open.from), (true, after(5)));
    }

    proptest! {
        #[test]
        fn each_minute_is_counted_finally_once(steps in prop::collection::vec(0u64..300, 1..60)) {
            let (mut from, mut now) = (NOON, NOON);
            for minutes in steps {
                now = now.plus_millis(minutes * 60_000);
                let Some(Spans { closed, open, skips }) = spans(from, now, LAG) else { continue };
                prop_assume!(!skips);
                prop_assert_eq!((open.from, open.until), (from, settled_minute(now, LAG)));
                if let Some(closed) = closed {
                    prop_assert_eq!(closed.from, from);
                    prop_assert!(now.since(closed.until) >= final_after(LAG));
                    from = closed.until;
                }
            }
        }
    }
}

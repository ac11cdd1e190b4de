//! The bytes of each grant, by Cloudflare's own count. They say who spends. The total never comes from here, and a failure
//! here does not disturb it.
//!
//! Counts are final up to an instant. The open span after it is counted at each poll, so grants are seen within minutes.
//! When the lag and another hour have passed since the end of the span's first hour, that hour is counted for the last time.
//! The end of the final counts is stored with the ledger, so no hour is counted twice.
//!
//! The counts also say which grants were in use at their expiry. [`super::tail`] looks at what they relayed after it.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::analytics::AnalyticsError;
use super::analytics::by_grant::PageBounds;
use super::lateness::{Span, settled_minute};
use super::tail::TailWatch;
use super::{CloudflareMeter, RECOUNT_INTERVAL, count_failure, pause_after};
use turn_ledger::{GrantCounts, IceSource, Minute, Timestamp, Traffic};

/// The shortest interval between two polls. A poll is at most two spans, so with [`PageBounds`] 20 pages, and one
/// query of tails: in 5 minutes 105 of the 300 queries that Cloudflare allows.
const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// The length of a span that is counted finally.
const WINDOW: Duration = Duration::from_secs(3_600);
/// The longest open span. What is older was missed while the broker did not run.
const OPEN_MAX: Duration = Duration::from_secs(7 * 86_400);
/// A grant that expires within this time, or expired within it, is one whose tail is looked at.
const EXPIRES_SOON: Duration = Duration::from_secs(600);
/// How many grants are looked up at once, because the books are locked meanwhile.
const LOOK_UP_MAX: usize = 1_000;
const SOURCE: IceSource = IceSource::Cloudflare;

/// What is remembered from poll to poll.
#[derive(Clone, Debug, Default)]
pub struct GrantsState {
    /// How much one poll asks for.
    pub bounds: PageBounds,
    tail: TailWatch,
}

/// What a poll counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spans {
    /// The hour that has settled.
    closed: Option<Span>,
    open: Span,
    /// Whether time before both is left out, because it is too long ago.
    skips: bool,
}

impl CloudflareMeter {
    /// Polls until `end`, while `reads` says that the total can be read: a wrong token is reported only there.
    pub(super) async fn run_by_grant(&self, end: &CancellationToken, mut reads: watch::Receiver<bool>) {
        let (mut state, mut failures) = (GrantsState::default(), 0);
        let poll = async {
            loop {
                if reads.wait_for(|is_read| *is_read).await.is_err() {
                    return;
                }
                let asked = self.read_by_grant(&mut state).await;
                failures = self.report_by_grant(&asked, failures);
                tokio::time::sleep(pause_after(&asked, self.interval.max(INTERVAL_MIN), failures)).await;
            }
        };
        end.run_until_cancelled(poll).await;
    }

    /// Counts the hour that has settled, if there is one, and the open span. If the first fails, the open span is counted
    /// all the same. If the second fails, nothing is taken, so that no grant seems to lose bytes. Returns what was taken.
    pub async fn read_by_grant(&self, state: &mut GrantsState) -> Result<Vec<GrantCounts>, AnalyticsError> {
        let from = self.account.read(|books| books.grants().counted_until(SOURCE));
        let Some(spans) = spans(from, self.clock.now(), self.settled_after()) else {
            return Ok(Vec::new());
        };
        let (mut taken, mut open, mut failed) = (Vec::new(), spans.open, None);
        if let Some(closed) = spans.closed {
            match self.api.count_by_grant(closed, true, state.bounds).await {
                Err(AnalyticsError::RateLimited) => return Err(AnalyticsError::RateLimited),
                Err(error) => failed = Some(error),
                Ok(counts) => {
                    open.from = counts.until;
                    taken.push(counts);
                }
            }
        }
        taken.push(self.api.count_by_grant(open, false, state.bounds).await?);
        if spans.skips {
            self.metrics.grant_counts.count([SOURCE.name(), "skipped"]);
        }
        for counts in &taken {
            self.take_by_grant(counts).await;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.look_at_tails(&taken, &mut state.tail).await?;
        Ok(taken)
    }

    /// Notes the grants that relay and expire now, and asks for the minutes of those whose minutes have settled.
    async fn look_at_tails(
        &self,
        taken: &[GrantCounts],
        watch: &mut TailWatch,
    ) -> Result<(), AnalyticsError> {
        let now = self.clock.now();
        let soon = now.plus(EXPIRES_SOON.max(self.interval * 2));
        let ids: Vec<_> = taken.iter().flat_map(|counts| counts.by_grant.keys().copied()).collect();
        for ids in ids.chunks(LOOK_UP_MAX) {
            self.account.read(|books| {
                for (id, row) in ids.iter().filter_map(|id| Some((*id, books.grants().valid(*id)?))) {
                    if row.expires_at <= soon && row.expires_at.plus(EXPIRES_SOON) > now {
                        watch.wait_for(id, row.expires_at);
                    }
                }
            });
        }
        let query = watch.due(now, self.tail, self.settled_after());
        if let Some(query) = query {
            let grants: Vec<_> = query.grants.keys().copied().collect();
            watch.take(&query, &self.api.minutes_of(&grants, query.span).await?);
        }
        self.shown().tail = watch.seen();
        Ok(())
    }

    /// How long after its end an hour is counted finally.
    fn settled_after(&self) -> Duration {
        let late = self.account.snapshot().measured.late_counts;
        let lag = late.map_or(self.lag, |late| late.lag.max(self.lag));
        lag.saturating_add(RECOUNT_INTERVAL)
    }

    async fn take_by_grant(&self, counts: &GrantCounts) {
        let is_taken = self.account.change_in_parts(|books| books.take_grant_counts(SOURCE, counts)).await;
        let outcome = match (counts.is_complete, counts.is_final) {
            // The period has ended since the question, or the count is absurd.
            _ if !is_taken => "ignored",
            (false, _) => "incomplete",
            (true, false) => "open",
            (true, true) => "final",
        };
        self.metrics.grant_counts.count([SOURCE.name(), outcome]);
        if counts.is_final && is_taken {
            let granted = counts.by_grant.values().fold(Traffic::ZERO, |sum, bytes| sum.plus(*bytes));
            self.metrics.grant_count_bytes(granted.sent.get(), counts.other.sent.get());
        }
    }

    /// Updates metrics and log; returns the number of consecutive failures.
    fn report_by_grant<T>(&self, asked: &Result<T, AnalyticsError>, failures: u32) -> u32 {
        let Err(error) = asked else {
            if failures > 0 {
                tracing::info!(failures, "Cloudflare's bytes by grant can be read again");
            }
            return 0;
        };
        self.metrics.grant_counts.count([SOURCE.name(), error.outcome()]);
        count_failure("Cloudflare's bytes by grant were not read", error, failures)
    }
}

/// What to count now. `from`: the end of the final counts. `settled_after`: the age at which an hour is counted finally.
/// `None` if no whole minute has passed.
fn spans(from: Timestamp, now: Timestamp, settled_after: Duration) -> Option<Spans> {
    let (until, oldest) = (Minute::of(now).start(), settled_minute(now, OPEN_MAX)?);
    let start = from.max(oldest);
    if until <= start {
        return None;
    }
    let end = start.plus(WINDOW);
    let closed = Span { from: start, until: end, age: settled_after };
    let open = Span { from: start, until, age: Duration::ZERO };
    let closed = (now >= end.plus(settled_after)).then_some(closed);
    Some(Spans { closed, open, skips: from < oldest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2025-01-15T12:00:00Z
    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);
    const SETTLED_AFTER: Duration = Duration::from_secs(4_200);

    fn after(minutes: u64) -> Timestamp {
        NOON.plus_millis(minutes * 60_000)
    }

    #[test]
    fn an_hour_is_closed_when_the_lag_and_another_hour_have_passed() {
        let before = spans(NOON, NOON.plus_millis(130 * 60_000 - 1), SETTLED_AFTER).unwrap();
        assert_eq!((before.closed, before.open.from, before.open.until), (None, NOON, after(129)));
        let at = spans(NOON, after(130), SETTLED_AFTER).unwrap();
        assert_eq!(at.closed, Some(Span { from: NOON, until: after(60), age: SETTLED_AFTER }));
    }

    #[test]
    fn less_than_a_minute_and_a_clock_that_is_set_back_count_nothing() {
        assert_eq!(spans(NOON, NOON.plus_millis(59_999), SETTLED_AFTER), None);
        assert_eq!(spans(after(1), NOON, SETTLED_AFTER), None);
    }

    #[test]
    fn time_that_is_more_than_a_week_ago_is_left_out() {
        let week = 7 * 24 * 60;
        let spans = |minutes| spans(NOON, after(minutes), SETTLED_AFTER).unwrap();
        assert_eq!((spans(week).skips, spans(week).open.from), (false, NOON));
        assert_eq!((spans(week + 5).skips, spans(week + 5).open.from), (true, after(5)));
    }

    proptest! {
        #[test]
        fn each_minute_is_counted_finally_once(steps in prop::collection::vec(0u64..300, 1..60)) {
            let (mut from, mut now) = (NOON, NOON);
            for minutes in steps {
                now = now.plus_millis(minutes * 60_000);
                let Some(Spans { closed, open, skips }) = spans(from, now, SETTLED_AFTER) else { continue };
                prop_assume!(!skips);
                prop_assert_eq!((open.from, open.until), (from, now));
                if let Some(closed) = closed {
                    prop_assert_eq!(closed.from, from);
                    prop_assert!(now.since(closed.until) >= SETTLED_AFTER);
                    from = closed.until;
                }
            }
        }
    }
}

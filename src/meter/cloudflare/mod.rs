//! The meter of Cloudflare's analytics. It reads the count from the period's start to a whole minute that is
//! `ANALYTICS_LAG_SECONDS` old, because newer minutes are still filling. One query covers the whole period. If the API
//! refuses such a span, the meter queries slices, and keeps the sum of the finished ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub mod analytics;

use crate::account::Account;
use crate::backoff;
use crate::clock::Clock;
use crate::random;
use crate::telemetry::metrics::Metrics;
use analytics::{AnalyticsError, CloudflareAnalytics, RATE_LIMIT_REST, UsageCount};
use turn_ledger::minute::Minute;
use turn_ledger::period::{BillingDay, Period};
use turn_ledger::reading::{Reading, ReadingOutcome};
use turn_ledger::source::IceSource;
use turn_ledger::units::Timestamp;

/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The length of a slice. Other data sets of the API allow 30 days.
const SLICE: Duration = Duration::from_secs(7 * 86_400);
/// Counts that have settled are asked for again at this interval, because some bytes are counted later.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(3_600);

/// The meter.
#[derive(Debug)]
pub struct CloudflareMeter {
    /// The API client.
    pub api: CloudflareAnalytics,
    /// The interval between queries.
    pub interval: Duration,
    /// The age of the newest settled minute.
    pub lag: Duration,
    /// The start of billing periods.
    pub billing_day: BillingDay,
    /// Receives the readings.
    pub account: Arc<Account>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// The finished slices of a period whose whole span the API refuses.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    period: Option<Period>,
    finished: Vec<FinishedSlice>,
}

/// A slice that ended before the settled minutes do.
#[derive(Clone, Copy, Debug)]
struct FinishedSlice {
    from: Timestamp,
    until: Timestamp,
    counted: UsageCount,
    asked_at: Instant,
}

impl CloudflareMeter {
    /// Queries until `end`.
    pub async fn run(&self, end: &CancellationToken) {
        let (mut tally, mut failures) = (Tally::default(), 0);
        loop {
            let asked = tokio::select! {
                biased;
                () = end.cancelled() => return,
                asked = self.read(&mut tally) => asked,
            };
            let rest = match &asked {
                Err(AnalyticsError::RateLimited) => RATE_LIMIT_REST,
                _ => Duration::ZERO,
            };
            failures = self.report(&asked, failures);
            let random = random::bytes().map(u64::from_le_bytes).unwrap_or_default();
            let pause = next_pause(self.interval, failures, random).max(rest);
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Queries once, and gives the reading to the account.
    pub async fn read(&self, tally: &mut Tally) -> Result<ReadingOutcome, AnalyticsError> {
        let Some((period, as_of)) = settled(self.clock.now(), self.lag, self.billing_day) else {
            return Ok(ReadingOutcome::OtherPeriod);
        };
        let counted = self.count(period, as_of, tally).await;
        if let Some(date) = self.api.take_date() {
            self.account.hear_date(date);
        }
        let UsageCount { own, other } = counted?;
        let reading = Reading { period, as_of, granted: own, other };
        Ok(self.account.take_reading(IceSource::Cloudflare, &reading))
    }

    /// Counts from the period's start to `as_of`, in one query if the API allows it.
    async fn count(
        &self,
        period: Period,
        as_of: Timestamp,
        tally: &mut Tally,
    ) -> Result<UsageCount, AnalyticsError> {
        if tally.period != Some(period) {
            match self.api.count(period.start, as_of, self.lag).await {
                Err(AnalyticsError::QueryRefused) if as_of.since(period.start) > SLICE => {}
                counted => return counted,
            }
            *tally = Tally { period: Some(period), finished: Vec::new() };
        }
        let asked_at = self.clock.instant();
        for slice in &mut tally.finished {
            if asked_at.saturating_duration_since(slice.asked_at) >= RECOUNT_INTERVAL {
                let counted = self.api.count(slice.from, slice.until, self.lag).await?;
                slice.counted = higher(slice.counted, counted);
                slice.asked_at = asked_at;
            }
        }
        let mut from = tally.finished.last().map_or(period.start, |slice| slice.until);
        while as_of.since(from) > SLICE {
            let until = from.plus(SLICE);
            let counted = self.api.count(from, until, self.lag).await?;
            tally.finished.push(FinishedSlice { from, until, counted, asked_at });
            from = until;
        }
        let open = self.api.count(from, as_of, self.lag).await?;
        Ok(tally.finished.iter().map(|slice| slice.counted).fold(open, sum))
    }

    /// Updates metrics and log; returns the number of consecutive failures.
    fn report(&self, asked: &Result<ReadingOutcome, AnalyticsError>, failures: u32) -> u32 {
        match asked {
            Ok(taken) => {
                self.metrics.reading(IceSource::Cloudflare.name(), taken.name());
                if *taken == ReadingOutcome::Fell {
                    tracing::warn!("Cloudflare's analytics count has fallen: the reading is ignored");
                } else if failures > 0 {
                    tracing::info!(failures, "Cloudflare's analytics can be read again");
                }
                0
            }
            Err(error) => {
                self.metrics.reading(IceSource::Cloudflare.name(), error.outcome());
                // Log the first and every tenth failure in a row.
                if failures.is_multiple_of(10) {
                    let (outcome, remedy) = (error.outcome(), error.remedy());
                    tracing::warn!(
                        outcome,
                        remedy,
                        failures,
                        "Cloudflare's analytics were not read: {error}"
                    );
                }
                failures.saturating_add(1)
            }
        }
    }
}

/// The pause before the next query: the interval, doubled with each failure in a row up to [`PAUSE_MAX`] but never
/// below the interval, and up to a tenth longer.
fn next_pause(interval: Duration, failures: u32, random: u64) -> Duration {
    let pause = backoff::step(interval, failures, PAUSE_MAX.max(interval));
    pause.saturating_add(backoff::jitter(pause / 10, random))
}

/// The end of the settled minutes, and the period that contains or ends at it. `None` before 1970.
fn settled(now: Timestamp, lag: Duration, billing_day: BillingDay) -> Option<(Period, Timestamp)> {
    let lag = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
    let as_of = Minute::of(Timestamp::from_millis(now.as_millis().checked_sub(lag)?)).start();
    let before = Timestamp::from_millis(as_of.as_millis().checked_sub(1)?);
    Some((billing_day.period_at(before), as_of))
}

fn sum(a: UsageCount, b: UsageCount) -> UsageCount {
    UsageCount { own: a.own.plus(b.own), other: a.other.plus(b.other) }
}

/// The count with more bytes in total.
fn higher(a: UsageCount, b: UsageCount) -> UsageCount {
    if b.total() > a.total() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn failures_double_the_pause_up_to_ten_minutes() {
        let pauses = [0, 1, 2, 3, 4, 40].map(|failures| next_pause(MINUTE, failures, 0).as_secs());
        assert_eq!(pauses, [60, 120, 240, 480, 600, 600]);
        let hour = Duration::from_secs(3_600);
        assert_eq!(next_pause(hour, 5, 0), hour, "but never below the interval");
    }

    proptest! {
        #[test]
        fn jitter_adds_a_tenth_at_most(seconds in 1u64..3_600, failures: u32, random: u64) {
            let interval = Duration::from_secs(seconds);
            let pause = next_pause(interval, failures, 0);
            let by_chance = next_pause(interval, failures, random);
            prop_assert!(pause <= by_chance && by_chance <= pause + pause / 10);
            prop_assert!(pause >= interval);
        }
    }

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    fn asked_at(now: &str) -> (Timestamp, Timestamp) {
        let first = BillingDay::new(1).unwrap();
        let (period, as_of) = settled(at(now), Duration::from_secs(600), first).unwrap();
        (period.start, as_of)
    }

    #[test]
    fn only_settled_whole_minutes_are_queried() {
        let january = at("2025-01-01T00:00:00Z");
        assert_eq!(asked_at("2025-01-15T12:34:56Z"), (january, at("2025-01-15T12:24:00Z")));
    }

    #[test]
    fn in_the_first_minutes_of_a_period_the_previous_one_is_queried() {
        let (january, february) = (at("2025-01-01T00:00:00Z"), at("2025-02-01T00:00:00Z"));
        assert_eq!(asked_at("2025-02-01T00:05:00Z"), (january, at("2025-01-31T23:55:00Z")));
        assert_eq!(asked_at("2025-02-01T00:10:59Z"), (january, february), "its last reading is complete");
        assert_eq!(asked_at("2025-02-01T00:11:00Z"), (february, at("2025-02-01T00:01:00Z")));
    }
}

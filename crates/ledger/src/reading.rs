//! What a provider itself has counted, and what that says about the rate which the bound assumes. A reading replaces the
//! estimate of the minutes that it covers. Readings never go down and never reach into the future; bytes that come in
//! faster than every live grant at the assumed rate could relay them mean that the assumption is wrong, and the rate
//! that was observed takes its place until the data fit again.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::period::Period;
use crate::units::{BitRate, ByteCount, Timestamp};

/// A provider's count of one period's billed bytes, from its start to `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which period.
    pub period: Period,
    /// Up to when everything is counted.
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// Bytes that count against the same limit, and that nobody promised here: other keys, the SFU.
    pub other: ByteCount,
}

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadingOutcome {
    /// It counts from now on.
    Taken,
    /// It is of another period than the ledger's.
    OtherPeriod,
    /// A later one is known.
    Older,
    /// It says less than an earlier one, by more than sampling explains: it is not believed.
    Fell,
}

impl ReadingOutcome {
    /// The name in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::OtherPeriod => "other_period",
            Self::Older => "older",
            Self::Fell => "fell",
        }
    }
}

/// How the assumed rate stands against the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumption {
    /// Whether the data fit the assumption.
    pub holds: bool,
    /// What one live grant was seen to relay, averaged; while the assumption does not hold, over the stretch that
    /// contradicts it most. `None` without two readings, or without a grant alive between them.
    pub observed: Option<BitRate>,
}

impl Default for Assumption {
    fn default() -> Self {
        Self { holds: true, observed: None }
    }
}

/// A reading with what it taught, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReading {
    /// The latest one.
    pub reading: Reading,
    /// The most that its bytes under credentials of ours can be. A ledger that was written before this was kept says
    /// nothing: then it is the count.
    #[serde(default)]
    pub at_most: ByteCount,
    /// What is known of the rate.
    pub assumption: Assumption,
}

impl Reading {
    /// This reading after `before`: cut to whole milliseconds of the past, and no lower in all than it was. `sampling`
    /// is how far a count may lie off the truth, in percent; a fall within it is noise. Bytes may come to be another
    /// key's (the operator has replaced ours): that is no fall, and they count once.
    pub(crate) fn after(
        mut self,
        before: Option<&Self>,
        now: Timestamp,
        sampling: u32,
    ) -> Result<Self, ReadingOutcome> {
        self.as_of = self.as_of.min(now);
        let Some(before) = before else { return Ok(self) };
        if self.as_of < before.as_of {
            return Err(ReadingOutcome::Older);
        }
        let noise = part(before.total(), sampling);
        if u128::from(self.total()) < u128::from(before.total()).saturating_sub(noise) {
            return Err(ReadingOutcome::Fell);
        }
        if self.total() < before.total() {
            let total = ByteCount::new(before.total());
            self.granted = self.granted.max(before.granted).min(total);
            self.other = total.minus(self.granted);
        }
        Ok(self)
    }

    fn total(&self) -> u64 {
        self.granted.plus(self.other).get()
    }
}

/// So many percent of a count, rounded up.
fn part(bytes: u64, percent: u32) -> u128 {
    u128::from(bytes).saturating_mul(percent.into()).div_ceil(100)
}

/// The most that was really there if a count is too low by so many percent of the truth, rounded up.
pub(crate) fn at_most(counted: u128, percent: u32) -> u128 {
    let rest = u128::from(100_u32.saturating_sub(percent).max(1));
    counted.saturating_mul(100).div_ceil(rest)
}

/// Points of the last while, one for each minute at most: an hour.
const MINUTES_MAX: usize = 60;
/// They lie at least so far apart.
const MINUTE_MILLIS: u64 = 60_000;
/// Points from before that, one for each hour at most: a period. Sampling may hide a part of all that was ever counted,
/// from an hour as from a month; so only long stretches show a little too much each hour.
const HOURS_MAX: usize = 31 * 24;
/// They lie at least so far apart.
const HOUR_MILLIS: u64 = 60 * MINUTE_MILLIS;

/// A reading beside what was promised up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) as_of: Timestamp,
    /// Bytes under credentials that were issued here, since the period's start.
    pub(crate) granted: ByteCount,
    /// Grants alive, added up over the minutes since the period's start.
    pub(crate) grant_minutes: u128,
    /// Grants alive in its minute.
    pub(crate) live: u32,
}

/// The assumed rate on trial. It starts anew with each period, and with the last reading after a restart; what it found
/// stays.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    assumed: BitRate,
    /// How far a count may lie off the truth, in percent.
    sampling: u32,
    minutes: VecDeque<Point>,
    hours: Vec<Point>,
    verdict: Assumption,
}

impl Trial {
    pub(crate) fn new(assumed: BitRate, sampling: u32, verdict: Assumption) -> Self {
        Self { assumed, sampling, minutes: VecDeque::new(), hours: vec![], verdict }
    }

    pub(crate) fn verdict(&self) -> Assumption {
        self.verdict
    }

    /// The rate that the bound rests on.
    pub(crate) fn liability(&self) -> BitRate {
        let observed = self.verdict.observed.filter(|_| !self.verdict.holds);
        observed.map_or(self.assumed, |observed| observed.max(self.assumed))
    }

    /// Another period begins: its counts start at zero.
    pub(crate) fn begin_period(&mut self) {
        self.minutes.clear();
        self.hours.clear();
    }

    /// Hears one more point.
    pub(crate) fn hear(&mut self, point: Point) {
        if let Some(first) = self.minutes.front() {
            // What was too much long ago and is no more is over, whatever the sum says.
            let goes_on = self.is_exceeded(first, &point, 0);
            let hours = self.hours.iter().filter(|_| goes_on);
            let points = hours.chain(&self.minutes);
            let exceeded = points.filter(|from| self.is_exceeded(from, &point, self.sampling));
            self.verdict = match exceeded.map(|from| rate(from, &point, edges(&point))).max() {
                Some(observed) => Assumption { holds: false, observed: observed.or(self.verdict.observed) },
                None => Assumption { holds: true, observed: rate(first, &point, 0) },
            };
        }
        self.keep(point);
    }

    fn keep(&mut self, point: Point) {
        if lies_behind(self.minutes.back(), &point, MINUTE_MILLIS) {
            self.minutes.push_back(point);
        }
        if self.minutes.len() > MINUTES_MAX
            && let Some(oldest) = self.minutes.pop_front()
            && self.hours.len() < HOURS_MAX
            && lies_behind(self.hours.last(), &oldest, HOUR_MILLIS)
        {
            self.hours.push(oldest);
        }
    }

    /// Whether more flowed than was promised and so much sampling explains.
    fn is_exceeded(&self, from: &Point, to: &Point, sampling: u32) -> bool {
        let minutes = to.grant_minutes.saturating_sub(from.grant_minutes).saturating_add(edges(to));
        let promised = self.assumed.over_millis(minutes.saturating_mul(60_000));
        let flowed = u128::from(to.granted.minus(from.granted).get());
        flowed > promised.saturating_add(part(to.granted.get(), sampling))
    }
}

/// Whether a point comes so long after another one, if there is one.
fn lies_behind(last: Option<&Point>, point: &Point, millis: u64) -> bool {
    last.is_none_or(|last| point.as_of.millis_since(last.as_of) >= millis)
}

/// A provider's minutes need not be ours: a minute of every live grant at either end of a stretch is allowed for.
fn edges(to: &Point) -> u128 {
    u128::from(to.live).saturating_mul(2)
}

/// What one grant relayed on average, rounded up to a whole bit a second; `None` where none was alive.
fn rate(from: &Point, to: &Point, more_minutes: u128) -> Option<BitRate> {
    let minutes = to.grant_minutes.saturating_sub(from.grant_minutes).saturating_add(more_minutes);
    let seconds = minutes.saturating_mul(60);
    let bits = u128::from(to.granted.minus(from.granted).get()).saturating_mul(8);
    let rate = (seconds > 0).then(|| bits.div_ceil(seconds))?;
    Some(BitRate::new(u64::try_from(rate).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::BillingDay;
    use proptest::prelude::*;

    fn minute(n: u64) -> Timestamp {
        // 2025-01-15T12:00:00Z
        Timestamp::from_millis(1_736_942_400_000).plus_millis(n * 60_000)
    }

    fn reading(n: u64, granted: u64, other: u64) -> Reading {
        let period = BillingDay::new(1).unwrap().period_at(minute(0));
        let (granted, other) = (ByteCount::new(granted), ByteCount::new(other));
        Reading { period, as_of: minute(n), granted, other }
    }

    fn point(n: u64, granted: u64, grant_minutes: u128, live: u32) -> Point {
        Point { as_of: minute(n), granted: ByteCount::new(granted), grant_minutes, live }
    }

    fn trial() -> Trial {
        Trial::new(BitRate::new(2_000_000), 0, Assumption::default())
    }

    #[test]
    fn no_reading_reaches_into_the_future() {
        let taken = reading(10, 5, 0).after(None, minute(3), 0).unwrap();
        assert_eq!(taken.as_of, minute(3));
    }

    #[test]
    fn an_older_reading_and_one_that_fell_are_not_believed() {
        let before = reading(5, 1_000, 1_000);
        let after = |n, granted, other| reading(n, granted, other).after(Some(&before), minute(60), 5);
        assert_eq!(after(4, 3_000, 3_000), Err(ReadingOutcome::Older));
        assert_eq!(after(6, 1_000, 899), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 0, 0), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 1_200, 1_000), Ok(reading(6, 1_200, 1_000)));
    }

    #[test]
    fn a_fall_within_the_sampling_is_noise_and_lowers_nothing() {
        let before = reading(5, 1_000, 1_000);
        let taken = reading(6, 950, 960).after(Some(&before), minute(60), 5);
        assert_eq!(taken, Ok(reading(6, 1_000, 1_000)));
    }

    #[test]
    fn a_sampled_count_stands_for_more_than_it_says() {
        assert_eq!(at_most(950, 5), 1_000);
        assert_eq!(at_most(951, 5), 1_002, "outward");
        assert_eq!(at_most(7, 0), 7);
        assert_eq!(at_most(7, 100), 700, "and never for without end");
    }

    #[test]
    fn what_the_grants_could_relay_fits_and_shows_the_rate() {
        let mut trial = trial();
        trial.hear(point(0, 0, 0, 1));
        assert_eq!(trial.verdict(), Assumption::default(), "one reading shows no rate");
        // Ten minutes of one grant at 1 Mbps.
        trial.hear(point(10, 75_000_000, 10, 1));
        assert_eq!(trial.verdict(), Assumption { holds: true, observed: Some(BitRate::new(1_000_000)) });
        assert_eq!(trial.liability(), BitRate::new(2_000_000));
    }

    #[test]
    fn bytes_beyond_the_promise_break_the_assumption_until_the_data_fit_again() {
        let mut trial = trial();
        trial.hear(point(0, 0, 0, 1));
        // Ten minutes at 8 Mbps, told of with a minute to spare at either end.
        trial.hear(point(10, 600_000_000, 10, 1));
        let broken = trial.verdict();
        assert!(!broken.holds);
        assert_eq!(broken.observed, Some(BitRate::new(6_666_667)));
        assert_eq!(trial.liability(), BitRate::new(6_666_667));
        // An hour in which nothing flows.
        for n in 11..80 {
            trial.hear(point(n, 600_000_000, u128::from(n), 1));
        }
        assert!(trial.verdict().holds);
        assert_eq!(trial.liability(), BitRate::new(2_000_000));
    }

    #[test]
    fn a_burst_is_seen_however_quiet_it_was_before() {
        let mut trial = trial();
        for n in 0..50 {
            trial.hear(point(n, 0, 10 * u128::from(n), 10));
        }
        // Five minutes of ten grants at 4 Mbps: far less than an hour's promise.
        trial.hear(point(54, 1_500_000_000, 540, 10));
        assert!(!trial.verdict().holds);
    }

    #[test]
    fn bytes_without_any_grant_break_the_assumption_without_a_rate() {
        let mut trial = trial();
        trial.hear(point(0, 0, 0, 0));
        trial.hear(point(1, 1, 0, 0));
        assert_eq!(trial.verdict(), Assumption { holds: false, observed: None });
        assert_eq!(trial.liability(), BitRate::new(2_000_000));
    }

    #[test]
    fn what_sampling_explains_breaks_nothing() {
        let mut trial = Trial::new(BitRate::new(2_000_000), 5, Assumption::default());
        trial.hear(point(0, 1_000_000_000_000, 0, 0));
        trial.hear(point(1, 1_050_000_000_000, 0, 0));
        assert!(trial.verdict().holds);
        trial.hear(point(2, 1_110_000_000_000, 0, 0));
        assert!(!trial.verdict().holds);
    }

    #[test]
    fn the_second_reading_of_a_minute_is_held_against_the_first() {
        let mut trial = trial();
        trial.hear(point(0, 0, 0, 1));
        trial.hear(point(0, 100_000_000_000, 0, 1));
        assert!(!trial.verdict().holds);
    }

    proptest! {
        #[test]
        fn grants_that_keep_to_the_rate_never_break_it(steps in prop::collection::vec((0u32..50, 0u64..=60), 1..200)) {
            let mut trial = trial();
            let (mut bytes, mut minutes) = (0, 0);
            for (n, (live, share)) in (0..).zip(steps) {
                bytes += 15_000_000 * u64::from(live) * share / 60;
                minutes += u128::from(live);
                trial.hear(point(n, bytes, minutes, live));
                prop_assert!(trial.verdict().holds);
            }
        }

        #[test]
        fn readings_never_go_down(counts in prop::collection::vec((0u64..1 << 40, 0u64..1 << 40, 0u64..100), 1..100)) {
            let mut held: Option<Reading> = None;
            for (granted, other, n) in counts {
                if let Ok(taken) = reading(n, granted, other).after(held.as_ref(), minute(50), 5) {
                    prop_assert!(taken.as_of <= minute(50));
                    if let Some(before) = held {
                        prop_assert!(taken.as_of >= before.as_of);
                        prop_assert!(taken.total() >= before.total());
                        let said = ByteCount::new(granted).plus(ByteCount::new(other)).get();
                        prop_assert_eq!(taken.total(), said.max(before.total()), "and nothing counts twice");
                    }
                    held = Some(taken);
                }
            }
        }
    }
}

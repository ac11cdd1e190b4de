//! The test of the assumed rate. Tests: below.
//! The overshoot bound assumes that no grant relays faster. Each reading tests this: more bytes than all live grants at that rate could
//! relay contradict it. Then the observed rate replaces the assumed one until no reading of the last hour contradicts it. One that fits
//! shows little: each new grant makes the test more tolerant.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::allowance::RELAY_RATE_MAX;
use crate::promise::GrantMinutes;
use crate::units::period::Period;
use crate::units::slot::Minute;
use crate::units::{BitRate, ByteCount, Timestamp};

/// How the assumed rate compares with the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumption {
    /// Whether the readings fit the assumption.
    pub holds: bool,
    /// The average rate of one live grant. While the assumption does not hold, the rate in the span that contradicts
    /// it most. `None` without two readings, or without a live grant between them.
    pub observed: Option<BitRate>,
}

impl Default for Assumption {
    fn default() -> Self {
        Self { holds: true, observed: None }
    }
}

/// What counts of a period have shown above what live grants could relay at the assumed rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// The most in one span of time, beyond the margin for sampling.
    pub bytes: ByteCount,
    /// The highest rate of one live grant that this showed; zero if no grant was live.
    pub rate: BitRate,
}

impl Excess {
    /// Both at their highest.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), rate: self.rate.max(other.rate) }
    }

    /// What is left of it if this rate is assumed: nothing once it is as high as what was seen.
    fn at(self, assumed: BitRate) -> Self {
        let is_assumed = self.rate > BitRate::default() && assumed >= self.rate;
        if is_assumed { Self::default() } else { self }
    }
}

/// Most points of the whole period, at least an hour apart. Sampling may hide a share of all bytes, so only a long
/// span shows an excess that is small in each hour.
const HOURS_MAX: usize = 31 * 24;
/// The distance of these points.
const HOUR_MILLIS: u64 = 60 * Minute::MILLIS;
/// How long a reading contradicts the assumption.
pub(crate) const CONTRADICTED_FOR: Duration = Duration::from_millis(HOUR_MILLIS);

/// A reading with the grant-minutes up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) as_of: Timestamp,
    /// Bytes under credentials that were issued here, since the period's start.
    pub(crate) granted: ByteCount,
    /// Grant-minutes since the period's start.
    pub(crate) minutes: GrantMinutes,
    /// Those of the minute of `as_of`.
    pub(crate) live: GrantMinutes,
}

/// The hourly points of a period, as stored. A small excess that lasts shows over days only, so a restart keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialHours {
    period: Period,
    hours: Vec<Point>,
}

/// See the module's description. A new period removes all points. After a restart the last point and those of the hours are
/// known. The verdict stays in both cases.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) assumed: BitRate,
    /// The margin of error of a reading, in percent.
    sampling: u32,
    /// The most that was counted under one key in this period. Sampling may have missed a share of it. It never falls: when the
    /// key is replaced, its count starts again, and what sampling missed before may still arrive.
    counted: ByteCount,
    /// The points of the last hour, at least a minute apart, and one before it. With each, the highest rate that contradicts the
    /// assumption up to the next one; zero if it is unknown.
    minutes: VecDeque<(Point, Option<BitRate>)>,
    hours: Vec<Point>,
    /// The highest average rate of one live grant between two of them.
    highest: Option<BitRate>,
    verdict: Assumption,
    excess: Excess,
}

impl Trial {
    /// `verdict` and `excess`: those of the time before.
    pub(crate) fn new(assumed: BitRate, sampling: u32, verdict: Assumption, excess: Excess) -> Self {
        Self {
            assumed,
            sampling,
            counted: ByteCount::ZERO,
            minutes: VecDeque::new(),
            hours: vec![],
            highest: None,
            verdict,
            excess: excess.at(assumed),
        }
    }

    pub(crate) fn verdict(&self) -> Assumption {
        self.verdict
    }

    /// What counts of this period have shown above the assumed rate.
    pub(crate) fn excess(&self) -> Excess {
        self.excess
    }

    /// The rate for the overshoot bound. What is promised at it stays promised, so bytes of somebody else do not raise it without a limit.
    pub(crate) fn liability(&self) -> BitRate {
        let observed = self.verdict.observed.filter(|_| !self.verdict.holds);
        observed.map_or(self.assumed, |observed| observed.min(RELAY_RATE_MAX).max(self.assumed))
    }

    /// The highest average rate of one live grant in an hour of this period. Before a whole hour is counted, the one that was observed last.
    pub(crate) fn highest_hour(&self) -> Option<BitRate> {
        let Assumption { holds, observed } = self.verdict;
        if holds { self.highest.or(observed) } else { self.highest.max(observed) }
    }

    /// The hourly points of the period, to be stored. They change once an hour.
    pub(crate) fn hours(&self, period: Period) -> TrialHours {
        TrialHours { period, hours: self.hours.clone() }
    }

    /// How many hourly points there are.
    pub(crate) fn hour_count(&self) -> usize {
        self.hours.len()
    }

    /// The hourly points as stored, if they are of this period.
    pub(crate) fn restore_hours(&mut self, stored: &TrialHours, period: Period) {
        if stored.period == period {
            self.hours.clone_from(&stored.hours);
            let pairs = self.hours.iter().zip(self.hours.iter().skip(1));
            self.highest = pairs.filter_map(|(from, to)| rate(from, to, GrantMinutes::default())).max();
        }
    }

    /// Removes all points, because the counts of a new period start at zero.
    pub(crate) fn begin_period(&mut self) {
        self.counted = ByteCount::ZERO;
        self.minutes.clear();
        self.hours.clear();
        self.highest = None;
        self.excess = Excess::default();
    }

    /// The assumption holds until a reading contradicts it again.
    pub(crate) fn forget_verdict(&mut self) {
        (self.verdict, self.excess) = (Assumption::default(), Excess::default());
        self.minutes.clear();
    }

    /// Tests the assumption against one more point. `counted` is the reading's count under our present key.
    pub(crate) fn add(&mut self, point: Point, counted: ByteCount) {
        self.counted = self.counted.max(counted).max(point.granted);
        let Some((first, _)) = self.minutes.front().copied() else {
            // The verdict of the time before counts like one of this point.
            let observed = self.verdict.observed.unwrap_or_default();
            return self.keep(point, (!self.verdict.holds).then_some(observed));
        };
        let contradiction = self.contradiction(&first, &point);
        self.excess = self.excess.max(contradiction.unwrap_or_default());
        self.keep(point, contradiction.map(|excess| excess.rate));
        self.verdict = match self.minutes.iter().filter_map(|(_, rate)| *rate).max() {
            Some(rate) => Assumption { holds: false, observed: (rate.get() > 0).then_some(rate) },
            None => Assumption { holds: true, observed: rate(&first, &point, GrantMinutes::default()) },
        };
    }

    /// The most bytes and the highest rate in the spans up to `point` that contradict the assumption. `first`: the first point of the last hour.
    fn contradiction(&self, first: &Point, point: &Point) -> Option<Excess> {
        // An old excess that the last hour no longer shows is over.
        let hours = if self.excess_of(first, point, 0).is_some() { self.hours.as_slice() } else { &[] };
        let points = hours.iter().chain(self.minutes.iter().map(|(from, _)| from));
        points.filter_map(|from| self.excess_of(from, point, self.sampling)).reduce(Excess::max)
    }

    fn keep(&mut self, point: Point, contradiction: Option<BitRate>) {
        match self.minutes.back_mut() {
            Some((last, rate)) if point.as_of.millis_since(last.as_of) < Minute::MILLIS => {
                *rate = contradiction.max(*rate);
            }
            _ => self.minutes.push_back((point, contradiction)),
        }
        let is_old = |second: &Point| point.as_of.millis_since(second.as_of) >= HOUR_MILLIS;
        while self.minutes.get(1).is_some_and(|(second, _)| is_old(second)) {
            self.minutes.pop_front();
        }
        let is_next_hour =
            self.hours.last().is_none_or(|last| point.as_of.millis_since(last.as_of) >= HOUR_MILLIS);
        if self.hours.len() < HOURS_MAX && is_next_hour {
            let of_hour = self.hours.last().and_then(|last| rate(last, &point, GrantMinutes::default()));
            self.highest = self.highest.max(of_hour);
            self.hours.push(point);
        }
    }

    /// The bytes that flowed beyond what the live grants and the sampling margin explain; `None` if there are none.
    fn excess_of(&self, from: &Point, to: &Point, sampling: u32) -> Option<Excess> {
        let minutes = to.minutes.minus(from.minutes).plus(edges(to));
        let assumed = self.assumed.over_millis(minutes.count.saturating_mul(Minute::MILLIS.into()));
        let promised = minutes.bytes.max(assumed);
        let flowed = u128::from(to.granted.minus(from.granted).get());
        let excess = flowed.saturating_sub(promised.saturating_add(self.counted.share_up(sampling)));
        let rate = rate(from, to, edges(to)).unwrap_or_default();
        (excess > 0).then(|| Excess { bytes: ByteCount::saturating(excess), rate })
    }
}

/// The tolerance at both ends of a span, in grant-minutes: the provider's minutes may differ from ours by one.
fn edges(to: &Point) -> GrantMinutes {
    to.live.times(2)
}

/// The average rate of one grant, rounded up to a whole bit per second; `None` if no grant was alive.
fn rate(from: &Point, to: &Point, more: GrantMinutes) -> Option<BitRate> {
    let seconds = to.minutes.minus(from.minutes).plus(more).count.saturating_mul(60);
    let bits = u128::from(to.granted.minus(from.granted).get()).saturating_mul(8);
    let rate = (seconds > 0).then(|| bits.div_ceil(seconds))?;
    Some(BitRate::new(u64::try_from(rate).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::period::BillingDay;
    use proptest::prelude::*;

    fn minute(n: u64) -> Timestamp {
        // 2025-01-15T12:00:00Z
        Timestamp::from_millis(1_736_942_400_000).plus_millis(n * 60_000)
    }

    fn add(trial: &mut Trial, n: u64, granted: u64, grant_minutes: u128, live: u32) {
        let granted = ByteCount::new(granted);
        let minutes = |count| GrantMinutes { count, bytes: 15_000_000 * count };
        let point =
            Point { as_of: minute(n), granted, minutes: minutes(grant_minutes), live: minutes(live.into()) };
        trial.add(point, granted);
    }

    fn trial() -> Trial {
        Trial::new(BitRate::new(2_000_000), 0, Assumption::default(), Excess::default())
    }

    #[test]
    fn bytes_that_the_grants_could_relay_fit_and_show_the_rate() {
        let mut trial = trial();
        add(&mut trial, 0, 0, 0, 1);
        assert_eq!(trial.verdict(), Assumption::default(), "one reading shows no rate");
        // Ten minutes of one grant at 1 Mbps.
        add(&mut trial, 10, 75_000_000, 10, 1);
        assert_eq!(trial.verdict(), Assumption { holds: true, observed: Some(BitRate::new(1_000_000)) });
        assert_eq!(trial.liability(), BitRate::new(2_000_000));
    }

    #[test]
    fn too_many_bytes_break_the_assumption_until_the_readings_fit_again() {
        let mut trial = trial();
        add(&mut trial, 0, 0, 0, 1);
        // Ten minutes at 8 Mbps, tested with a minute to spare at either end.
        add(&mut trial, 10, 600_000_000, 10, 1);
        let broken = trial.verdict();
        assert!(!broken.holds);
        assert_eq!(broken.observed, Some(BitRate::new(6_666_667)));
        assert_eq!(trial.liability(), BitRate::new(6_666_667));
        // Nothing is relayed any more. The last reading that contradicts the rate is 27 minutes later.
        for n in 11..130 {
            assert!(!trial.verdict().holds || n > 98, "minute {n}");
            add(&mut trial, n, 600_000_000, u128::from(n), 1);
        }
        assert!(trial.verdict().holds);
        assert_eq!(trial.liability(), BitRate::new(2_000_000));
    }

    #[test]
    fn the_excess_is_the_most_of_one_span_until_the_period_ends_or_the_rate_is_assumed() {
        let mut trial = trial();
        add(&mut trial, 0, 0, 0, 1);
        // Ten minutes at 8 Mbps. With the minute at either end twelve are promised at 2 Mbps.
        add(&mut trial, 10, 600_000_000, 10, 1);
        let excess = Excess { bytes: ByteCount::new(420_000_000), rate: BitRate::new(6_666_667) };
        assert_eq!(trial.excess(), excess);
        for n in 11..130 {
            add(&mut trial, n, 600_000_000, u128::from(n), 1);
        }
        assert_eq!((trial.verdict().holds, trial.excess()), (true, excess));
        for (mbps, left) in [(2, excess), (6, excess), (7, Excess::default())] {
            let again = Trial::new(BitRate::new(mbps * 1_000_000), 0, trial.verdict(), trial.excess());
            assert_eq!(again.excess(), left, "{mbps} Mbps");
        }
        let without_grant = Excess { rate: BitRate::default(), ..excess };
        assert_eq!(without_grant.at(BitRate::new(100_000_000)), without_grant);
        trial.begin_period();
        assert_eq!(trial.excess(), Excess::default());
    }

    #[test]
    fn a_new_grant_does_not_hide_an_excess_that_goes_on() {
        let mut trial = trial();
        // One grant at 8 Mbps. After ten minutes there are a hundred others, which relay nothing.
        for n in 0..120 {
            let live = if n < 10 { 1 } else { 101 };
            add(&mut trial, n, 60_000_000 * n, u128::from(n) + 100 * u128::from(n.saturating_sub(10)), live);
            assert_eq!(trial.verdict().holds, !(1..70).contains(&n), "minute {n}");
        }
    }

    #[test]
    fn a_contradiction_lasts_an_hour_over_a_restart_and_a_reset() {
        let broken = Assumption { holds: false, observed: Some(BitRate::new(8_000_000)) };
        for is_reset in [false, true] {
            let mut trial = Trial::new(BitRate::new(2_000_000), 0, broken, Excess::default());
            for n in 0..70 {
                add(&mut trial, n, 0, u128::from(n), 1);
                assert_eq!(trial.verdict().holds, n >= if is_reset { 66 } else { 61 }, "minute {n}");
                if is_reset && n == 4 {
                    trial.begin_period();
                }
            }
        }
    }

    #[test]
    fn the_greater_of_assumed_and_observed_rate_counts_up_to_what_a_client_reaches() {
        for (observed, assumed, liability) in [(4, 2, 4), (4, 8, 8), (400, 2, 100), (400, 200, 200)] {
            let [observed, assumed] = [observed, assumed].map(|mbps| BitRate::new(mbps * 1_000_000));
            let trial = Trial::new(
                assumed,
                0,
                Assumption { holds: false, observed: Some(observed) },
                Excess::default(),
            );
            assert_eq!(trial.liability(), BitRate::new(liability * 1_000_000));
        }
    }

    #[test]
    fn a_burst_is_seen_after_a_quiet_hour() {
        let mut trial = trial();
        for n in 0..50 {
            add(&mut trial, n, 0, 10 * u128::from(n), 10);
        }
        // Five minutes of ten grants at 4 Mbps: far less than they may relay in an hour.
        add(&mut trial, 54, 1_500_000_000, 540, 10);
        assert!(!trial.verdict().holds);
    }

    #[test]
    fn the_highest_hour_is_an_average_over_whole_hours_and_ends_with_the_period() {
        let mut trial = trial();
        assert_eq!(trial.highest_hour(), None);
        let kbps = |trial: &Trial| trial.highest_hour().unwrap().get() / 1_000;
        // Ten grants, of which one relays at 2 Mbps in each second minute, then in each minute of one hour.
        let mut bytes = 0;
        for n in 0..=240 {
            bytes += if n % 2 == 0 || (61..=120).contains(&n) { 15_000_000 } else { 0 };
            add(&mut trial, n, bytes, 10 * u128::from(n), 10);
            match n {
                10 => assert_eq!(kbps(&trial), 100, "a part of an hour is better than nothing"),
                60..=119 => assert_eq!(kbps(&trial), 100, "minute {n}"),
                120.. => assert_eq!(kbps(&trial), 200, "minute {n}"),
                _ => {}
            }
        }
        let period = BillingDay::new(1).unwrap().period_at(minute(0));
        let mut again = Trial::new(BitRate::new(2_000_000), 0, trial.verdict(), trial.excess());
        again.restore_hours(&trial.hours(period), period);
        assert_eq!(kbps(&again), 200, "it is stored");
        trial.begin_period();
        assert_eq!(trial.highest_hour(), trial.verdict().observed);
    }

    #[test]
    fn bytes_without_any_grant_break_the_assumption_without_a_rate() {
        let mut trial = trial();
        add(&mut trial, 0, 0, 0, 0);
        add(&mut trial, 1, 1, 0, 0);
        assert_eq!(trial.verdict(), Assumption { holds: false, observed: None });
        assert_eq!(trial.liability(), BitRate::new(2_000_000));
    }

    #[test]
    fn an_excess_within_the_sampling_margin_is_accepted() {
        let mut trial = Trial::new(BitRate::new(2_000_000), 5, Assumption::default(), Excess::default());
        add(&mut trial, 0, 1_000_000_000_000, 0, 0);
        add(&mut trial, 1, 1_050_000_000_000, 0, 0);
        assert!(trial.verdict().holds);
        add(&mut trial, 2, 1_110_000_000_000, 0, 0);
        assert!(!trial.verdict().holds);
    }

    #[test]
    fn the_second_reading_of_a_minute_is_compared_with_the_first() {
        let mut trial = trial();
        add(&mut trial, 0, 0, 0, 1);
        add(&mut trial, 0, 100_000_000_000, 0, 1);
        assert!(!trial.verdict().holds);
    }

    proptest! {
        #[test]
        fn grants_within_the_assumed_rate_never_break_the_assumption(steps in prop::collection::vec((0u32..50, 0u64..=60), 1..200)) {
            let mut trial = trial();
            let (mut bytes, mut minutes) = (0, 0);
            for (n, (live, share)) in (0..).zip(steps) {
                bytes += 15_000_000 * u64::from(live) * share / 60;
                minutes += u128::from(live);
                add(&mut trial, n, bytes, minutes, live);
                prop_assert!(trial.verdict().holds);
            }
        }
    }
}

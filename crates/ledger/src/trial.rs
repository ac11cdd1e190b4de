//! The test of the assumed rate, and what exceeded it or the tail. Tests: `src/trial_tests.rs`.
//! The overshoot bound assumes that no grant relays faster. Each reading tests this: more bytes than all live grants at that rate could
//! relay contradict it. Then the observed rate replaces the assumed one until no reading of the last hour contradicts it. One that fits
//! shows little: each new grant makes the test more tolerant. Bytes that are counted late are held against the promises of the time in
//! which they can have flowed.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{BitRate, ByteCount, GrantMinutes, Minute, Period, RELAY_RATE_MAX, Timestamp};

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

/// What counts of a period have shown above what live grants could relay at the assumed rate, or after the assumed tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// The most in one span of time, beyond the margin for sampling; of several chains, and after several tails, the sum.
    pub bytes: ByteCount,
    /// The highest rate of one live grant that this showed; zero if no grant was live, and for bytes after a tail.
    pub rate: BitRate,
    /// The longest time from an expiry to a byte; zero for what was relayed before the end of a tail.
    pub tail: Duration,
}

impl Excess {
    /// The highest of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), ..self.seen(other) }
    }

    /// The sum of the bytes, and the highest rate and tail.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.plus(other.bytes), ..self.seen(other) }
    }

    fn seen(self, other: Self) -> Self {
        Self { rate: self.rate.max(other.rate), tail: self.tail.max(other.tail), ..self }
    }

    /// What is left of it if this is assumed: nothing once it is as much as what was seen.
    fn at(self, rate: BitRate, tail: Duration) -> Self {
        let seen = Self { bytes: ByteCount::ZERO, ..self };
        let is_assumed = seen != Self::default() && rate >= self.rate && tail >= self.tail;
        if is_assumed { Self::default() } else { self }
    }
}

/// The excess, seen in three ways. They may see the same bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Excesses {
    /// Of all grants together.
    pub(crate) of_all: Excess,
    /// The sum over chains of renewals, each for itself.
    pub(crate) of_chains: Excess,
    /// The sum of what was relayed after tails.
    pub(crate) after_tails: Excess,
}

impl Excesses {
    /// With what was seen since: the bytes of further grants after their tails, and the present figures of the others.
    fn and(self, seen: Self) -> Self {
        Self {
            of_all: self.of_all.max(seen.of_all),
            of_chains: self.of_chains.max(seen.of_chains),
            after_tails: self.after_tails.plus(seen.after_tails),
        }
    }

    fn at(self, rate: BitRate, tail: Duration) -> Self {
        let Self { of_all, of_chains, after_tails } = self;
        let at = |excess: Excess| excess.at(rate, tail);
        Self { of_all: at(of_all), of_chains: at(of_chains), after_tails: at(after_tails) }
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
    /// Those up to the first instant whose bytes may be counted after this reading: earlier than `as_of` where counts can be late.
    pub(crate) settled: GrantMinutes,
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
    excess: Excesses,
}

impl Trial {
    /// `tail`: the longest that is assumed. `verdict` and `excess`: those of the time before.
    pub(crate) fn new(
        assumed: BitRate,
        tail: Duration,
        sampling: u32,
        verdict: Assumption,
        excess: Excesses,
    ) -> Self {
        Self {
            assumed,
            sampling,
            counted: ByteCount::ZERO,
            minutes: VecDeque::new(),
            hours: vec![],
            highest: None,
            verdict,
            excess: excess.at(assumed, tail),
        }
    }

    pub(crate) fn verdict(&self) -> Assumption {
        self.verdict
    }

    /// What counts of this period have shown.
    pub(crate) fn excess(&self) -> Excess {
        let Excesses { of_all, of_chains, after_tails } = self.excess;
        of_all.max(of_chains).max(after_tails)
    }

    /// The same, as stored.
    pub(crate) fn stored_excess(&self) -> Excesses {
        self.excess
    }

    /// Raises the excesses to these figures. `after_tails` is added to what was seen before.
    pub(crate) fn record(&mut self, seen: Excesses) {
        self.excess = self.excess.and(seen);
    }

    /// The rate for the overshoot bound. What is promised at it stays promised, so bytes of somebody else do not raise it without a limit.
    pub(crate) fn liability(&self) -> BitRate {
        let observed = self.verdict.observed.filter(|_| !self.verdict.holds);
        observed.map_or(self.assumed, |observed| observed.min(RELAY_RATE_MAX).max(self.assumed))
    }

    /// The highest average rate of one live grant in an hour of this period, at most what a relay carries for one. Before a whole hour is
    /// counted, the one that was observed last.
    pub(crate) fn highest_hour(&self) -> Option<BitRate> {
        let Assumption { holds, observed } = self.verdict;
        let highest = if holds { self.highest.or(observed) } else { self.highest.max(observed) };
        highest.map(|rate| rate.min(RELAY_RATE_MAX))
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
        self.excess = Excesses::default();
    }

    /// The assumption holds until a reading contradicts it again.
    pub(crate) fn forget_verdict(&mut self) {
        (self.verdict, self.excess) = Default::default();
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
        self.record(Excesses { of_all: contradiction.unwrap_or_default(), ..Excesses::default() });
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
        let minutes = to.minutes.minus(from.settled).plus(edges(to));
        let assumed = self.assumed.over_millis(minutes.count.saturating_mul(Minute::MILLIS.into()));
        let promised = minutes.bytes.max(assumed);
        let flowed = u128::from(to.granted.minus(from.granted).get());
        let excess = flowed.saturating_sub(promised.saturating_add(self.counted.share_up(sampling)));
        let rate = rate(from, to, edges(to)).unwrap_or_default();
        (excess > 0).then(|| Excess { bytes: ByteCount::saturating(excess), rate, ..Excess::default() })
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
#[path = "trial_tests.rs"]
mod tests;

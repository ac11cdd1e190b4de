//! The test of the assumed rate, and what exceeded it or the tail. Tests: `src/trial_tests.rs`.
//! The overshoot bound assumes that no grant relays faster. Each reading tests this: more bytes than all live grants at that rate could
//! relay contradict it. One that fits shows little: each new grant makes the test more tolerant. Bytes that are counted late are held against
//! the promises of the time in which they can have flowed.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::allowance::RELAY_RATE_MAX;
use crate::promise::GrantMinutes;
use crate::units::slot::Minute;
use crate::units::{BitRate, ByteCount, Timestamp};

/// A rate that is assumed because it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaisedRate {
    /// The setting at that time. A start with another one ends it.
    pub(crate) instead_of: BitRate,
    pub(crate) rate: BitRate,
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

/// The shortest time whose average rate is compared with others.
const HOUR_MILLIS: u64 = 60 * Minute::MILLIS;

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

/// What a trial knows of its period, as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrialState {
    /// The point since which most has flowed above what was promised. A small excess that lasts shows over days only.
    since: Option<Point>,
    /// The average rate of one live grant in the last hour or two.
    observed: Option<BitRate>,
    /// The highest one in an hour.
    highest: Option<BitRate>,
    excess: Excesses,
}

/// See the module's description. A new period removes all points.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    assumed: BitRate,
    /// The margin of error of a reading, in percent.
    sampling: u32,
    /// The most that was counted under one key in this period. Sampling may have missed a share of it. It never falls: when the
    /// key is replaced, its count starts again, and what sampling missed before may still arrive.
    counted: ByteCount,
    /// Two points at most, at least an hour apart.
    hours: VecDeque<Point>,
    state: TrialState,
}

impl Trial {
    /// `tail`: the longest that is assumed. `state`: that of the time before, if it is of this period.
    pub(crate) fn new(assumed: BitRate, tail: Duration, sampling: u32, state: TrialState) -> Self {
        let state = TrialState { excess: state.excess.at(assumed, tail), ..state };
        Self { assumed, sampling, counted: ByteCount::ZERO, hours: VecDeque::new(), state }
    }

    /// What counts of this period have shown.
    pub(crate) fn excess(&self) -> Excess {
        let Excesses { of_all, of_chains, after_tails } = self.state.excess;
        of_all.max(of_chains).max(after_tails)
    }

    /// What is stored.
    pub(crate) fn state(&self) -> TrialState {
        self.state
    }

    /// Raises the excesses to these figures. `after_tails` is added to what was seen before.
    pub(crate) fn record(&mut self, seen: Excesses) {
        self.state.excess = self.state.excess.and(seen);
    }

    /// The highest rate that a grant is assumed to relay at.
    pub(crate) fn assumed(&self) -> BitRate {
        self.assumed
    }

    /// Assumes a rate that was seen. That explains what all have relayed, but for these chains.
    pub(crate) fn assume(&mut self, rate: BitRate, faster: Excess) {
        self.assumed = rate;
        let after_tails = self.state.excess.after_tails;
        self.state.excess = Excesses { of_all: Excess::default(), of_chains: faster, after_tails };
        self.state.since = None;
    }

    /// The average rate of one live grant in the last hour or two.
    pub(crate) fn observed(&self) -> Option<BitRate> {
        self.state.observed
    }

    /// The highest average rate of one live grant in an hour of this period, at most what a relay carries for one. Before a whole hour is
    /// counted, the one that was observed last.
    pub(crate) fn highest_hour(&self) -> Option<BitRate> {
        self.state.highest.or(self.state.observed).map(|rate| rate.min(RELAY_RATE_MAX))
    }

    /// Removes all points, because the counts of a new period start at zero.
    pub(crate) fn begin_period(&mut self) {
        self.counted = ByteCount::ZERO;
        self.hours.clear();
        self.state = TrialState::default();
    }

    /// Tests the assumption against one more point. `counted` is the reading's count under our present key.
    pub(crate) fn add(&mut self, point: Point, counted: ByteCount) {
        self.counted = self.counted.max(counted).max(point.granted);
        let since = *self.state.since.get_or_insert(point);
        if let Some(of_all) = self.excess_of(&since, &point) {
            self.record(Excesses { of_all, ..Excesses::default() });
        }
        // A span that begins with less than was promised shows less than its rest.
        let (flowed, minutes) = (point.granted.minus(since.granted), point.minutes.minus(since.minutes));
        if u128::from(flowed.get()) <= self.promised(minutes) {
            self.state.since = Some(point);
        }
        if let Some(first) = self.hours.front() {
            self.state.observed = average_rate(first, &point, GrantMinutes::default());
        }
        let last = self.hours.back();
        if last.is_none_or(|last| point.as_of.millis_since(last.as_of) >= HOUR_MILLIS) {
            let of_hour = last.and_then(|last| average_rate(last, &point, GrantMinutes::default()));
            self.state.highest = self.state.highest.max(of_hour);
            if self.hours.len() > 1 {
                self.hours.pop_front();
            }
            self.hours.push_back(point);
        }
    }

    /// The bytes that flowed beyond what the live grants and the sampling margin explain; `None` if there are none.
    fn excess_of(&self, from: &Point, to: &Point) -> Option<Excess> {
        let promised = self.promised(to.minutes.minus(from.settled).plus(edges(to)));
        let flowed = u128::from(to.granted.minus(from.granted).get());
        let excess = flowed.saturating_sub(promised.saturating_add(self.counted.share_up(self.sampling)));
        let rate = average_rate(from, to, edges(to)).unwrap_or_default();
        (excess > 0).then(|| Excess { bytes: ByteCount::saturating(excess), rate, ..Excess::default() })
    }

    fn promised(&self, minutes: GrantMinutes) -> u128 {
        let assumed = self.assumed.over_millis(minutes.count.saturating_mul(Minute::MILLIS.into()));
        minutes.bytes.max(assumed)
    }
}

/// The tolerance at both ends of a span, in grant-minutes: the provider's minutes may differ from ours by one.
fn edges(to: &Point) -> GrantMinutes {
    to.live.times(2)
}

/// The average rate of one live grant between two readings, rounded up to a whole bit per second; `None` if no grant was alive.
/// `tolerance`: grant-minutes that are added.
fn average_rate(from: &Point, to: &Point, tolerance: GrantMinutes) -> Option<BitRate> {
    let grant_seconds = to.minutes.minus(from.minutes).plus(tolerance).count.saturating_mul(60);
    let bits = u128::from(to.granted.minus(from.granted).get()).saturating_mul(8);
    let bits_per_second = (grant_seconds > 0).then(|| bits.div_ceil(grant_seconds))?;
    Some(BitRate::new(u64::try_from(bits_per_second).unwrap_or(u64::MAX)))
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;

//! The test of the assumed rate, and what exceeded it or the tail. Tests: `src/evidence/rate_check_tests.rs`.
//! The overshoot bound assumes that no grant relays faster than the assumed rate. Each reading tests this: more bytes than all live grants
//! could relay at this rate contradict it. A reading that fits shows little, because each new grant makes the test more tolerant. Bytes
//! that are counted late are compared with the promises of the time in which they can have flowed.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::promise::GrantMinutes;
use crate::units::RELAY_RATE_MAX;
use crate::units::slot::Minute;
use crate::units::{BitRate, ByteCount, Timestamp};

/// A rate that is assumed because it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedRate {
    /// The setting at that time. A start with another setting ends this rate.
    pub(crate) instead_of: BitRate,
    /// The rate that counts have shown.
    pub rate: BitRate,
}

/// What counts of a period have shown above what live grants could relay at the assumed rate, or after the assumed tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// The most bytes in excess in one span of time, without the margin for sampling. For several chains, and after several tails: the sum.
    pub bytes: ByteCount,
    /// The highest rate of one live grant that the counts showed; zero if no grant was live, and for bytes after a tail.
    pub rate: BitRate,
    /// The longest time from an expiry to a byte; zero if all bytes were relayed before the end of a tail.
    pub tail: Duration,
}

impl Excess {
    /// The highest of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), ..self.highest(other) }
    }

    /// The sum of the bytes, and the highest rate and tail.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.plus(other.bytes), ..self.highest(other) }
    }

    /// The bytes of this one, with the highest rate and tail of both.
    fn highest(self, other: Self) -> Self {
        Self { rate: self.rate.max(other.rate), tail: self.tail.max(other.tail), ..self }
    }

    /// The excess if this rate and tail are assumed: none once both are as much as what was seen. An excess that showed neither stays,
    /// because no assumption explains it.
    fn at(self, rate: BitRate, tail: Duration) -> Self {
        let shows_either = self.rate > BitRate::default() || self.tail > Duration::ZERO;
        let is_explained = shows_either && rate >= self.rate && tail >= self.tail;
        if is_explained { Self::default() } else { self }
    }
}

/// The excess, found in three ways. The same bytes may be in several of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excesses {
    /// Of all grants together.
    pub of_all: Excess,
    /// The sum over chains of renewals, each compared by itself.
    pub of_chains: Excess,
    /// The sum of what was relayed after tails.
    pub after_tails: Excess,
}

impl Excesses {
    /// Adds what was seen since. `seen`: only the further bytes after tails, but the present figures of the other two ways.
    fn with(self, seen: Self) -> Self {
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
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here, since the period's start.
    pub granted: ByteCount,
    /// Grant-minutes from the period's start to `as_of`.
    pub minutes: GrantMinutes,
    /// Grant-minutes whose bytes this reading has in full: those to `as_of`, or to an earlier instant where counts can be late.
    pub settled: GrantMinutes,
    /// Grant-minutes of the minute of `as_of`.
    pub live: GrantMinutes,
}

/// What it knows of its period, as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RateCheckState {
    /// The point at which the tested span begins: that since which most has flowed above what was promised. The span may be days long,
    /// because a small excess that lasts shows only in a long span.
    since: Option<Point>,
    /// The average rate of one live grant in the last hour or two.
    observed: Option<BitRate>,
    /// The highest average rate of one live grant in an hour.
    highest: Option<BitRate>,
    excess: Excesses,
}

/// See the module's description. A new period removes all points.
#[derive(Clone, Debug)]
pub(crate) struct RateCheck {
    assumed: BitRate,
    /// The margin of error of a reading, in percent.
    sampling: u32,
    /// The most that was counted under one key in this period. Sampling may have missed a share of it. This never falls: when the key is
    /// replaced, the count starts again, and what sampling missed before may still arrive.
    counted: ByteCount,
    /// The points from which averages are taken: two at most, at least an hour apart.
    hours: VecDeque<Point>,
    state: RateCheckState,
}

impl RateCheck {
    /// `tail`: the longest assumed tail. `state`: the stored state, if it is of this period.
    pub(crate) fn new(assumed: BitRate, tail: Duration, sampling: u32, state: RateCheckState) -> Self {
        let state = RateCheckState { excess: state.excess.at(assumed, tail), ..state };
        Self { assumed, sampling, counted: ByteCount::ZERO, hours: VecDeque::new(), state }
    }

    /// What counts of this period have shown.
    pub(crate) fn excess(&self) -> Excess {
        let Excesses { of_all, of_chains, after_tails } = self.state.excess;
        of_all.max(of_chains).max(after_tails)
    }

    /// Assumes a longer tail, which explains what was relayed before its end.
    pub(crate) fn assume_tail(&mut self, tail: Duration) {
        let after_tails = &mut self.state.excess.after_tails;
        *after_tails = after_tails.at(BitRate::default(), tail);
    }

    /// What is stored.
    pub(crate) fn state(&self) -> RateCheckState {
        self.state
    }

    /// Raises the excesses to these figures. `after_tails` is added to what was seen before.
    pub(crate) fn record(&mut self, seen: Excesses) {
        self.state.excess = self.state.excess.with(seen);
    }

    /// The highest rate that a grant is assumed to relay at.
    pub(crate) fn assumed(&self) -> BitRate {
        self.assumed
    }

    /// Assumes a rate that was seen. It explains the excess of all grants together. `faster`: the excess of chains that it does not
    /// explain.
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

    /// The highest average rate of one live grant in an hour of this period, at most what a relay carries for a grant. Before a whole hour
    /// is counted, the rate that was observed last.
    pub(crate) fn highest_hour(&self) -> Option<BitRate> {
        self.state.highest.or(self.state.observed).map(|rate| rate.min(RELAY_RATE_MAX))
    }

    /// Removes all points, rates and excesses, because the counts of a new period start at zero.
    pub(crate) fn begin_period(&mut self) {
        self.counted = ByteCount::ZERO;
        self.hours.clear();
        self.state = RateCheckState::default();
    }

    /// Tests the assumption against one more point. `counted` is the reading's count under our present key.
    pub(crate) fn add(&mut self, point: Point, counted: ByteCount) {
        self.counted = self.counted.max(counted).max(point.granted);
        let since = *self.state.since.get_or_insert(point);
        if let Some(of_all) = self.excess_of(&since, &point) {
            self.record(Excesses { of_all, ..Excesses::default() });
        }
        // If no more has flowed in the span than was promised, the next span begins here: the promises that this one has not used would
        // hide an excess.
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
        // From `from.settled`, because bytes of later minutes may have been counted late: after `from`.
        let promised = self.promised(to.minutes.minus(from.settled).plus(edges(to)));
        let flowed = u128::from(to.granted.minus(from.granted).get());
        let excess = flowed.saturating_sub(promised.saturating_add(self.counted.share_up(self.sampling)));
        if excess == 0 {
            return None;
        }
        let rate = average_rate(from, to, edges(to)).unwrap_or_default();
        Some(Excess { bytes: ByteCount::saturating(excess), rate, ..Excess::default() })
    }

    /// What grants could relay in these minutes: at their own rates, or at the assumed one if that is more.
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
    if grant_seconds == 0 {
        return None;
    }
    Some(BitRate::new(u64::try_from(bits.div_ceil(grant_seconds)).unwrap_or(u64::MAX)))
}

#[cfg(test)]
#[path = "rate_check_tests.rs"]
mod tests;

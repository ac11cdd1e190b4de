//! At what rates live grants relay on average, and what exceeded the assumed rate or the tail. Tests: `src/evidence/rate_check_tests.rs`.
//! The overshoot bound assumes that no grant relays faster than the assumed rate. Counts by grant test this, chain by chain. The total of all
//! grants tests nothing: a stranger may have the source's key, the ledger may lack grants, and each new grant makes it more tolerant.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::promise::GrantMinutes;
use crate::units::{BitRate, ByteCount, Minute, RELAY_RATE_MAX, Timestamp};

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
    /// The bytes in excess, without the margin for sampling. For several chains, and after several tails: the sum.
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

/// The excess, found in two ways. The same bytes may be in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excesses {
    /// The sum over chains of renewals, each compared by itself.
    pub of_chains: Excess,
    /// The sum of what was relayed after tails.
    pub after_tails: Excess,
}

impl Excesses {
    /// Adds what was seen since. `seen`: only the further bytes after tails, but the present figure of chains.
    fn with(self, seen: Self) -> Self {
        Self {
            of_chains: self.of_chains.max(seen.of_chains),
            after_tails: self.after_tails.plus(seen.after_tails),
        }
    }

    fn at(self, rate: BitRate, tail: Duration) -> Self {
        Self { of_chains: self.of_chains.at(rate, tail), after_tails: self.after_tails.at(rate, tail) }
    }
}

/// The shortest time whose average rate is compared with others.
const HOUR_MILLIS: u64 = 60 * Minute::MILLIS;

/// A count with the grant-minutes up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here, since the period's start.
    pub granted: ByteCount,
    /// Grant-minutes from the period's start to `as_of`.
    pub minutes: GrantMinutes,
}

/// What it knows of its period, as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RateCheckState {
    /// The average rate of one live grant in the last hour or two.
    pub(crate) observed: Option<BitRate>,
    /// The highest average rate of one live grant in an hour.
    highest: Option<BitRate>,
    excess: Excesses,
}

/// See the module's description. A new period removes all points.
#[derive(Clone, Debug)]
pub(crate) struct RateCheck {
    /// The highest rate that a grant is assumed to relay at.
    pub(crate) assumed: BitRate,
    /// The points from which averages are taken: two at most, at least an hour apart.
    hours: VecDeque<Point>,
    pub(crate) state: RateCheckState,
}

impl RateCheck {
    /// `tail`: the longest assumed tail. `state`: the stored state, if it is of this period.
    pub(crate) fn new(assumed: BitRate, tail: Duration, state: RateCheckState) -> Self {
        let state = RateCheckState { excess: state.excess.at(assumed, tail), ..state };
        Self { assumed, hours: VecDeque::new(), state }
    }

    /// What counts of this period have shown.
    pub(crate) fn excess(&self) -> Excess {
        let Excesses { of_chains, after_tails } = self.state.excess;
        of_chains.max(after_tails)
    }

    /// Assumes a longer tail, which explains what was relayed before its end.
    pub(crate) fn assume_tail(&mut self, tail: Duration) {
        let after_tails = &mut self.state.excess.after_tails;
        *after_tails = after_tails.at(BitRate::default(), tail);
    }

    /// Raises the excesses to these figures. `after_tails` is added to what was seen before.
    pub(crate) fn record(&mut self, seen: Excesses) {
        self.state.excess = self.state.excess.with(seen);
    }

    /// Assumes a rate that was seen. `faster`: the excess of chains that it does not explain.
    pub(crate) fn assume(&mut self, rate: BitRate, faster: Excess) {
        self.assumed = rate;
        self.state.excess.of_chains = faster;
    }

    /// The highest average rate of one live grant in an hour of this period, at most what a relay carries for a grant. Before a whole hour
    /// is counted, the rate that was observed last.
    pub(crate) fn highest_hour(&self) -> Option<BitRate> {
        self.state.highest.or(self.state.observed).map(|rate| rate.min(RELAY_RATE_MAX))
    }

    /// Removes all points, rates and excesses, because the counts of a new period start at zero.
    pub(crate) fn begin_period(&mut self) {
        self.hours.clear();
        self.state = RateCheckState::default();
    }

    /// Adds one more point to the averages.
    pub(crate) fn add(&mut self, point: Point) {
        if let Some(first) = self.hours.front() {
            self.state.observed = average_rate(first, &point);
        }
        let last = self.hours.back();
        if last.is_none_or(|last| point.as_of.millis_since(last.as_of) >= HOUR_MILLIS) {
            let of_hour = last.and_then(|last| average_rate(last, &point));
            self.state.highest = self.state.highest.max(of_hour);
            if self.hours.len() > 1 {
                self.hours.pop_front();
            }
            self.hours.push_back(point);
        }
    }
}

/// The average rate of one live grant between two points, rounded up to a whole bit per second; `None` if no grant was alive.
fn average_rate(from: &Point, to: &Point) -> Option<BitRate> {
    let minutes = to.minutes.minus(from.minutes).count;
    (minutes > 0).then(|| BitRate::average(to.granted.minus(from.granted), minutes))
}

#[cfg(test)]
#[path = "rate_check_tests.rs"]
mod tests;

//! The counts of one source: each replaces the estimate of the time that it covers, and tests the assumed rate.
//! Tests: `src/timeline/tests/readings.rs`.

use std::time::Duration;

use super::Timeline;
use crate::evidence::{Carried, DayCount, Point, Reading, ReadingOutcome};
use crate::minutes::SourceState;
use crate::units::{ByteCount, Interval, Timestamp};

/// After this time without a good reading, the provider's count is stale.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(600);
/// A reading is good if its `as_of` is at most this long ago. This is more than the longest lag, so an older reading
/// shows that the wall clock is behind the books.
const GOOD_FOR: Duration = Duration::from_secs(LATE_MAX.as_secs() + STALE_AFTER.as_secs());
/// The most by which a provider may count some bytes later than others: the longest `ANALYTICS_LAG_SECONDS`.
const LATE_MAX: Duration = Duration::from_secs(3_600);

impl Timeline {
    /// Takes a count of a day.
    pub fn take_reading(&mut self, reading: &Reading) -> ReadingOutcome {
        let before = self.minutes.days.get(reading.day);
        let clipped = reading.until(self.now, &before);
        let outcome = clipped.map_or(ReadingOutcome::Older, |clipped| self.judge(&clipped, &before));
        if outcome != ReadingOutcome::Fell && self.now.since(reading.as_of) <= GOOD_FOR {
            self.read_at = self.now;
        }
        outcome
    }

    /// Takes a count, unless it is lower than what two answers agree on, or [`crate::evidence::proof`] does not believe it. A count that is
    /// lower than the last answer alone shows that this answer was wrong.
    fn judge(&mut self, reading: &Reading, before: &DayCount) -> ReadingOutcome {
        let (sampling, agreed) = (self.minutes.sampling(), before.agreed.bytes);
        if reading.is_lower(agreed, sampling) {
            return ReadingOutcome::Fell;
        }
        let takes_back = reading.is_lower(before.total(), sampling);
        // Any smaller decrease is noise.
        let taken = reading.at_least(if takes_back { agreed } else { before.total() }, before.granted);
        let as_granted = reading.other.minus(taken.other);
        if self.terms.proof.is_strict() {
            let shows_bytes =
                taken.growth_since(before) > ByteCount::ZERO || takes_back && taken.total() > agreed;
            // The ledger may lack grants that were live in the time between the two counts.
            let may_lack = before.as_of < self.lacks_until.min(reading.as_of);
            let was_live = before.was_live || self.promised_before(reading) > 0 || may_lack;
            if !self.state.proof.believes(reading.as_of, before.as_of, shows_bytes, was_live, self.now) {
                // If it shows no more, it says something about the time that was counted before, though nothing about the time since.
                if taken.total() <= before.total() {
                    self.count(&Reading { as_of: before.as_of, ..taken }, as_granted, before);
                }
                return ReadingOutcome::Unproven;
            }
        }
        self.count(&taken, as_granted, before);
        ReadingOutcome::Taken
    }

    /// What was promised between the day's latest count and this reading.
    pub(crate) fn promised_before(&self, reading: &Reading) -> u128 {
        let until = reading.as_of.min(self.now).min(reading.day.end());
        self.minutes.promised_between(Interval::new(self.minutes.days.get(reading.day).as_of, until))
    }

    /// Takes a count that is believed. `as_granted`: bytes that the provider counts as other, and this reading under grants.
    fn count(&mut self, reading: &Reading, as_granted: ByteCount, before: &DayCount) {
        let agreed_until = self.minutes.counted.agreed_until;
        self.minutes.measure(reading, as_granted, self.state.proof.unproven_until);
        let after = self.minutes.days.get(reading.day);
        // The growth of a day has flowed since its last count only if this count ends later. A day that is counted for the first time
        // after later days shows nothing new either: its bytes flowed before the latest count.
        let (was, is) = (before.agreed, after.agreed);
        let is_compared =
            is.until > was.until && (was.until > reading.day.start() || is.until > agreed_until);
        if is_compared && self.minutes.period.contains(reading.day.start()) {
            self.add_flowed(is.bytes.minus(was.bytes).min(after.granted));
        }
    }

    /// Takes what a source that is watched here has carried. All bytes but those in `before` count in this period, also if the source was
    /// asked before the reset.
    pub fn carry(&mut self, carried: &Carried) {
        // A count that ends at the start of a day would be no count of that day.
        let as_of = carried.as_of.max(self.minutes.period.start.plus_millis(1)).min(self.now);
        self.minutes.carry(&Carried { as_of, ..*carried });
        self.add_flowed(if carried.is_shown { carried.granted } else { ByteCount::ZERO });
        if self.now.since(carried.as_of) <= GOOD_FOR {
            self.read_at = self.now;
        }
    }

    /// Counts what is promised from the latest count to `until`, because the count of that time is lost.
    pub fn count_lost(&mut self, until: Timestamp) {
        let granted = ByteCount::saturating(
            self.minutes.promised_between(Interval::new(self.minutes.days.latest(), until)),
        );
        if granted > ByteCount::ZERO {
            self.carry(&Carried { as_of: until, granted, ..Carried::default() });
        }
    }

    /// Adds bytes that have flowed under grants.
    fn add_flowed(&mut self, flowed: ByteCount) {
        self.state.flowed = self.state.flowed.plus(flowed);
        self.add_point();
    }

    /// Gives the counts so far to the averages, with their grant-minutes.
    pub(super) fn add_point(&mut self) {
        let as_of = self.minutes.counted.agreed_until;
        self.rate_check.add(Point { as_of, granted: self.state.flowed, minutes: self.minutes.measured() });
    }

    /// The end of the latest count of this period, and all counted bytes; `None` if nothing is counted.
    pub fn counted(&self) -> Option<(Timestamp, ByteCount)> {
        let counted = self.minutes.counted;
        let bytes = ByteCount::saturating(counted.granted.saturating_add(counted.other));
        (counted.as_of > self.minutes.period.start).then_some((counted.as_of, bytes))
    }

    /// What is stored of the counts besides their days.
    pub(super) fn state(&self) -> SourceState {
        SourceState { period: self.minutes.period, rate_check: self.rate_check.state, ..self.state.clone() }
    }
}

//! The counts of one source: each replaces the estimate of the time that it covers, and tests the assumed rate.
//! Tests: `src/timeline/tests/readings.rs`.

use std::time::Duration;

use super::Timeline;
use super::terms::ProofRule;
use crate::evidence::day::DayCount;
use crate::evidence::doubt::{Contradiction, is_absurd};
use crate::evidence::rate_check::{Excesses, Point};
use crate::evidence::reading::{Carried, Reading, ReadingOutcome};
use crate::minutes::usage::SourceState;
use crate::units::interval::Interval;
use crate::units::{ByteCount, Timestamp};

/// After this time without a good reading, the provider's count is stale.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(600);
/// A reading that is not in doubt is good if its `as_of` is at most this long ago. This is more than the longest lag, so an older reading
/// shows that the wall clock is behind the books.
const GOOD_FOR: Duration = Duration::from_secs(LATE_MAX.as_secs() + STALE_AFTER.as_secs());
/// The most by which a provider may count some bytes later than others: the longest `ANALYTICS_LAG_SECONDS`.
const LATE_MAX: Duration = Duration::from_secs(3_600);

impl Timeline {
    /// Takes a count of a day. A provider's count that contradicts what is known must be confirmed first. `tests_rate`: whether it
    /// tests the assumed rate. It does not while nobody knows how much time has passed: the next test has the bytes of this count.
    pub fn take_reading(&mut self, reading: &Reading, tests_rate: bool, limit: ByteCount) -> ReadingOutcome {
        let before = self.minutes.days.get(reading.day);
        let outcome = match reading.until(self.now, &before) {
            None => ReadingOutcome::Older,
            Some(clipped) => match self.judge(clipped, &before, limit) {
                Ok(taken) => self.count(&taken, clipped.other.minus(taken.other), &before, tests_rate),
                Err(why) => why,
            },
        };
        let is_in_doubt = matches!(outcome, ReadingOutcome::Fell | ReadingOutcome::Doubted);
        if !is_in_doubt && self.now.since(reading.as_of) <= GOOD_FOR {
            self.read_at = self.now;
        }
        outcome
    }

    /// Refuses a count that contradicts what is known and is not confirmed, or that [`crate::evidence::proof`] does not believe. Otherwise returns it
    /// as it is taken: no lower than before, unless a lower count is confirmed.
    fn judge(
        &mut self,
        reading: Reading,
        before: &DayCount,
        limit: ByteCount,
    ) -> Result<Reading, ReadingOutcome> {
        let promised = self.promised_before(&reading);
        let is_lower = reading.is_lower(before, self.minutes.sampling());
        if self.terms.owner.source.is_counted_by_provider() {
            // A part of the growth may be bytes that sampling had missed before.
            let missed = ByteCount::saturating(before.total().share_up(self.minutes.sampling()));
            let growth = reading.total().minus(before.total()).minus(missed).get();
            let absurd = is_absurd(growth, promised, limit).then_some(Contradiction::Absurd);
            let why = if is_lower { Some(Contradiction::Lower) } else { absurd };
            let SourceState { doubt, proof, .. } = &mut self.state;
            // Where no probe can be made, none is required.
            let can_be_shown = self.terms.proof == ProofRule::Probe;
            let is_shown_since = |at| !can_be_shown || proof.has_shown_since(at);
            if !doubt.accepts(
                reading.day,
                reading.total(),
                why,
                self.terms.sampling,
                self.now,
                is_shown_since,
            ) {
                return Err(if is_lower { ReadingOutcome::Fell } else { ReadingOutcome::Doubted });
            }
        }
        if self.terms.proof.is_strict() {
            let shows_bytes = reading.growth_since(before) > ByteCount::ZERO;
            // The ledger may lack grants that were live in the time between the two counts.
            let may_lack = before.as_of < self.lacks_until.min(reading.as_of);
            let was_live = before.was_live || promised > 0 || may_lack;
            if !self.state.proof.believes(reading.as_of, before.as_of, shows_bytes, was_live, self.now) {
                return Err(ReadingOutcome::Unproven);
            }
        }
        // A lower count that was confirmed is taken as it is. Any smaller decrease is noise.
        Ok(if is_lower { reading } else { reading.at_least(before) })
    }

    /// Whether a probe would help a count to be believed.
    pub fn needs_probe(&self) -> bool {
        let is_lower = || self.state.doubt.of(self.minutes.period()) == Some(Contradiction::Lower);
        self.state.proof.needs_probe() || self.terms.proof == ProofRule::Probe && is_lower()
    }

    /// What was promised between the day's latest count and this reading.
    pub(crate) fn promised_before(&self, reading: &Reading) -> u128 {
        let until = reading.as_of.min(self.now).min(reading.day.end());
        self.minutes.promised_between(Interval::new(self.minutes.days.get(reading.day).as_of, until))
    }

    /// Takes a count that is believed. `as_granted`: bytes that the provider counts as other, and this reading under grants.
    fn count(
        &mut self,
        reading: &Reading,
        as_granted: ByteCount,
        before: &DayCount,
        tests_rate: bool,
    ) -> ReadingOutcome {
        let counted_until = self.minutes.counted().as_of;
        self.minutes.measure(reading, as_granted, self.state.proof.unproven_until());
        if self.minutes.period().contains(reading.day.start()) {
            // The growth of a day has flowed since its last count only if this count ends later. A day that is counted for the first time
            // after later days shows nothing new either: its bytes flowed before the latest count.
            let is_later = reading.as_of > before.as_of;
            let is_compared =
                is_later && (before.as_of > reading.day.start() || reading.as_of > counted_until);
            let flowed = if is_compared { reading.growth_since(before) } else { ByteCount::ZERO };
            // Days are counted in turn. The day that is not over comes last: with its count, all days are counted up to one instant.
            self.add_flowed(flowed, tests_rate && reading.as_of < reading.day.end());
        }
        ReadingOutcome::Taken
    }

    /// Takes what a source that is watched here has carried. All bytes but those in `before` count in this period, also if the source was
    /// asked before the reset.
    pub fn carry(&mut self, carried: &Carried, tests_rate: bool) {
        // A count that ends at the start of a day would be no count of that day.
        let as_of = carried.as_of.max(self.minutes.period().start.plus_millis(1)).min(self.now);
        self.minutes.carry(&Carried { as_of, ..*carried });
        self.add_flowed(carried.shown, tests_rate);
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
            self.carry(&Carried { as_of: until, granted, ..Carried::default() }, false);
        }
    }

    /// Adds bytes that have flowed under grants. `tests_rate`: whether the assumed rate is tested now.
    fn add_flowed(&mut self, flowed: ByteCount, tests_rate: bool) {
        self.state.flowed = self.state.flowed.plus(flowed);
        if tests_rate {
            self.add_point();
        }
    }

    /// Gives the counts so far to the check of the rate, with their grant-minutes.
    pub(super) fn add_point(&mut self) {
        let (minutes, live) = self.minutes.measured();
        let counted = self.minutes.counted();
        let may_be_late = self.terms.owner.source.is_counted_by_provider();
        // A provider may count bytes of the last `LATE_MAX` later.
        let settled_at = counted.as_of.minus(if may_be_late { LATE_MAX } else { Duration::ZERO });
        let settled = minutes.minus(self.minutes.live_between(Interval::new(settled_at, counted.as_of)));
        let point = Point { as_of: counted.as_of, granted: self.state.flowed, minutes, settled, live };
        self.rate_check.add(point, ByteCount::saturating(counted.granted));
    }

    /// See [`RateCheck::record`].
    pub fn note_excess(&mut self, seen: Excesses) {
        self.rate_check.record(seen);
    }

    /// The end of the latest count of this period, and all counted bytes; `None` if nothing is counted.
    pub fn counted(&self) -> Option<(Timestamp, ByteCount)> {
        let counted = self.minutes.counted();
        let bytes = ByteCount::saturating(counted.granted.saturating_add(counted.other));
        (counted.as_of > self.minutes.period().start).then_some((counted.as_of, bytes))
    }

    /// What is stored of the counts besides their days.
    pub(super) fn state(&self) -> SourceState {
        SourceState {
            period: self.minutes.period(),
            rate_check: self.rate_check.state(),
            ..self.state.clone()
        }
    }
}

//! The counts of one source: each replaces the estimate of the time that it covers, and tests the assumed rate.
//! Tests: `src/timeline/tests/readings.rs`.
//!
//! What is counted of a day never goes down.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use super::Timeline;
use crate::day::DayCount;
use crate::minute_usage::SourceState;
use crate::reading::{Carried, Reading, ReadingOutcome};
use crate::trial::{CONTRADICTED_FOR, Excesses, Point, TrialHours};
use crate::units::{ByteCount, Timestamp};

/// After this time without a good reading, the provider's count is stale.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(600);
/// A reading is good if its `as_of` is at most this long ago. An older one shows that the wall clock is behind the
/// books. At least the longest `ANALYTICS_LAG_SECONDS`.
const GOOD_FOR: Duration = Duration::from_secs(3_600 + STALE_AFTER.as_secs());

impl Timeline {
    /// Takes a count of a day. An absurd one of a provider must be confirmed first. `tests_rate`: it tests the assumed rate. It does not
    /// while it is unknown how much time has passed; then the next test includes its bytes. `elsewhere`: another source's promise whose bytes
    /// this source counts.
    pub(crate) fn take_reading(
        &mut self,
        reading: &Reading,
        tests_rate: bool,
        limit: ByteCount,
        elsewhere: u128,
    ) -> ReadingOutcome {
        let before = self.minutes.days.get(reading.day);
        let taken = reading.after(&before, self.now, self.minutes.sampling());
        let outcome = match taken.and_then(|taken| self.judge(taken, &before, limit, elsewhere)) {
            Ok(taken) => self.count(&taken, reading.other.minus(taken.other), &before, tests_rate),
            Err(ReadingOutcome::Doubted) => return ReadingOutcome::Doubted,
            Err(why) => why,
        };
        match outcome {
            ReadingOutcome::Fell => self.state.fallen.insert(reading.day),
            ReadingOutcome::Taken => self.state.fallen.remove(&reading.day),
            _ => false,
        };
        if outcome != ReadingOutcome::Fell && self.now.since(reading.as_of) <= GOOD_FOR {
            self.read_at = self.now;
        }
        outcome
    }

    /// Refuses a count that is absurd and unconfirmed, or that [`crate::proof`] does not believe.
    fn judge(
        &mut self,
        reading: Reading,
        before: &DayCount,
        limit: ByteCount,
        elsewhere: u128,
    ) -> Result<Reading, ReadingOutcome> {
        let promised = self.promised_before(&reading);
        if self.terms.source.is_counted_by_provider() {
            // What sampling had missed may arrive later.
            let missed = ByteCount::saturating(before.total().share_up(self.minutes.sampling()));
            let growth = reading.total().minus(before.total()).minus(missed).get();
            let most = promised.saturating_add(elsewhere);
            if !self.state.doubt.accepts(&reading, growth, most, limit, self.terms.sampling) {
                return Err(ReadingOutcome::Doubted);
            }
        }
        if self.terms.is_probed {
            let shows_bytes = reading.growth_since(before) > ByteCount::ZERO;
            let was_live = before.was_live || promised > 0;
            // Bytes of a later day are counted, so those of this one are too.
            let is_shown = shows_bytes || self.minutes.days.has_bytes_after(reading.day);
            if !self.state.proof.believes(reading.as_of, before.as_of, is_shown, was_live, self.now) {
                return Err(ReadingOutcome::Unproven);
            }
        }
        Ok(reading)
    }

    /// What was promised between the day's latest count and this reading.
    pub(crate) fn promised_before(&self, reading: &Reading) -> u128 {
        let until = reading.as_of.min(self.now).min(reading.day.end());
        self.minutes.promised_between(self.minutes.days.get(reading.day).as_of, until)
    }

    /// `as_granted`: other bytes of the provider that the reading has under grants.
    fn count(
        &mut self,
        reading: &Reading,
        as_granted: ByteCount,
        before: &DayCount,
        tests_rate: bool,
    ) -> ReadingOutcome {
        let counted_until = self.minutes.counted().as_of;
        self.minutes.measure(reading, as_granted);
        if self.minutes.period().contains(reading.day.start()) {
            // A day that is counted for the first time after later ones shows nothing that has flowed since.
            let is_compared = before.as_of > reading.day.start() || reading.as_of > counted_until;
            let flowed = if is_compared { reading.growth_since(before) } else { ByteCount::ZERO };
            // Days are counted in turn. The open one comes last, and with it the counts are as of one time.
            self.test(flowed, tests_rate && reading.as_of < reading.day.end());
        }
        ReadingOutcome::Taken
    }

    /// Takes what a source that is watched here has carried. It counts in this period, also if the source was asked before the reset.
    pub fn carry(&mut self, carried: &Carried, tests_rate: bool) {
        // A count that ends at the start of a day would be none.
        let as_of = carried.as_of.max(self.minutes.period().start.plus_millis(1)).min(self.now);
        self.minutes.carry(&Carried { as_of, ..*carried });
        self.test(carried.shown, tests_rate);
        if self.now.since(carried.as_of) <= GOOD_FOR {
            self.read_at = self.now;
        }
    }

    /// Counts what is promised from the latest count to `until`, because the count of that time is lost.
    pub fn count_lost(&mut self, until: Timestamp) {
        let granted = ByteCount::saturating(self.minutes.promised_between(self.minutes.days.latest(), until));
        if granted > ByteCount::ZERO {
            self.carry(&Carried { as_of: until, granted, ..Carried::default() }, false);
        }
    }

    fn test(&mut self, flowed: ByteCount, tests_rate: bool) {
        self.state.flowed = self.state.flowed.plus(flowed);
        if tests_rate {
            self.add_point();
            self.minutes.set_liability(self.trial.liability());
        }
    }

    /// Gives the counts so far to the trial, with their grant-minutes.
    pub(super) fn add_point(&mut self) {
        let ((minutes, live), counted) = (self.minutes.measured(), self.minutes.counted());
        let point = Point { as_of: counted.as_of, granted: self.state.flowed, minutes, live };
        self.trial.add(point, ByteCount::saturating(counted.granted));
    }

    /// See [`Trial::record`].
    pub(crate) fn note_excess(&mut self, seen: Excesses) {
        self.trial.record(seen);
    }

    /// Ends a contradiction after an hour without counts, at a source that is not read any more: no count would end it.
    pub(crate) fn end_unread_trial(&mut self) {
        let is_over = !self.terms.is_read && self.now.since(self.began_at) >= CONTRADICTED_FOR;
        if is_over && !self.trial.verdict().holds {
            self.trial.forget_verdict();
            self.minutes.set_liability(self.trial.liability());
        }
    }

    /// Whether a day of this period was counted lower than before, by more than the margin. The higher count stays.
    pub(super) fn has_fallen(&self) -> bool {
        self.state.fallen.iter().any(|day| self.minutes.period().contains(day.start()))
    }

    /// Restores the hourly points of the trial, and assumes the rate that it has shown.
    pub(super) fn restore_trial(&mut self, stored: Option<&TrialHours>) {
        self.minutes.set_liability(self.trial.liability());
        if let Some(hours) = stored
            && self.counted().is_some()
        {
            self.trial.restore_hours(hours, self.minutes.period());
        }
        self.stored_hours = self.trial.hour_count();
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
            assumption: self.trial.verdict(),
            excess: self.trial.stored_excess(),
            ..self.state.clone()
        }
    }
}

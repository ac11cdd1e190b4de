//! The counts of one source: each replaces the estimate of the time that it covers, and tests the assumed rate.
//!
//! What is counted of a day never goes down, unless an operator drops it.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::Timeline;
use crate::day::{Day, DayCount};
use crate::minute::Minute;
use crate::minute_usage::SourceRows;
use crate::reading::{Carried, Reading, ReadingOutcome};
use crate::trial::{Assumption, Point, Trial, TrialHours, TrialState};
use crate::units::{BitRate, ByteCount, Timestamp};

/// The observed rate is the average of about this span: the trial compares counts of the last hour.
const OBSERVED_SPAN_MILLIS: i64 = 3_600_000;

impl Timeline {
    /// Takes a provider's count of a day. `is_test`: it tests the assumed rate. It does not while it is unknown how much time has
    /// passed; then the next test includes its bytes.
    pub fn take_reading(&mut self, reading: &Reading, is_test: bool) -> ReadingOutcome {
        let before = self.minutes.days().get(reading.day);
        let reading = match reading.after(&before, self.now, self.sampling()) {
            Ok(reading) => reading,
            Err(why) => return why,
        };
        let counted_until = self.minutes.counted().as_of;
        self.minutes.measure(&reading);
        if self.period().contains(reading.day.start()) {
            // A day that is counted for the first time after later ones shows nothing that has flowed since.
            let is_compared = before.as_of > reading.day.start() || reading.as_of > counted_until;
            let flowed = if is_compared { reading.growth_since(&before) } else { ByteCount::ZERO };
            // Days are counted in turn. The open one comes last, and with it the counts are as of one time.
            self.test(flowed, is_test && reading.as_of < reading.day.end());
        }
        ReadingOutcome::Taken
    }

    /// Takes what a source that is watched here has carried.
    pub fn carry(&mut self, carried: &Carried, is_test: bool) {
        let as_of = carried.as_of.min(self.now).max(self.period().start);
        let before = self.minutes.counted().granted;
        self.minutes.carry(&Carried { as_of, ..*carried });
        let grown = self.minutes.counted().granted.saturating_sub(before);
        self.test(ByteCount::saturating(grown), is_test);
    }

    /// Counts what is promised from the latest count to `until`, because the count of that time is lost.
    pub fn count_lost(&mut self, until: Timestamp) {
        let granted = ByteCount::saturating(self.minutes.promised_since_latest(until));
        if granted > ByteCount::ZERO {
            self.carry(&Carried { as_of: until, granted, ..Carried::default() }, false);
        }
    }

    fn test(&mut self, flowed: ByteCount, is_test: bool) {
        self.flowed = self.flowed.plus(flowed);
        if is_test {
            self.add_point();
            let as_of = self.minutes.counted().as_of;
            self.compared_since = self.compared_since.or(Some(as_of));
            self.minutes.set_liability(self.trial.liability());
        }
    }

    /// Gives the counts so far to the trial, with their grant-minutes.
    fn add_point(&mut self) {
        let ((minutes, live), counted) = (self.minutes.measured(), self.minutes.counted());
        let point = Point { as_of: counted.as_of, granted: self.flowed, minutes, live };
        self.trial.add(point, ByteCount::saturating(counted.granted));
    }

    /// By how much a reading would raise the count of its day, and the most that the live grants could relay in that time. `None` if
    /// it would not be taken.
    #[must_use]
    pub fn growth_by(&self, reading: &Reading) -> Option<(u64, u128)> {
        let before = self.minutes.days().get(reading.day);
        let reading = reading.after(&before, self.now, self.sampling()).ok()?;
        let growth = reading.total().minus(before.total()).get();
        Some((growth, self.minutes.promised_since_count(reading.day, reading.as_of)))
    }

    /// Drops the counts of this period: all minutes count as estimated and promised again. `assumed`: the assumed rate, which
    /// replaces one that the counts showed. `false` without a count.
    pub fn drop_counts(&mut self, assumed: BitRate) -> bool {
        if self.counted().is_none() {
            return false;
        }
        self.flowed = ByteCount::ZERO;
        self.minutes.drop_counts();
        self.trial = Trial::new(assumed, self.sampling(), Assumption::default());
        self.compared_since = None;
        self.minutes.set_liability(assumed);
        true
    }

    /// Whether an operator has dropped the count of a day of this period, and it was not counted since.
    #[must_use]
    pub fn has_dropped(&self) -> bool {
        self.minutes.days().of(self.period()).any(|(day, count)| count.as_of <= day.start())
    }

    /// What the trial of the assumed rate knew, and the counts spread over their minutes.
    pub(super) fn restore_trial(&mut self, assumed: BitRate, stored: &SourceRows) {
        let of_this = stored.state.filter(|state| state.period == self.period());
        if let Some(TrialState { assumption, .. }) = stored.state {
            self.trial = Trial::new(assumed, self.sampling(), assumption);
            self.minutes.set_liability(self.trial.liability());
        }
        let counted = ByteCount::saturating(self.minutes.counted().granted);
        self.flowed = of_this.map_or(counted, |state| state.flowed);
        self.spread_counts(stored.trial.as_ref());
        if self.counted().is_some() {
            if let Some(hours) = &stored.trial {
                self.trial.restore_hours(hours, self.period());
            }
            self.add_point();
            self.compared_since = Some(self.period().start);
        }
    }

    /// Spreads each day's count over its minutes, in proportion to the hourly points.
    fn spread_counts(&mut self, hours: Option<&TrialHours>) {
        let points = hours.map(|hours| hours.points_of(self.period())).unwrap_or_default();
        let days: Vec<_> = self.minutes.days().of(self.period()).map(|(day, count)| (day, *count)).collect();
        let mut before = ByteCount::ZERO;
        for (day, count) in days {
            let of_day: Vec<_> = points.iter().filter(|point| Day::of(point.as_of) == day).collect();
            let next = points.iter().find(|point| point.as_of >= day.end()).map(|point| point.granted);
            let end = next.unwrap_or(self.flowed);
            let whole = u128::from(end.minus(before).get());
            let total = u128::from(count.total().get());
            let share = |until: ByteCount| {
                let part = u128::from(until.minus(before).get()).min(whole);
                total.saturating_mul(part).checked_div(whole).unwrap_or(0)
            };
            let (mut from, mut placed) = (day.start(), 0);
            for (as_of, share) in of_day.iter().map(|point| (point.as_of, share(point.granted))) {
                if whole > 0 {
                    self.minutes.spread(share.saturating_sub(placed), from, as_of);
                    (from, placed) = (as_of, share.max(placed));
                }
            }
            self.minutes.spread(total.saturating_sub(placed), from, count.as_of);
            before = end;
        }
    }

    /// The end of the latest count of this period, and all counted bytes; `None` if nothing is counted.
    #[must_use]
    pub fn counted(&self) -> Option<(Timestamp, ByteCount)> {
        let counted = self.minutes.counted();
        let bytes = ByteCount::saturating(counted.granted.saturating_add(counted.other));
        (counted.as_of > self.period().start).then_some((counted.as_of, bytes))
    }

    /// What is known of a day.
    #[must_use]
    pub fn day(&self, day: Day) -> DayCount {
        self.minutes.days().get(day)
    }

    /// How the assumed rate compares with the counts.
    #[must_use]
    pub fn assumption(&self) -> Assumption {
        self.trial.verdict()
    }

    /// The grant-minutes of the last hour that counts compare. They weigh the observed rate among the sources.
    #[must_use]
    pub fn observed_grant_minutes(&self) -> u128 {
        let Some(((as_of, _), since)) = self.counted().zip(self.compared_since) else { return 0 };
        let until = Minute::of(as_of).start();
        let hour_ago = Timestamp::from_millis(until.as_millis().saturating_sub(OBSERVED_SPAN_MILLIS));
        let from = since.max(hour_ago);
        if from >= until {
            return 0;
        }
        let cells = self.minutes.touched(from, until).filter_map(|minute| self.minutes.get(minute));
        cells.map(|cell| cell.live.into()).fold(0, u128::saturating_add)
    }

    /// The highest rate that a grant is charged for: the assumed rate, or the observed one if the counts contradict it.
    #[must_use]
    pub fn liability(&self) -> BitRate {
        self.minutes.rates().liability
    }

    /// What the counts have shown of the assumed rate, for storing.
    #[must_use]
    pub fn stored_state(&self) -> TrialState {
        TrialState { period: self.period(), flowed: self.flowed, assumption: self.assumption() }
    }

    /// The hourly points of the trial, to be stored.
    #[must_use]
    pub fn stored_trial(&self) -> TrialHours {
        self.trial.hours(self.period())
    }

    /// How many hourly points the trial has.
    #[must_use]
    pub fn trial_hours(&self) -> usize {
        self.trial.hour_count()
    }
}

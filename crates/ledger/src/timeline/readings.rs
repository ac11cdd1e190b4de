//! The readings of one source: each replaces the estimate of the time that it covers, and tests the assumed rate.
//!
//! At most one reading counts, the latest. Within a period its count never goes down, unless an operator drops it.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::Timeline;
use crate::minute::Minute;
use crate::minute_usage::PeriodTotal;
use crate::reading::{Reading, ReadingOutcome, StoredReading};
use crate::trial::{Assumption, Point, Trial, TrialHours};
use crate::units::{BitRate, ByteCount, Timestamp};

/// The observed rate is the average of about this span: the trial compares readings of the last hour.
const OBSERVED_SPAN_MILLIS: i64 = 3_600_000;

impl Timeline {
    /// Takes a reading, and tests the assumed rate against it.
    pub fn take_reading(&mut self, reading: &Reading) -> ReadingOutcome {
        self.take(reading, true)
    }

    /// Takes a reading while it is unknown how much time has passed. The next test includes its bytes.
    pub fn take_untested(&mut self, reading: &Reading) -> ReadingOutcome {
        self.take(reading, false)
    }

    /// Takes a reading. It replaces the estimate of the time that it covers.
    fn take(&mut self, reading: &Reading, is_test: bool) -> ReadingOutcome {
        if reading.period != self.period() {
            return self.take_last_reading(reading);
        }
        let reading = match reading.after(self.reading(), self.now, self.sampling()) {
            Ok(reading) => reading,
            Err(why) => return why,
        };
        self.flowed = self.flowed.plus(reading.growth_since(self.reading()));
        self.minutes.measure(&reading);
        if is_test {
            self.trial.add(self.point_of(&reading), reading.granted);
            self.compared_since = self.compared_since.or(Some(reading.as_of));
            self.minutes.set_liability(self.trial.liability());
        }
        let at_most = ByteCount::saturating(self.minutes.granted_at_most());
        let unseen = ByteCount::saturating(self.minutes.unseen());
        let (sampling, assumption) = (self.sampling(), self.assumption());
        let flowed = Some(self.flowed);
        self.last = Some(StoredReading { reading, at_most, unseen, sampling, flowed, assumption });
        ReadingOutcome::Taken
    }

    /// By how much a reading would raise the count, and the most that the live grants could relay in that time. `None` if it
    /// would not be taken.
    #[must_use]
    pub fn growth_by(&self, reading: &Reading) -> Option<(u64, u128)> {
        let before = self.reading();
        let current = Some(reading).filter(|reading| reading.period == self.period())?;
        let reading = current.after(before, self.now, self.sampling()).ok()?;
        let growth = reading.total().saturating_sub(before.map_or(0, Reading::total));
        Some((growth, self.minutes.promised_since_reading(reading.as_of)))
    }

    /// Drops the reading of this period: all minutes count as estimated and promised again. `assumed`: the assumed rate, which
    /// replaces one that the reading showed. `false` without a reading.
    pub fn drop_reading(&mut self, assumed: BitRate) -> bool {
        if self.reading().is_none_or(Reading::is_of_nothing) {
            return false;
        }
        let reading = Reading::of_nothing(self.period());
        let assumption = Assumption::default();
        self.flowed = ByteCount::ZERO;
        self.minutes.drop_reading();
        self.trial = Trial::new(assumed, self.sampling(), assumption);
        self.compared_since = None;
        self.minutes.set_liability(assumed);
        let unseen = ByteCount::saturating(self.minutes.unseen());
        let (sampling, flowed) = (self.sampling(), Some(self.flowed));
        self.last =
            Some(StoredReading { reading, at_most: ByteCount::ZERO, unseen, sampling, flowed, assumption });
        true
    }

    /// Spreads a stored reading over its minutes, in proportion to the hourly points.
    pub(super) fn spread_reading(&mut self, reading: &Reading, hours: Option<&TrialHours>) {
        let points = hours.map(|hours| hours.points_of(reading.period)).unwrap_or_default();
        let last = (reading.as_of, u128::from(reading.granted.get()));
        let points = points.iter().map(|point| (point.as_of, u128::from(point.granted.get()))).chain([last]);
        let bytes = u128::from(reading.granted.get()).saturating_add(reading.other.get().into());
        let share = |part: u128| match last.1 {
            0 => bytes,
            whole => bytes.saturating_mul(part.min(whole)).checked_div(whole).unwrap_or(0),
        };
        let (mut from, mut placed) = (reading.period.start, 0);
        for (as_of, granted) in points {
            if last.1 > 0 || as_of == reading.as_of {
                self.minutes.spread(share(granted).saturating_sub(placed), from, as_of);
                (from, placed) = (as_of, share(granted).max(placed));
            }
        }
    }

    /// A reading that the minutes have taken, with the grant-minutes up to it.
    pub(super) fn point_of(&self, reading: &Reading) -> Point {
        let (minutes, live) = self.minutes.measured();
        Point { as_of: reading.as_of, granted: self.flowed, minutes, live }
    }

    /// Takes a reading that covers the whole previous period. It becomes that period's total.
    fn take_last_reading(&mut self, reading: &Reading) -> ReadingOutcome {
        let is_whole =
            |ended: &&mut PeriodTotal| ended.period == reading.period && reading.as_of >= ended.period.end;
        let Some(ended) = self.previous.as_mut().filter(is_whole) else { return ReadingOutcome::OtherPeriod };
        *ended = PeriodTotal {
            period: ended.period,
            used: reading.granted.plus(reading.other).get().into(),
            as_of: ended.period.end,
        };
        ReadingOutcome::Taken
    }

    /// Keeps what is promised from the latest reading up to now, because the sessions of that time were not observed.
    pub fn keep_unseen(&mut self) {
        self.minutes.keep_unseen(self.now);
    }

    /// Counts what is promised from the latest reading to `until`, because the count of that time is lost.
    pub fn count_lost(&mut self, until: Timestamp) {
        let lost = ByteCount::saturating(self.minutes.promised_since_reading(until));
        let before = self.reading().copied().unwrap_or_else(|| Reading::of_nothing(self.period()));
        if lost > ByteCount::ZERO {
            self.take_untested(&Reading { as_of: until, granted: before.granted.plus(lost), ..before });
        }
    }

    /// The latest reading of this period, or of one that overlaps it because the billing day has changed.
    #[must_use]
    pub fn overlapping_reading(&self) -> Option<&Reading> {
        self.last.as_ref().map(|last| &last.reading).filter(|reading| reading.period.overlaps(&self.period()))
    }

    /// The latest reading of this period.
    #[must_use]
    pub fn reading(&self) -> Option<&Reading> {
        self.last.as_ref().map(|last| &last.reading).filter(|reading| reading.period == self.period())
    }

    /// How the assumed rate compares with the readings.
    #[must_use]
    pub fn assumption(&self) -> Assumption {
        self.trial.verdict()
    }

    /// The grant-minutes of the last hour that readings compare. They weigh the observed rate among the sources.
    #[must_use]
    pub fn observed_grant_minutes(&self) -> u128 {
        let Some((reading, since)) = self.reading().zip(self.compared_since) else { return 0 };
        let until = Minute::of(reading.as_of).start();
        let hour_ago = Timestamp::from_millis(until.as_millis().saturating_sub(OBSERVED_SPAN_MILLIS));
        let from = since.max(hour_ago);
        if from >= until {
            return 0;
        }
        let cells = self.minutes.touched(from, until).filter_map(|minute| self.minutes.get(minute));
        cells.map(|cell| cell.live.into()).fold(0, u128::saturating_add)
    }

    /// The highest rate that a grant is charged for: the assumed rate, or the observed one if the readings contradict
    /// it.
    #[must_use]
    pub fn liability(&self) -> BitRate {
        self.minutes.rates().liability
    }

    /// The latest reading and its result, for storing.
    #[must_use]
    pub fn stored_reading(&self) -> Option<StoredReading> {
        self.last
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

//! The bytes and live grants of one source, minute by minute, over this period and as far beyond it as a credential can
//! live.
//!
//! Every figure is a sum over minutes. `used` never exceeds `committed`. A byte lies in exactly one minute and so in
//! exactly one period. Every addition can be reversed exactly. A test compares the timeline with a naive model.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::ops::Range;

use crate::minute::Minute;
use crate::minute_usage::{Basis, ClaimedUsage, MinuteUsage, PeriodTotal, SourceRows};
use crate::minutes::Minutes;
use crate::period::{BillingDay, Period};
pub use crate::rates::Rates;
use crate::reading::{Reading, ReadingOutcome, StoredReading};
use crate::trial::{Assumption, Point, Trial, TrialHours};
use crate::units::{BitRate, ByteCount, Timestamp};

/// The observed rate is the average of about this span: the trial compares readings of the last hour.
const OBSERVED_SPAN_MILLIS: i64 = 3_600_000;

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Timeline {
    billing_day: BillingDay,
    minutes: Minutes,
    previous: Option<PeriodTotal>,
    /// The latest reading and its result. It may belong to an earlier period.
    last: Option<StoredReading>,
    trial: Trial,
    /// Bytes under our grants as the trial sees them: those that only moved here from another key are left out.
    flowed: ByteCount,
    sampling: u32,
    /// The first reading of this period that the trial compares with later ones.
    compared_since: Option<Timestamp>,
    /// Usage is charged up to here.
    now: Timestamp,
    /// Connections that are charged by time at `now`.
    running: Running,
}

#[derive(Clone, Copy, Debug, Default)]
struct Running {
    granted: u64,
    ungranted: u64,
}

/// A point of the usage series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Bytes in this stretch, estimated.
    pub used: ByteCount,
    /// Most grants alive in any of its minutes.
    pub live: u32,
}

impl Timeline {
    /// An empty timeline that begins at `now`. `sampling` is the margin of error of the provider's count in percent.
    #[must_use]
    pub fn new(billing_day: BillingDay, rates: Rates, sampling: u32, now: Timestamp) -> Self {
        let minutes = Minutes::new(billing_day.period_at(now), rates, sampling, now);
        let trial = Trial::new(rates.liability, sampling, Assumption::default());
        Self {
            billing_day,
            minutes,
            previous: None,
            last: None,
            trial,
            flowed: ByteCount::ZERO,
            sampling,
            compared_since: None,
            now,
            running: Running::default(),
        }
    }

    /// The timeline as stored, at `now`. No connection runs yet. From here on, changes are recorded.
    #[must_use]
    pub fn restore(
        billing_day: BillingDay,
        rates: Rates,
        sampling: u32,
        now: Timestamp,
        stored: &SourceRows,
    ) -> Self {
        let mut timeline = Self::new(billing_day, rates, sampling, now);
        timeline.minutes = Minutes::restore(billing_day.period_at(now), rates, sampling, now, stored);
        // If no process ran for a whole period, the stored total is older.
        timeline.previous = stored.previous.filter(|ended| ended.period.end == timeline.period().start);
        if let Some(last) = stored.reading {
            timeline.last = Some(last);
            timeline.trial = Trial::new(rates.liability, sampling, last.assumption);
            timeline.minutes.set_liability(timeline.trial.liability());
            if last.reading.period == timeline.period() {
                timeline.minutes.measure_as(&last.reading, last.at_most(sampling));
                timeline.spread_reading(&last.reading, stored.trial.as_ref());
                timeline.minutes.set_unseen(last.unseen.get().into());
                timeline.flowed = last.flowed.unwrap_or(last.reading.granted);
                if let Some(hours) = &stored.trial {
                    timeline.trial.restore_hours(hours, last.reading.period);
                }
                if !last.reading.is_of_nothing() {
                    timeline.trial.add(timeline.point_of(&last.reading), last.reading.granted);
                    timeline.compared_since = Some(last.reading.period.start);
                }
            }
        }
        timeline
    }

    /// Takes a reading, and tests the assumed rate against it.
    pub fn take_reading(&mut self, reading: &Reading) -> ReadingOutcome {
        self.take(reading, true)
    }

    /// Takes a reading while nobody knows how much time has passed. The next test includes its bytes.
    pub fn take_untested(&mut self, reading: &Reading) -> ReadingOutcome {
        self.take(reading, false)
    }

    /// Takes a reading. It replaces the estimate of the time that it covers.
    fn take(&mut self, reading: &Reading, is_test: bool) -> ReadingOutcome {
        if reading.period != self.period() {
            return self.take_last_reading(reading);
        }
        let reading = match reading.after(self.reading(), self.now, self.sampling) {
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
        let (sampling, assumption) = (Some(self.sampling), self.assumption());
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
        let reading = current.after(before, self.now, self.sampling).ok()?;
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
        self.trial = Trial::new(assumed, self.sampling, assumption);
        self.compared_since = None;
        self.minutes.set_liability(assumed);
        let unseen = ByteCount::saturating(self.minutes.unseen());
        let (sampling, flowed) = (Some(self.sampling), Some(self.flowed));
        self.last =
            Some(StoredReading { reading, at_most: ByteCount::ZERO, unseen, sampling, flowed, assumption });
        true
    }

    /// Spreads a stored reading over its minutes, in proportion to the hourly points.
    fn spread_reading(&mut self, reading: &Reading, hours: Option<&TrialHours>) {
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
    fn point_of(&self, reading: &Reading) -> Point {
        let (grant_minutes, live) = self.minutes.live_measured();
        Point { as_of: reading.as_of, granted: self.flowed, grant_minutes, live }
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

    /// Keeps what is promised from the latest reading up to now: nobody watched that stretch.
    pub fn keep_unseen(&mut self) {
        self.minutes.keep_unseen(self.now);
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

    /// The total of the previous period, for storing.
    #[must_use]
    pub fn stored_previous(&self) -> Option<PeriodTotal> {
        self.previous
    }

    /// Minutes whose usage has changed since the last call.
    pub fn take_changes(&mut self) -> BTreeMap<Minute, MinuteUsage> {
        self.minutes.take_changes()
    }

    /// Moves to `to` and charges time to the connections that run. Earlier instants change nothing.
    pub fn advance(&mut self, to: Timestamp) {
        while self.now < to {
            if self.is_past_everything(to) {
                return self.leap(to);
            }
            let current = self.minutes.current();
            let until = current.end().min(to);
            self.run(current, until.millis_since(self.now));
            self.now = until;
            if until == current.end() {
                self.minutes.step();
                if until >= self.period().end {
                    let ended = self.minutes.total();
                    self.begin(Some(ended), self.billing_day.period_at(until), until);
                }
            }
        }
    }

    /// Charges one more connection by time from `now` on.
    pub fn start_clock(&mut self, basis: Basis) {
        let running = self.running.of(basis);
        *running = running.saturating_add(1);
    }

    /// Charges one connection fewer by time from `now` on.
    pub fn stop_clock(&mut self, basis: Basis) {
        let running = self.running.of(basis);
        debug_assert!(*running > 0, "every stop belongs to a start");
        *running = running.saturating_sub(1);
    }

    /// Charges a past stretch of one connection by time.
    pub fn add_time(&mut self, basis: Basis, from: Timestamp, to: Timestamp) {
        if let Some(previous) = &mut self.previous {
            let before = overlap_millis(from, to, previous.uncounted_from(), previous.period.end);
            previous.used = previous.used.saturating_add(self.minutes.rates().bytes_of_time(before));
        }
        self.for_each_minute(basis, from, to, |usage, millis| {
            usage.connection_millis = usage.connection_millis.saturating_add(millis);
        });
    }

    /// Reverses the charge for a stretch of one connection that was charged by time.
    pub fn remove_time(&mut self, basis: Basis, from: Timestamp, to: Timestamp) {
        if let Some(previous) = &mut self.previous {
            let before = overlap_millis(from, to, previous.uncounted_from(), previous.period.end);
            previous.used = previous.used.saturating_sub(self.minutes.rates().bytes_of_time(before));
        }
        self.for_each_minute(basis, from, to, |usage, millis| {
            debug_assert!(usage.connection_millis >= millis, "only an added charge is reversed");
            usage.connection_millis = usage.connection_millis.saturating_sub(millis);
        });
    }

    /// Charges bytes evenly over a past stretch. The parts add up to exactly `bytes`. If `from` and `to` are equal, the
    /// bytes count in the current minute.
    pub fn add_bytes(&mut self, basis: Basis, bytes: ByteCount, from: Timestamp, to: Timestamp) {
        let span = u128::from(to.millis_since(from));
        let share_until = |at: Timestamp| {
            let elapsed = u128::from(at.millis_since(from)).min(span);
            u128::from(bytes.get()).saturating_mul(elapsed).checked_div(span).unwrap_or(0)
        };
        let start = self.period().start;
        let before_period = if from < start { share_until(start) } else { 0 };
        if let Some(previous) = &mut self.previous {
            let before_previous = share_until(previous.uncounted_from());
            previous.used = previous.used.saturating_add(before_period.saturating_sub(before_previous));
        }
        let mut placed = before_period;
        for minute in self.minutes.touched(from, to) {
            let share = share_until(minute.end().min(to));
            self.minutes.claim(basis, minute, share.saturating_sub(placed));
            placed = share.max(placed);
        }
        let rest = u128::from(bytes.get()).saturating_sub(placed);
        self.minutes.claim(basis, self.minutes.current(), rest);
    }

    /// Counts a grant as alive over these minutes.
    pub fn add_grant(&mut self, minutes: Range<Minute>) {
        self.minutes.add_live(minutes);
    }

    /// Reverses [`Self::add_grant`], because nothing was or will be relayed on the grant.
    pub fn remove_grant(&mut self, minutes: Range<Minute>) {
        self.minutes.remove_live(minutes);
    }

    /// Charges a grant as unreported at its `expiry`, unless [`Self::mark_reported`] comes first.
    pub fn expect_report(&mut self, expiry: Timestamp) {
        self.minutes.change_unreported(Minute::of(expiry), 1);
    }

    /// Notes that the client of a grant that expires at `expiry` has reported a connection. `false` if the grant has
    /// already been charged.
    pub fn mark_reported(&mut self, expiry: Timestamp) -> bool {
        let minute = Minute::of(expiry);
        let in_time = minute >= self.minutes.current();
        if in_time {
            self.minutes.change_unreported(minute, -1);
        }
        in_time
    }

    /// The current period.
    #[must_use]
    pub fn period(&self) -> Period {
        self.minutes.period()
    }

    /// The best figure for this period so far.
    #[must_use]
    pub fn used(&self) -> ByteCount {
        self.minutes.used()
    }

    /// How much sampling may have missed beyond the worst case. Zero in strict mode, whose worst case includes it.
    #[must_use]
    pub fn margin(&self) -> ByteCount {
        ByteCount::saturating(self.minutes.margin())
    }

    /// The worst case for this whole period at the rate of [`Self::liability`].
    #[must_use]
    pub fn committed(&self) -> ByteCount {
        self.minutes.committed()
    }

    /// The worst case in the next period, from the grants that are alive in it.
    #[must_use]
    pub fn committed_next(&self) -> ByteCount {
        ByteCount::saturating(self.minutes.committed_next())
    }

    /// Grants alive in the current minute.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.minutes.current_cell().live
    }

    /// The previous period and its bytes; `None` if they are not known.
    #[must_use]
    pub fn previous(&self) -> Option<(Period, ByteCount)> {
        self.previous.map(|previous| (previous.period, ByteCount::saturating(previous.used)))
    }

    /// Bytes and live grants of the minutes of this period that `[from, to)` touches. Where a reading covers a minute, nothing
    /// of what was claimed for it is left.
    #[must_use]
    pub fn slice(&self, from: Timestamp, to: Timestamp) -> Slice {
        let mut slice = Slice { used: ByteCount::ZERO, live: 0 };
        for minute in self.minutes.touched(from, to) {
            let cell = self.minutes.get(minute).unwrap_or_default();
            slice.used = slice.used.plus(ByteCount::saturating(self.minutes.best_of(minute, cell)));
            slice.live = slice.live.max(cell.live);
        }
        slice
    }

    /// Whether nothing happens between here and `to`, which lies in another period.
    fn is_past_everything(&self, to: Timestamp) -> bool {
        self.running.is_none() && self.minutes.is_at_the_end() && to >= self.period().end
    }

    /// Skips a stretch in which nothing happens, for example after a sleep of months or when the clock was set.
    fn leap(&mut self, to: Timestamp) {
        // The current minute may hold unreported grants.
        self.minutes.step();
        let ended = self.minutes.total();
        let period = self.billing_day.period_at(to);
        self.begin((period.start == ended.period.end).then_some(ended), period, to);
        self.now = to;
    }

    fn begin(&mut self, ended: Option<PeriodTotal>, period: Period, now: Timestamp) {
        self.previous = ended;
        self.trial.begin_period();
        self.compared_since = None;
        self.flowed = ByteCount::ZERO;
        self.minutes.begin(period, now);
    }

    /// Calls `change` for each minute of this period that `[from, to)` touches, with the milliseconds in it.
    fn for_each_minute(
        &mut self,
        basis: Basis,
        from: Timestamp,
        to: Timestamp,
        change: impl Fn(&mut ClaimedUsage, u64),
    ) {
        for minute in self.minutes.touched(from, to) {
            let millis = minute.overlap_millis(from, to);
            self.minutes.amend(minute, |cell| change(cell.usage(basis), millis));
        }
    }

    /// Charges `millis` of the current minute to every connection that runs.
    fn run(&mut self, current: Minute, millis: u64) {
        for basis in [Basis::Granted, Basis::Ungranted] {
            let millis = millis.saturating_mul(*self.running.of(basis));
            if millis > 0 {
                self.minutes.amend(current, |cell| {
                    let usage = cell.usage(basis);
                    usage.connection_millis = usage.connection_millis.saturating_add(millis);
                });
            }
        }
    }
}

impl Running {
    fn of(&mut self, basis: Basis) -> &mut u64 {
        match basis {
            Basis::Granted => &mut self.granted,
            Basis::Ungranted => &mut self.ungranted,
        }
    }

    fn is_none(self) -> bool {
        self.granted == 0 && self.ungranted == 0
    }
}

fn overlap_millis(from: Timestamp, to: Timestamp, start: Timestamp, end: Timestamp) -> u64 {
    to.min(end).millis_since(from.max(start))
}

#[cfg(test)]
#[path = "timeline_tests/mod.rs"]
mod tests;

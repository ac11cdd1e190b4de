//! The bytes and live grants of one source, minute by minute, over this period and as far beyond it as a credential can
//! live.
//!
//! Every figure is a sum over minutes. `used` never exceeds `committed`. A byte lies in exactly one minute and so in
//! exactly one period. Every addition can be reversed exactly. A test compares the timeline with a naive model.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod readings;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::minute::Minute;
use crate::minute_usage::{Basis, ClaimedUsage, LiveDelta, MinuteUsage, PeriodTotal, SourceRows};
use crate::minutes::Minutes;
use crate::period::{BillingDay, Period};
use crate::promise::GrantMinutes;
pub use crate::rates::Rates;
use crate::reading::StoredReading;
use crate::trial::{Assumption, Trial};
use crate::units::{ByteCount, Timestamp};

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
    /// As configured. That of this period can be higher.
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
    /// Bytes in this span, estimated.
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
        let period = timeline.period();
        let margin = stored.reading.map_or(sampling, |last| last.margin_in(period, sampling));
        timeline.minutes = Minutes::restore(period, rates, margin, now, stored);
        // If no process ran for a whole period, the stored total is older.
        timeline.previous = stored.previous.filter(|ended| ended.period.end == timeline.period().start);
        if let Some(last) = stored.reading {
            timeline.last = Some(last);
            timeline.trial = Trial::new(rates.liability, margin, last.assumption);
            timeline.minutes.set_liability(timeline.trial.liability());
            if last.reading.period == timeline.period() {
                timeline.minutes.measure_as(&last.reading, last.at_most(margin));
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

    /// Charges a past span of one connection by time.
    pub fn add_time(&mut self, basis: Basis, from: Timestamp, to: Timestamp) {
        if let Some(previous) = &mut self.previous {
            let before = overlap_millis(from, to, previous.uncounted_from(), previous.period.end);
            previous.used = previous.used.saturating_add(self.minutes.rates().bytes_of_time(before));
        }
        self.for_each_minute(basis, from, to, |usage, millis| {
            usage.connection_millis = usage.connection_millis.saturating_add(millis);
        });
    }

    /// Reverses the charge for a span of one connection that was charged by time.
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

    /// Charges bytes evenly over a past span. The parts add up to exactly `bytes`. If `from` and `to` are equal, the
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

    /// Changes the number of grants that are alive over these minutes, and what they may relay.
    pub fn change_live(&mut self, minutes: Range<Minute>, by: LiveDelta) {
        self.minutes.change_live(minutes, by);
    }

    /// The most bytes that grants may relay in these minutes.
    #[must_use]
    pub fn promised(&self, minutes: GrantMinutes) -> u128 {
        self.minutes.rates().promised(minutes)
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

    /// The margin of error of the counts of this period, in percent.
    #[must_use]
    pub fn sampling(&self) -> u32 {
        self.minutes.sampling
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

    /// Skips a span in which nothing happens, for example after a sleep of months or when the clock was set.
    fn leap(&mut self, to: Timestamp) {
        // The bytes of the current minute stay in its period.
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
        self.minutes.begin(period, self.sampling, now);
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

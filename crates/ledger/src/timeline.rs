//! The bytes and live grants of one source, minute by minute, over this period and as far beyond it as a credential can
//! live.
//!
//! Every figure is a sum over minutes. `used` never exceeds `committed`. A byte lies in exactly one minute and so in
//! exactly one period. Every addition can be reversed exactly. A test compares the timeline with a naive model.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod counts;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::day::{Day, DayCount};
use crate::dirty::Rows;
use crate::minute::Minute;
use crate::minute_usage::{Basis, ClaimedUsage, LiveDelta, MinuteUsage, SourceRows};
use crate::minutes::Minutes;
use crate::period::{BillingDay, Period};
use crate::promise::GrantMinutes;
pub use crate::rates::Rates;
use crate::trial::{Assumption, Trial};
use crate::units::{ByteCount, Timestamp};

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Timeline {
    billing_day: BillingDay,
    minutes: Minutes,
    trial: Trial,
    /// Bytes under our grants as the trial sees them: those that only moved here from another key are left out.
    flowed: ByteCount,
    sampling: u32,
    /// The first count of this period that the trial compares with later ones.
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
        timeline.restore_trial(rates.liability, stored);
        timeline
    }

    /// Days whose counts have changed since the last call.
    pub fn take_days(&mut self) -> Rows<Day, DayCount> {
        self.minutes.days_mut().take_changes()
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
                    self.begin(self.billing_day.period_at(until), until);
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
        let rates = *self.minutes.rates();
        self.minutes.change_past(from, to, |from, to, estimated| {
            estimated.plus(ByteCount::saturating(rates.bytes_of_time(to.millis_since(from))))
        });
        self.for_each_minute(basis, from, to, |usage, millis| {
            usage.connection_millis = usage.connection_millis.saturating_add(millis);
        });
    }

    /// Reverses the charge for a span of one connection that was charged by time.
    pub fn remove_time(&mut self, basis: Basis, from: Timestamp, to: Timestamp) {
        let rates = *self.minutes.rates();
        self.minutes.change_past(from, to, |from, to, estimated| {
            estimated.minus(ByteCount::saturating(rates.bytes_of_time(to.millis_since(from))))
        });
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
        self.minutes.change_past(from, to, |from, to, estimated| {
            estimated.plus(ByteCount::saturating(share_until(to).saturating_sub(share_until(from))))
        });
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

    /// The margin of error of the counts of this period, in percent. A count keeps the margin that it was taken with.
    #[must_use]
    pub fn sampling(&self) -> u32 {
        let days = self.minutes.days().of(self.period());
        days.map(|(_, count)| count.sampling).fold(self.sampling, u32::max)
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

    /// Bytes of an earlier period; `None` if nothing is known of it.
    #[must_use]
    pub fn used_in(&self, earlier: Period) -> Option<ByteCount> {
        self.minutes.days().used(earlier)
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
        self.begin(self.billing_day.period_at(to), to);
        self.now = to;
    }

    fn begin(&mut self, period: Period, now: Timestamp) {
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

#[cfg(test)]
#[path = "timeline_tests/mod.rs"]
mod tests;

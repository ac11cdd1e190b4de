//! One source's bytes and promises, minute by minute, over this period and as far beyond it as a credential can live.
//! Every figure is a sum over minutes: `used` never exceeds `committed`, a byte lies in exactly one minute and so in
//! exactly one period, and what was added can be taken back exactly. The ledger relies on it for every admission; a
//! test holds it against a model that adds everything up from scratch.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use crate::minute_usage::{Basis, ClaimedUsage, MinuteUsage, PeriodTotal, StoredSource};
use crate::minutes::Cells;
use crate::period::{BillingDay, Period};
pub use crate::rates::Rates;
use crate::reading::{Assumption, Point, Reading, ReadingOutcome, StoredReading, Trial};
use crate::units::{BitRate, ByteCount, Timestamp};

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Timeline {
    billing_day: BillingDay,
    cells: Cells,
    previous: Option<PeriodTotal>,
    /// The provider's latest own count, and what it taught. It may be of a period that is over.
    last: Option<StoredReading>,
    trial: Trial,
    sampling: u32,
    /// Time is settled up to here.
    now: Timestamp,
    /// Connections that are charged by time at `now`, with and without a grant.
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
    /// Bytes in this stretch, by the estimate.
    pub used: ByteCount,
    /// Most grants alive in any of its minutes.
    pub live: u32,
}

impl Timeline {
    /// An empty timeline that begins at `now`. `sampling` is how far the provider's count may lie off the truth, in
    /// percent.
    #[must_use]
    pub fn new(billing_day: BillingDay, rates: Rates, sampling: u32, now: Timestamp) -> Self {
        let cells = Cells::new(billing_day.period_at(now), rates, sampling, now);
        let trial = Trial::new(rates.liability, sampling, Assumption::default());
        Self {
            billing_day,
            cells,
            previous: None,
            last: None,
            trial,
            sampling,
            now,
            running: Running::default(),
        }
    }

    /// As it was stored, at `now`. No connection runs yet.
    #[must_use]
    pub fn restore(
        billing_day: BillingDay,
        rates: Rates,
        sampling: u32,
        now: Timestamp,
        stored: &StoredSource,
    ) -> Self {
        let mut timeline = Self::new(billing_day, rates, sampling, now);
        timeline.cells = Cells::restore(billing_day.period_at(now), rates, sampling, now, stored);
        // One that is older stays stored where the period before this one was slept through.
        timeline.previous = stored.previous.filter(|ended| ended.period.end == timeline.period().start);
        if let Some(last) = stored.reading {
            timeline.last = Some(last);
            timeline.trial = Trial::new(rates.liability, sampling, last.assumption);
            timeline.cells.set_liability(timeline.trial.liability());
            if last.reading.period == timeline.period() {
                let at_most = last.at_most.max(last.reading.granted);
                timeline.cells.measure_as(&last.reading, at_most.get().into());
                timeline.trial.hear(timeline.point_of(&last.reading));
            }
        }
        timeline
    }

    /// What the provider itself has counted. It replaces the estimate of the time that it covers.
    pub fn take_reading(&mut self, reading: &Reading) -> ReadingOutcome {
        if reading.period != self.period() {
            return self.take_last_reading(reading);
        }
        let reading = match reading.after(self.reading(), self.now, self.sampling) {
            Ok(reading) => reading,
            Err(why) => return why,
        };
        self.cells.measure(&reading);
        self.trial.hear(self.point_of(&reading));
        self.cells.set_liability(self.trial.liability());
        let at_most = ByteCount::saturating(self.cells.granted_at_most());
        self.last = Some(StoredReading { reading, at_most, assumption: self.assumption() });
        ReadingOutcome::Taken
    }

    /// A reading that the cells have measured, beside what they promised.
    fn point_of(&self, reading: &Reading) -> Point {
        let (grant_minutes, live) = self.cells.live_measured();
        Point { as_of: reading.as_of, granted: reading.granted, grant_minutes, live }
    }

    /// The provider's count for all of the period before this one is what that period came to.
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

    /// The provider's own count for this period.
    #[must_use]
    pub fn reading(&self) -> Option<&Reading> {
        self.last.as_ref().map(|last| &last.reading).filter(|reading| reading.period == self.period())
    }

    /// How the assumed rate stands against the data.
    #[must_use]
    pub fn assumption(&self) -> Assumption {
        self.trial.verdict()
    }

    /// The most that a grant is taken to relay: as assumed, or as observed where that is more.
    #[must_use]
    pub fn liability(&self) -> BitRate {
        self.cells.rates().liability
    }

    /// The latest reading and what it taught, to be stored.
    #[must_use]
    pub fn stored_reading(&self) -> Option<StoredReading> {
        self.last
    }

    /// Minutes whose flows have changed since the last call, and what the period before came to.
    pub fn take_unstored(&mut self) -> (Vec<(i64, MinuteUsage)>, Option<PeriodTotal>) {
        (self.cells.take_unstored(), self.previous)
    }

    /// Moves to `to`, charging time to the connections that run. Earlier instants change nothing.
    pub fn advance(&mut self, to: Timestamp) {
        while self.now < to {
            if self.is_past_everything(to) {
                return self.leap(to);
            }
            let current = self.cells.current_index();
            let minute_end = self.cells.end_of(current);
            let until = minute_end.min(to);
            self.run(current, until.millis_since(self.now));
            self.now = until;
            if until == minute_end {
                self.cells.step();
                if until >= self.period().end {
                    let ended = self.cells.finished();
                    self.begin(Some(ended), self.billing_day.period_at(until), until);
                }
            }
        }
    }

    /// One more connection is charged by time from `now` on.
    pub fn start_clock(&mut self, basis: Basis) {
        let running = self.running.of(basis);
        *running = running.saturating_add(1);
    }

    /// One connection less is charged by time from `now` on.
    pub fn stop_clock(&mut self, basis: Basis) {
        let running = self.running.of(basis);
        debug_assert!(*running > 0, "every stop belongs to a start");
        *running = running.saturating_sub(1);
    }

    /// Charges a past stretch of one connection by time.
    pub fn add_time(&mut self, basis: Basis, from: Timestamp, to: Timestamp) {
        if let Some(previous) = &mut self.previous {
            let before = overlap_millis(from, to, previous.unread_from(), previous.period.end);
            previous.used = previous.used.saturating_add(self.cells.rates().bytes_of_time(before));
        }
        self.for_each_minute(basis, from, to, |flow, millis| {
            flow.connection_millis = flow.connection_millis.saturating_add(millis);
        });
    }

    /// Takes back a stretch of one connection that was charged by time.
    pub fn remove_time(&mut self, basis: Basis, from: Timestamp, to: Timestamp) {
        if let Some(previous) = &mut self.previous {
            let before = overlap_millis(from, to, previous.unread_from(), previous.period.end);
            previous.used = previous.used.saturating_sub(self.cells.rates().bytes_of_time(before));
        }
        self.for_each_minute(basis, from, to, |flow, millis| {
            debug_assert!(flow.connection_millis >= millis, "only what was added is taken back");
            flow.connection_millis = flow.connection_millis.saturating_sub(millis);
        });
    }

    /// Charges bytes evenly over a past stretch, to the byte: the parts sum to the whole. A stretch without length is
    /// its end's minute.
    pub fn add_bytes(&mut self, basis: Basis, bytes: ByteCount, from: Timestamp, to: Timestamp) {
        let span = u128::from(to.millis_since(from));
        let share_until = |at: Timestamp| {
            let elapsed = u128::from(at.millis_since(from)).min(span);
            u128::from(bytes.get()).saturating_mul(elapsed).checked_div(span).unwrap_or(0)
        };
        let start = self.period().start;
        let before_period = if from < start { share_until(start) } else { 0 };
        if let Some(previous) = &mut self.previous {
            let before_previous = share_until(previous.unread_from());
            previous.used = previous.used.saturating_add(before_period.saturating_sub(before_previous));
        }
        let mut placed = before_period;
        for index in self.cells.indices(from.max(start), to) {
            let share = share_until(self.cells.end_of(index).min(to));
            self.cells.claim(basis, index, share.saturating_sub(placed));
            placed = share.max(placed);
        }
        let rest = u128::from(bytes.get()).saturating_sub(placed);
        self.cells.claim(basis, self.cells.current_index(), rest);
    }

    /// Counts a grant as alive over `[from, until)`, rounded outward to whole minutes.
    pub fn add_grant(&mut self, from: Timestamp, until: Timestamp) {
        self.cells.reach(self.cells.index_of(until));
        for index in self.cells.indices(from, until) {
            self.cells.amend(index, |cell| cell.live = cell.live.saturating_add(1));
        }
    }

    /// Takes back what [`Self::add_grant`] counted: nothing was or will be relayed on it.
    pub fn remove_grant(&mut self, from: Timestamp, until: Timestamp) {
        for index in self.cells.indices(from, until) {
            self.cells.amend(index, |cell| cell.live = cell.live.saturating_sub(1));
        }
    }

    /// A grant that ends at `expiry` is charged as unreported then, unless [`Self::mark_reported`] comes first.
    pub fn expect_report(&mut self, expiry: Timestamp) {
        let index = self.cells.index_of(expiry).max(self.cells.current_index());
        self.cells.reach(index);
        self.cells.amend(index, |cell| cell.unreported = cell.unreported.saturating_add(1));
    }

    /// The grant that ends at `expiry` has reported a connection.
    /// `false` when it comes too late.
    pub fn mark_reported(&mut self, expiry: Timestamp) -> bool {
        let index = self.cells.index_of(expiry);
        let in_time = index >= self.cells.current_index();
        if in_time {
            self.cells.amend(index, |cell| cell.unreported = cell.unreported.saturating_sub(1));
        }
        in_time
    }

    /// The period that holds the timeline's time.
    #[must_use]
    pub fn period(&self) -> Period {
        self.cells.period()
    }

    /// The best figure for this period so far: Σ est.
    #[must_use]
    pub fn used(&self) -> ByteCount {
        self.cells.used()
    }

    /// The worst case for this whole period, given the liability rate.
    #[must_use]
    pub fn committed(&self) -> ByteCount {
        self.cells.committed()
    }

    /// What is promised already in the next period.
    #[must_use]
    pub fn committed_next(&self) -> ByteCount {
        ByteCount::saturating(self.cells.committed_next())
    }

    /// Grants alive in the current minute.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.cells.current_cell().live
    }

    /// What the period before this one came to, as far as this process saw it.
    #[must_use]
    pub fn previous(&self) -> Option<(Period, ByteCount)> {
        self.previous.map(|previous| (previous.period, ByteCount::saturating(previous.used)))
    }

    /// Bytes and live grants of `[from, to)` within this period, outward to whole minutes.
    #[must_use]
    pub fn slice(&self, from: Timestamp, to: Timestamp) -> Slice {
        let mut slice = Slice { used: ByteCount::ZERO, live: 0 };
        for cell in self.cells.indices(from, to).filter_map(|index| self.cells.get(index)) {
            slice.used = slice.used.plus(ByteCount::saturating(self.cells.estimate_of(cell)));
            slice.live = slice.live.max(cell.live);
        }
        slice
    }

    /// Whether nothing at all happens between here and `to`, which lies in another period.
    fn is_past_everything(&self, to: Timestamp) -> bool {
        self.running.is_none() && self.cells.is_at_the_end() && to >= self.period().end
    }

    /// Jumps over a stretch in which nothing happens (a machine that slept for months, a clock that was set).
    fn leap(&mut self, to: Timestamp) {
        // The last minute may hold unreported grants, and its grants are settled with it.
        self.cells.step();
        let ended = self.cells.finished();
        let period = self.billing_day.period_at(to);
        self.begin((period.start == ended.period.end).then_some(ended), period, to);
        self.now = to;
    }

    fn begin(&mut self, ended: Option<PeriodTotal>, period: Period, now: Timestamp) {
        self.previous = ended;
        self.trial.begin_period();
        self.cells.begin(period, now);
    }

    /// Calls `change` for each minute of this period that `[from, to)` touches, with the milliseconds in it.
    fn for_each_minute(
        &mut self,
        basis: Basis,
        from: Timestamp,
        to: Timestamp,
        change: impl Fn(&mut ClaimedUsage, u64),
    ) {
        for index in self.cells.indices(from, to) {
            let millis = overlap_millis(from, to, self.cells.start_of(index), self.cells.end_of(index));
            self.cells.amend(index, |cell| change(cell.flow(basis), millis));
        }
    }

    /// Charges `millis` of the current minute to every connection that runs.
    fn run(&mut self, current: usize, millis: u64) {
        for basis in [Basis::Granted, Basis::Ungranted] {
            let millis = millis.saturating_mul(*self.running.of(basis));
            if millis > 0 {
                self.cells.amend(current, |cell| {
                    let flow = cell.flow(basis);
                    flow.connection_millis = flow.connection_millis.saturating_add(millis);
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

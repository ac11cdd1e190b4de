//! One source's bytes and promises, minute by minute, over this period and as far beyond it as a credential can live.
//! Every figure is a sum over minutes: `used` never exceeds `committed`, a byte lies in exactly one minute and so in
//! exactly one period, and what was added can be taken back exactly. Running sums answer in constant time; a test
//! holds them against the plain sums. The ledger relies on it for every admission.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::VecDeque;

use super::period::{BillingDay, Period};
use crate::units::{BitRate, ByteCount, Timestamp};

const MINUTE_MILLIS: u64 = 60_000;

/// The rates that turn time into bytes.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// What a connection that reports no bytes is taken to receive.
    pub estimated: BitRate,
    /// The most that one live grant is assumed to relay.
    pub liability: BitRate,
    /// Charged once for a grant that expires without having reported a connection.
    pub silent_grant: ByteCount,
}

/// One minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    /// Grants whose credential or its tail covers some part of this minute.
    live: u32,
    /// Grants whose credential ends in this minute and that have not reported a connection.
    silent: u32,
    /// Milliseconds of connections that are charged by time.
    connection_millis: u64,
    /// Bytes that connections reported, and charges for silent grants.
    claimed: u64,
}

/// Sums over the current period's cells, kept up to date by every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    connection_millis: u128,
    claimed: u128,
    /// Worst case of the minutes before the current one.
    worst_behind: u128,
    /// Grant-minutes from the current minute to the period's end.
    live_ahead: u128,
}

/// What a finished period came to. Late claims for its last minutes still find their place here.
#[derive(Clone, Copy, Debug)]
struct Finished {
    period: Period,
    connection_millis: u128,
    claimed: u128,
}

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Timeline {
    billing_day: BillingDay,
    rates: Rates,
    period: Period,
    previous: Option<Finished>,
    /// The first cell is the period's first minute.
    cells: VecDeque<Cell>,
    /// Index of the minute that holds `now`.
    current: usize,
    /// Time is settled up to here.
    now: Timestamp,
    /// Connections that are charged by time at `now`.
    running: u64,
    sums: Sums,
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
    /// An empty timeline that begins at `now`.
    #[must_use]
    pub fn new(billing_day: BillingDay, rates: Rates, now: Timestamp) -> Self {
        let period = billing_day.period_at(now);
        let mut timeline = Self {
            billing_day,
            rates,
            period,
            previous: None,
            cells: VecDeque::new(),
            current: minutes_between(period.start, now),
            now,
            running: 0,
            sums: Sums::default(),
        };
        timeline.reach(timeline.current);
        timeline
    }

    /// Moves to `to`, charging time to the connections that run. Earlier instants change nothing.
    pub fn advance(&mut self, to: Timestamp) {
        while self.now < to {
            if self.is_past_everything(to) {
                return self.leap(to);
            }
            let minute_end = self.minute_start(self.current).plus_millis(MINUTE_MILLIS);
            let until = minute_end.min(to);
            let millis = until.millis_since(self.now).saturating_mul(self.running);
            if millis > 0 {
                self.amend(self.current, |cell| {
                    cell.connection_millis = cell.connection_millis.saturating_add(millis);
                });
            }
            self.now = until;
            if until == minute_end {
                self.step();
            }
        }
    }

    /// One more connection is charged by time from `now` on.
    pub fn start_clock(&mut self) {
        self.running = self.running.saturating_add(1);
    }

    /// One connection less is charged by time from `now` on.
    pub fn stop_clock(&mut self) {
        debug_assert!(self.running > 0, "every stop belongs to a start");
        self.running = self.running.saturating_sub(1);
    }

    /// Charges a past stretch of one connection by time.
    pub fn add_time(&mut self, from: Timestamp, to: Timestamp) {
        if let Some(previous) = &mut self.previous {
            let before = overlap_millis(from, to, previous.period.start, previous.period.end);
            previous.connection_millis = previous.connection_millis.saturating_add(before.into());
        }
        self.for_each_minute(from, to, |cell, millis| {
            cell.connection_millis = cell.connection_millis.saturating_add(millis);
        });
    }

    /// Takes back a stretch of one connection that was charged by time.
    pub fn remove_time(&mut self, from: Timestamp, to: Timestamp) {
        if let Some(previous) = &mut self.previous {
            let before = overlap_millis(from, to, previous.period.start, previous.period.end);
            previous.connection_millis = previous.connection_millis.saturating_sub(before.into());
        }
        self.for_each_minute(from, to, |cell, millis| {
            debug_assert!(cell.connection_millis >= millis, "only what was added is taken back");
            cell.connection_millis = cell.connection_millis.saturating_sub(millis);
        });
    }

    /// Charges bytes evenly over a past stretch, to the byte: the parts sum to the whole. A stretch without length is
    /// its end's minute.
    pub fn add_bytes(&mut self, bytes: ByteCount, from: Timestamp, to: Timestamp) {
        let span = u128::from(to.millis_since(from));
        let share_until = |at: Timestamp| {
            let elapsed = u128::from(at.millis_since(from)).min(span);
            u128::from(bytes.get()).saturating_mul(elapsed).checked_div(span).unwrap_or(0)
        };
        let before_period = if from < self.period.start { share_until(self.period.start) } else { 0 };
        if let Some(previous) = &mut self.previous {
            previous.claimed = previous.claimed.saturating_add(before_period);
        }
        let mut placed = before_period;
        for index in self.indices(from.max(self.period.start), to) {
            let share = share_until(self.minute_start(index).plus_millis(MINUTE_MILLIS).min(to));
            self.claim(index, share.saturating_sub(placed));
            placed = share.max(placed);
        }
        self.claim(self.current, u128::from(bytes.get()).saturating_sub(placed));
    }

    /// Counts a grant as alive over `[from, until)`, rounded outward to whole minutes.
    pub fn add_grant(&mut self, from: Timestamp, until: Timestamp) {
        self.reach(minutes_between(self.period.start, until));
        for index in self.indices(from, until) {
            self.amend(index, |cell| cell.live = cell.live.saturating_add(1));
        }
    }

    /// Takes back what [`Self::add_grant`] counted: nothing was or will be relayed on it.
    pub fn remove_grant(&mut self, from: Timestamp, until: Timestamp) {
        for index in self.indices(from, until) {
            self.amend(index, |cell| cell.live = cell.live.saturating_sub(1));
        }
    }

    /// A grant that ends at `expiry` is charged as silent then, unless [`Self::heard_from_grant`] comes first.
    pub fn expect_report(&mut self, expiry: Timestamp) {
        let index = minutes_between(self.period.start, expiry);
        self.reach(index);
        self.amend(index, |cell| cell.silent = cell.silent.saturating_add(1));
    }

    /// The grant that ends at `expiry` has reported a connection.
    pub fn heard_from_grant(&mut self, expiry: Timestamp) {
        if expiry >= self.minute_start(self.current) {
            let index = minutes_between(self.period.start, expiry);
            self.amend(index, |cell| cell.silent = cell.silent.saturating_sub(1));
        }
    }

    /// The period that holds the timeline's time.
    #[must_use]
    pub fn period(&self) -> Period {
        self.period
    }

    /// The best figure for this period so far: Σ est.
    #[must_use]
    pub fn used(&self) -> ByteCount {
        ByteCount::saturating(self.estimate(self.sums.connection_millis, self.sums.claimed))
    }

    /// The worst case for this whole period, given the liability rate.
    #[must_use]
    pub fn committed(&self) -> ByteCount {
        let current = self.cells.get(self.current).copied().unwrap_or_default();
        let later = self.sums.live_ahead.saturating_sub(current.live.into());
        ByteCount::saturating(
            self.sums
                .worst_behind
                .saturating_add(self.worst(current))
                .saturating_add(self.liability_per_minute().saturating_mul(later)),
        )
    }

    /// Grants alive in the current minute.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.cells.get(self.current).map_or(0, |cell| cell.live)
    }

    /// What the period before this one came to, as far as this process saw it.
    #[must_use]
    pub fn previous(&self) -> Option<(Period, ByteCount)> {
        let previous = self.previous?;
        let used = self.estimate(previous.connection_millis, previous.claimed);
        Some((previous.period, ByteCount::saturating(used)))
    }

    /// Bytes and live grants of `[from, to)` within this period, outward to whole minutes.
    #[must_use]
    pub fn slice(&self, from: Timestamp, to: Timestamp) -> Slice {
        let mut slice = Slice { used: ByteCount::ZERO, live: 0 };
        for cell in self.indices(from, to).filter_map(|index| self.cells.get(index)) {
            slice.used = slice.used.plus(ByteCount::saturating(self.estimate_of(*cell)));
            slice.live = slice.live.max(cell.live);
        }
        slice
    }

    /// Ends the current minute.
    fn step(&mut self) {
        let silent = self.cells.get(self.current).map_or(0, |cell| cell.silent);
        let charge = u128::from(self.rates.silent_grant.get()).saturating_mul(silent.into());
        self.claim(self.current, charge);
        let ended = self.cells.get(self.current).copied().unwrap_or_default();
        self.sums.worst_behind = self.sums.worst_behind.saturating_add(self.worst(ended));
        self.sums.live_ahead = self.sums.live_ahead.saturating_sub(ended.live.into());
        self.current = self.current.saturating_add(1);
        self.reach(self.current);
        if self.now >= self.period.end {
            self.roll();
        }
    }

    /// Begins the period that holds `now`: its cells stay, with the grants that cross the reset.
    fn roll(&mut self) {
        self.previous = Some(Finished {
            period: self.period,
            connection_millis: self.sums.connection_millis,
            claimed: self.sums.claimed,
        });
        self.cells.drain(..self.current.min(self.cells.len()));
        self.period = self.billing_day.period_at(self.now);
        self.current = minutes_between(self.period.start, self.now);
        self.reach(self.current);
        let in_period = minutes_between(self.period.start, self.period.end);
        let live_ahead = self.cells.iter().take(in_period).map(|cell| u128::from(cell.live)).sum();
        self.sums = Sums { live_ahead, ..Sums::default() };
    }

    /// Whether nothing at all happens between the last cell and `to`, in another period.
    fn is_past_everything(&self, to: Timestamp) -> bool {
        self.running == 0
            && self.current.saturating_add(1) >= self.cells.len()
            && to >= self.period.end
            && self.now >= self.minute_start(self.current)
    }

    /// Jumps over a stretch in which nothing happens (a machine that slept for months, a clock that was set).
    fn leap(&mut self, to: Timestamp) {
        let ended = self.period;
        let totals = (self.sums.connection_millis, self.sums.claimed);
        self.period = self.billing_day.period_at(to);
        let is_next = self.period.start == ended.end;
        self.previous =
            is_next.then_some(Finished { period: ended, connection_millis: totals.0, claimed: totals.1 });
        self.cells.clear();
        self.sums = Sums::default();
        self.now = to;
        self.current = minutes_between(self.period.start, to);
        self.reach(self.current);
    }

    /// The only place where a cell changes: keeps the sums true.
    fn amend(&mut self, index: usize, change: impl FnOnce(&mut Cell)) {
        let in_period = index < minutes_between(self.period.start, self.period.end);
        let Some(cell) = self.cells.get_mut(index) else { return };
        let before = *cell;
        change(cell);
        let after = *cell;
        if !in_period {
            return;
        }
        let sums = &mut self.sums;
        sums.connection_millis =
            replace(sums.connection_millis, before.connection_millis.into(), after.connection_millis.into());
        sums.claimed = replace(sums.claimed, before.claimed.into(), after.claimed.into());
        if index >= self.current {
            sums.live_ahead = replace(sums.live_ahead, before.live.into(), after.live.into());
        } else {
            self.sums.worst_behind = replace(self.sums.worst_behind, self.worst(before), self.worst(after));
        }
    }

    fn claim(&mut self, index: usize, bytes: u128) {
        if bytes > 0 {
            let bytes = ByteCount::saturating(bytes).get();
            self.amend(index, |cell| cell.claimed = cell.claimed.saturating_add(bytes));
        }
    }

    /// Calls `change` for each minute of this period that `[from, to)` touches, with the milliseconds in it.
    fn for_each_minute(&mut self, from: Timestamp, to: Timestamp, change: impl Fn(&mut Cell, u64)) {
        for index in self.indices(from, to) {
            let start = self.minute_start(index);
            let millis = overlap_millis(from, to, start, start.plus_millis(MINUTE_MILLIS));
            self.amend(index, |cell| change(cell, millis));
        }
    }

    /// Indices of the cells that `[from, to)` touches, from this period's start on.
    fn indices(&self, from: Timestamp, to: Timestamp) -> std::ops::Range<usize> {
        let first = minutes_between(self.period.start, from);
        let end = match to.millis_since(self.period.start).div_ceil(MINUTE_MILLIS) {
            _ if to <= from => first,
            end => usize::try_from(end).unwrap_or(usize::MAX),
        };
        first..end.min(self.cells.len())
    }

    /// Makes sure that a cell of that index exists.
    fn reach(&mut self, index: usize) {
        if index >= self.cells.len() {
            self.cells.resize(index.saturating_add(1), Cell::default());
        }
    }

    fn minute_start(&self, index: usize) -> Timestamp {
        let minutes = u64::try_from(index).unwrap_or(u64::MAX);
        self.period.start.plus_millis(minutes.saturating_mul(MINUTE_MILLIS))
    }

    fn liability_per_minute(&self) -> u128 {
        self.rates.liability.over_millis(MINUTE_MILLIS.into())
    }

    fn worst(&self, cell: Cell) -> u128 {
        self.estimate_of(cell).max(self.liability_per_minute().saturating_mul(cell.live.into()))
    }

    fn estimate_of(&self, cell: Cell) -> u128 {
        self.estimate(cell.connection_millis.into(), cell.claimed.into())
    }

    fn estimate(&self, connection_millis: u128, claimed: u128) -> u128 {
        self.rates.estimated.over_millis(connection_millis).saturating_add(claimed)
    }
}

/// Whole minutes from `start` to `at`, rounded down.
fn minutes_between(start: Timestamp, at: Timestamp) -> usize {
    usize::try_from(at.millis_since(start) / MINUTE_MILLIS).unwrap_or(usize::MAX)
}

fn overlap_millis(from: Timestamp, to: Timestamp, start: Timestamp, end: Timestamp) -> u64 {
    to.min(end).millis_since(from.max(start))
}

fn replace(sum: u128, before: u128, after: u128) -> u128 {
    sum.saturating_add(after).saturating_sub(before)
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;

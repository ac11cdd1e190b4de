//! The minutes of one period, and of the time beyond it that credentials can reach, with running sums over them. A cell
//! changes in one place only, which keeps the sums equal to what adding up all cells would give; so every figure is
//! there in constant time, and `used <= committed` holds because it holds in each cell.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

mod measured;

use crate::minute_usage::{Basis, ClaimedUsage, MinuteUsage, PeriodTotal, StoredSource};
use crate::period::Period;
use crate::rates::{MINUTE_MILLIS, Rates};
use crate::units::{BitRate, ByteCount, Timestamp};
use measured::CountedPart;

/// One minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Grants whose credential or its tail covers some part of this minute.
    pub(crate) live: u32,
    /// Grants whose credential ends in this minute and that have not reported a connection.
    pub(crate) unreported: u32,
    /// What was said of connections with a grant (charges for unreported ones among it), and without.
    flows: MinuteUsage,
}

impl Cell {
    pub(crate) fn flow(&mut self, basis: Basis) -> &mut ClaimedUsage {
        match basis {
            Basis::Granted => &mut self.flows.granted,
            Basis::Ungranted => &mut self.flows.ungranted,
        }
    }

    /// Nothing was said of it, so by the estimate nothing was used in it.
    fn is_unsaid(&self) -> bool {
        self.flows == MinuteUsage::default()
    }
}

/// Sums over the period's cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Best figure of the minutes that no reading covers.
    used: u128,
    /// Grant-minutes that a reading covers.
    live_measured: u128,
    /// Worst case of the minutes before the current one that no reading covers in full.
    worst_behind: u128,
    /// Grant-minutes from the current minute to the period's end.
    live_ahead: u128,
    /// Grant-minutes of the next period.
    live_beyond: u128,
    /// Grants whose credential ends from the current minute to the period's end and that have not reported.
    unreported_ahead: u128,
}

/// See the module's invariant.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    rates: Rates,
    /// How far the provider's count may lie off the truth, in percent.
    sampling: u32,
    period: Period,
    measured: CountedPart,
    /// The first cell is the period's first minute.
    minutes: VecDeque<Cell>,
    /// Index of the minute that holds the present.
    current: usize,
    sums: Sums,
    /// Minutes whose flows have changed since they were last taken to be stored.
    unstored: BTreeSet<i64>,
}

impl Cells {
    pub(crate) fn new(period: Period, rates: Rates, sampling: u32, now: Timestamp) -> Self {
        let current = minutes_between(period.start, now);
        let mut cells = Self {
            rates,
            sampling,
            period,
            measured: CountedPart::default(),
            minutes: VecDeque::new(),
            current,
            sums: Sums::default(),
            unstored: BTreeSet::new(),
        };
        cells.reach(current);
        cells
    }

    pub(crate) fn period(&self) -> Period {
        self.period
    }

    /// The best figure so far.
    pub(crate) fn used(&self) -> ByteCount {
        let CountedPart { granted, other, .. } = self.measured;
        ByteCount::saturating(granted.saturating_add(other).saturating_add(self.sums.used))
    }

    /// The worst case for the whole period.
    pub(crate) fn committed(&self) -> ByteCount {
        let current = self.current_cell();
        let now = self.counted(&self.measured, self.current, current);
        let later = self.sums.live_ahead.saturating_sub(current.live.into());
        let ahead = self.rates.promised(later);
        let until_now = self.sums.worst_behind.saturating_add(now.worst);
        let unmeasured = until_now
            .saturating_add(ahead)
            .saturating_add(self.rates.unreported_charges(self.sums.unreported_ahead));
        ByteCount::saturating(self.settled().saturating_add(unmeasured))
    }

    /// What is promised already in the next period.
    pub(crate) fn committed_next(&self) -> u128 {
        self.rates.promised(self.sums.live_beyond)
    }

    /// Another rate is the most that a grant is taken to relay.
    pub(crate) fn set_liability(&mut self, liability: BitRate) {
        if self.rates.liability != liability {
            self.rates.liability = liability;
            self.recount();
        }
    }

    /// Bytes of one cell, by the estimate.
    pub(crate) fn estimate_of(&self, cell: Cell) -> u128 {
        self.rates.estimate(&cell.flows, cell.live)
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(crate) fn current_cell(&self) -> Cell {
        self.get(self.current).unwrap_or_default()
    }

    pub(crate) fn current_index(&self) -> usize {
        self.current
    }

    pub(crate) fn get(&self, index: usize) -> Option<Cell> {
        self.minutes.get(index).copied()
    }

    /// The only place where a cell changes.
    pub(crate) fn amend(&mut self, index: usize, change: impl FnOnce(&mut Cell)) {
        let in_period = index < minutes_between(self.period.start, self.period.end);
        let Some(cell) = self.minutes.get_mut(index) else { return };
        let before = *cell;
        change(cell);
        let after = *cell;
        if before.flows != after.flows {
            self.unstored.insert(minute_number(self.start_of(index)));
        }
        if !in_period {
            let beyond = &mut self.sums.live_beyond;
            *beyond = replace(*beyond, before.live.into(), after.live.into());
            return;
        }
        if index < self.measured.whole {
            let measured = &mut self.sums.live_measured;
            *measured = replace(*measured, before.live.into(), after.live.into());
        }
        let is_ahead = index >= self.current;
        if is_ahead {
            let Sums { live_ahead, unreported_ahead, .. } = &mut self.sums;
            *live_ahead = replace(*live_ahead, before.live.into(), after.live.into());
            *unreported_ahead = replace(*unreported_ahead, before.unreported.into(), after.unreported.into());
        }
        if is_ahead && before.is_unsaid() && after.is_unsaid() {
            // Nothing was used in it: all but one of the minutes that a mint touches.
            return;
        }
        let measured = self.measured;
        let (was, is) = (self.counted(&measured, index, before), self.counted(&measured, index, after));
        self.sums.used = replace(self.sums.used, was.used, is.used);
        if !is_ahead {
            self.sums.worst_behind = replace(self.sums.worst_behind, was.worst, is.worst);
        }
    }

    /// Adds bytes to a minute.
    pub(crate) fn claim(&mut self, basis: Basis, index: usize, bytes: u128) {
        if bytes > 0 {
            let bytes = ByteCount::saturating(bytes).get();
            self.amend(index, |cell| {
                let flow = cell.flow(basis);
                flow.claimed = flow.claimed.saturating_add(bytes);
            });
        }
    }

    /// Ends the current minute: its unreported grants are charged, and its worst case is settled.
    pub(crate) fn step(&mut self) {
        let unreported = u128::from(self.current_cell().unreported);
        self.sums.unreported_ahead = self.sums.unreported_ahead.saturating_sub(unreported);
        self.claim(
            Basis::Granted,
            self.current,
            unreported.saturating_mul(self.rates.unreported_grant.get().into()),
        );
        let ended = self.current_cell();
        let worst = self.counted(&self.measured, self.current, ended).worst;
        self.sums.worst_behind = self.sums.worst_behind.saturating_add(worst);
        self.sums.live_ahead = self.sums.live_ahead.saturating_sub(ended.live.into());
        self.current = self.current.saturating_add(1);
        self.reach(self.current);
    }

    /// Whether only the current minute is left.
    pub(crate) fn is_at_the_end(&self) -> bool {
        self.current.saturating_add(1) >= self.minutes.len()
    }

    /// What this period came to.
    pub(crate) fn finished(&self) -> PeriodTotal {
        PeriodTotal {
            period: self.period,
            used: self.used().get().into(),
            as_of: self.start_of(self.measured.begun),
        }
    }

    /// Begins another period at `now`. Cells from the current one on stay: grants cross the reset.
    pub(crate) fn begin(&mut self, period: Period, now: Timestamp) {
        self.minutes.drain(..self.current.min(self.minutes.len()));
        self.period = period;
        self.measured = CountedPart::default();
        self.current = minutes_between(period.start, now);
        self.reach(self.current);
        self.unstored.clear();
        self.recount();
    }

    /// As it was stored, at `now`.
    pub(crate) fn restore(
        period: Period,
        rates: Rates,
        sampling: u32,
        now: Timestamp,
        stored: &StoredSource,
    ) -> Self {
        let mut cells = Self::new(period, rates, sampling, now);
        let first = minute_number(period.start);
        let last = stored.marks.keys().chain(stored.flows.keys()).max().copied().unwrap_or(first);
        cells.reach(usize::try_from(last.saturating_sub(first)).unwrap_or(0));
        let mut live: i64 = stored.marks.range(..first).map(|(_, mark)| mark.live).sum();
        for (minute, cell) in (first..).zip(&mut cells.minutes) {
            let mark = stored.marks.get(&minute).copied().unwrap_or_default();
            live = live.saturating_add(mark.live);
            cell.live = u32::try_from(live).unwrap_or(0);
            cell.unreported = u32::try_from(mark.unreported).unwrap_or(0);
            cell.flows = stored.flows.get(&minute).copied().unwrap_or_default();
        }
        cells.recount();
        cells
    }

    /// The minutes whose flows have changed since the last call.
    pub(crate) fn take_unstored(&mut self) -> Vec<(i64, MinuteUsage)> {
        let first = minute_number(self.period.start);
        let minutes = std::mem::take(&mut self.unstored).into_iter();
        let flows = minutes.filter_map(|minute| {
            let index = usize::try_from(minute.checked_sub(first)?).ok()?;
            self.get(index).map(|cell| (minute, cell.flows))
        });
        flows.collect()
    }

    /// Adds everything up from scratch.
    fn recount(&mut self) {
        let in_period = minutes_between(self.period.start, self.period.end);
        let mut sums = Sums::default();
        for (index, cell) in self.minutes.iter().enumerate() {
            let live = u128::from(cell.live);
            if index >= in_period {
                sums.live_beyond = sums.live_beyond.saturating_add(live);
                continue;
            }
            let counted = self.counted(&self.measured, index, *cell);
            sums.used = sums.used.saturating_add(counted.used);
            if index < self.measured.whole {
                sums.live_measured = sums.live_measured.saturating_add(live);
            }
            if index < self.current {
                sums.worst_behind = sums.worst_behind.saturating_add(counted.worst);
            } else {
                sums.live_ahead = sums.live_ahead.saturating_add(live);
                sums.unreported_ahead = sums.unreported_ahead.saturating_add(cell.unreported.into());
            }
        }
        self.sums = sums;
    }

    /// Indices of the cells that `[from, to)` touches, from this period's start on.
    pub(crate) fn indices(&self, from: Timestamp, to: Timestamp) -> Range<usize> {
        let first = self.index_of(from);
        let end = match to.millis_since(self.period.start).div_ceil(MINUTE_MILLIS) {
            _ if to <= from => first,
            end => usize::try_from(end).unwrap_or(usize::MAX),
        };
        first..end.min(self.minutes.len())
    }

    /// The index of the minute that holds `at`; the first one for what lies before the period.
    pub(crate) fn index_of(&self, at: Timestamp) -> usize {
        minutes_between(self.period.start, at)
    }

    /// Makes sure that a cell of that index exists.
    pub(crate) fn reach(&mut self, index: usize) {
        if index >= self.minutes.len() {
            self.minutes.resize(index.saturating_add(1), Cell::default());
        }
    }

    pub(crate) fn start_of(&self, index: usize) -> Timestamp {
        let minutes = u64::try_from(index).unwrap_or(u64::MAX);
        self.period.start.plus_millis(minutes.saturating_mul(MINUTE_MILLIS))
    }

    pub(crate) fn end_of(&self, index: usize) -> Timestamp {
        self.start_of(index).plus_millis(MINUTE_MILLIS)
    }
}

/// Minutes since 1970, rounded down.
pub(crate) fn minute_number(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(60_000)
}

/// Whole minutes from `start` to `at`, rounded down.
fn minutes_between(start: Timestamp, at: Timestamp) -> usize {
    usize::try_from(at.millis_since(start) / MINUTE_MILLIS).unwrap_or(usize::MAX)
}

fn replace(sum: u128, before: u128, after: u128) -> u128 {
    sum.saturating_add(after).saturating_sub(before)
}

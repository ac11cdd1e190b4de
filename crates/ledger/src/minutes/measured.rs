//! What a reading does to the cells: those that it covers count no more, and its bytes stand in their place.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{Cell, Cells, replace};
use crate::rates::MINUTE_MILLIS;
use crate::reading::{Reading, at_most};
use crate::units::Timestamp;

/// What the provider counted, and which cells it covers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CountedPart {
    pub(crate) granted: u128,
    /// The most that `granted` can really be: sampling may have missed some, but no more than was promised since the
    /// reading before, as long as the data fit the promises.
    at_most: u128,
    pub(crate) other: u128,
    as_of: Timestamp,
    /// Cells before this one are covered in full.
    pub(crate) whole: usize,
    /// Cells before this one had begun: what was said of them is not counted. At most one more than `whole`.
    pub(crate) begun: usize,
}

/// What one cell adds to the figures.
#[derive(Clone, Copy)]
pub(crate) struct MinuteFigures {
    pub(crate) used: u128,
    pub(crate) worst: u128,
}

impl Cells {
    /// The worst case of what the reading covers.
    pub(crate) fn settled(&self) -> u128 {
        let CountedPart { granted, at_most: granted_at_most, other, .. } = self.measured;
        if self.rates.promises_cap_claims {
            granted_at_most.saturating_add(at_most(other, self.sampling))
        } else {
            granted.saturating_add(other)
        }
    }

    /// Takes a reading that is later than the one before it, and of this period.
    pub(crate) fn measure(&mut self, reading: &Reading) {
        let granted = reading.granted.get().into();
        let before = self.measured;
        let promised = before.at_most.saturating_add(self.promised_between(before.as_of, reading.as_of));
        let sampled = at_most(granted, self.sampling);
        self.measure_as(reading, if granted > promised { sampled } else { sampled.min(promised) });
    }

    /// Takes a reading with the most that its bytes under grants can be.
    pub(crate) fn measure_as(&mut self, reading: &Reading, at_most: u128) {
        let before = self.measured;
        let as_of = reading.as_of;
        let whole = self.index_of(as_of);
        let begun = if as_of > self.start_of(whole) { whole.saturating_add(1) } else { whole };
        let (granted, other) = (reading.granted.get().into(), reading.other.get().into());
        let after = CountedPart { granted, at_most, other, as_of, whole, begun };
        for index in before.whole..begun.min(self.minutes.len()) {
            let cell = self.get(index).unwrap_or_default();
            let (was, is) = (self.counted(&before, index, cell), self.counted(&after, index, cell));
            self.sums.used = replace(self.sums.used, was.used, is.used);
            if index < self.current {
                self.sums.worst_behind = replace(self.sums.worst_behind, was.worst, is.worst);
            }
            if index < whole {
                self.sums.live_measured = self.sums.live_measured.saturating_add(cell.live.into());
            }
        }
        self.measured = after;
    }

    /// The most that the reading's bytes under grants can be.
    pub(crate) fn granted_at_most(&self) -> u128 {
        self.measured.at_most
    }

    /// What the grants alive in `[from, to)` may have relayed in it at most.
    fn promised_between(&self, from: Timestamp, to: Timestamp) -> u128 {
        let parts = self.indices(from, to).map(|index| {
            let cell = self.get(index).unwrap_or_default();
            let millis = self.end_of(index).min(to).millis_since(self.start_of(index).max(from));
            self.promised_in(cell, millis)
        });
        parts.fold(0, u128::saturating_add)
    }

    /// What the grants alive in a cell may relay in so much of it, rounded down: parts of a minute add up to no more than
    /// the minute.
    fn promised_in(&self, cell: Cell, millis: u64) -> u128 {
        let minute = self.rates.promised(cell.live.into());
        minute.saturating_mul(millis.into()).checked_div(MINUTE_MILLIS.into()).unwrap_or(minute)
    }

    /// Grant-minutes that the reading covers, and grants alive in its minute.
    pub(crate) fn live_measured(&self) -> (u128, u32) {
        (self.sums.live_measured, self.get(self.measured.whole).unwrap_or_default().live)
    }

    /// What a cell adds to the figures: nothing where the provider has counted.
    pub(crate) fn counted(&self, measured: &CountedPart, index: usize, cell: Cell) -> MinuteFigures {
        if index < measured.whole {
            return MinuteFigures { used: 0, worst: 0 };
        }
        if index < measured.begun {
            let rest = self.end_of(index).millis_since(measured.as_of);
            return MinuteFigures { used: 0, worst: self.promised_in(cell, rest) };
        }
        let used = self.estimate_of(cell);
        MinuteFigures { used, worst: used.max(self.rates.promised(cell.live.into())) }
    }
}

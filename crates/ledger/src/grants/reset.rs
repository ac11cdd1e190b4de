//! The reset. Tests: `src/books/spending/tests/resets.rs`.
//! A row names the first day of the period of its figures. With another period they count as zero, and begin anew when something changes
//! them: then the sums of that other period get them. So nobody waits for all rows, and another billing day is a reset like any other.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::Grants;
use super::listing::LOOKED_AT_ONCE;
use super::row::GrantRow;
use super::spent::Spent;
use crate::units::period::Period;
use crate::units::slot::Day;
use crate::units::{ByteCount, Timestamp};

impl Grants {
    /// Begins a period, the next one or that of another billing day. Grants that ended before it are forgotten in steps.
    pub(crate) fn begin_period(&mut self, period: Period) {
        let is_same = self.period.start == period.start;
        self.period = period;
        // With another billing day, the same period can only end on another day.
        if !is_same {
            self.limited.begin();
            self.forget_unknown();
            self.chains.begin_period();
            self.indexes.begin_period();
        }
    }

    /// Forgets what sources counted under unknown identifiers in another period.
    pub(crate) fn forget_unknown(&mut self) {
        for counted in self.counted.values_mut() {
            (counted.unknown, counted.excess_of_left) = Default::default();
        }
    }

    /// Forgets grants that ended before this period, and the sums of an earlier one: at most `rows_at_once` of each. `false` if there may
    /// be more.
    pub(super) fn forget_past(&mut self, now: Timestamp) -> bool {
        let (start, most) = (self.period.start, self.terms.bounds.rows_at_once);
        let past = self.indexes.ended.iter().copied().take_while(|place| place.0.start() <= start);
        let forgotten = past.take(LOOKED_AT_ONCE).filter(|place| !self.waits_for_look(*place, now));
        let forgotten: Vec<_> = forgotten.take(most).collect();
        self.leave_all(&forgotten) && self.left.begin(Day::of(start), most)
    }

    /// What a grant has spent in this period.
    pub(crate) fn spent_of(&self, row: &GrantRow) -> Spent {
        row.spent_in(self.period)
    }

    /// Whether a grant ended in a period before, and its row waits to be forgotten.
    pub(super) fn is_past(&self, row: &GrantRow) -> bool {
        row.is_over(self.period.start) && self.spent_of(row).is_empty()
    }

    /// Adds what a row has spent in an earlier period to the sums of that.
    pub(super) fn keep_past(&mut self, row: &GrantRow) {
        let is_past = row.figures_since < Day::of(self.period.start) && row.source.is_metered();
        if is_past && row.spent().bytes() > ByteCount::ZERO {
            let share = self.terms.share(row, &row.spent());
            self.left.add_past(row.figures_since, self.terms.keys(row), &share);
        }
    }
}

//! The reset, row by row. Tests: `src/books/spending/tests/resets.rs`.
//! At the reset the sums begin at zero, while each row still has the figures of an earlier period. A row begins anew before its figures
//! change, or else in one of the next steps, so nobody waits for all rows: its figures are kept by day, and it counts in the sums of this
//! period from then on. A row names the first day of the period of its figures, also on disk: a start completes what a crash has
//! interrupted.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::counted::Reset;
use super::row::GrantRow;
use super::spent::{ConnectionCharge, Spent};
use super::{Grants, ROWS_AT_ONCE};
use crate::shards::Walk;
use crate::token::GrantId;
use crate::units::period::Period;
use crate::units::slot::Day;

impl Grants {
    /// Begins a period, the next one or that of another billing day: what was spent on the days before it is kept, and the grants that
    /// ended before it are forgotten, in the steps of [`Self::begin_rows`].
    pub(crate) fn begin_period(&mut self, period: Period) {
        if self.period.start == period.start {
            // With another billing day, the same period can only end on another day.
            self.period = period;
            return;
        }
        self.begin_all_rows();
        let counted_until = self.counted.keys().map(|source| (*source, self.counted_until(*source)));
        self.reset = Some(Reset { was: self.period, counted_until: counted_until.collect() });
        self.old = Walk::default();
        self.period = period;
        self.spenders.begin(period.start);
        for counted in self.counted.values_mut() {
            counted.unknown.begin();
        }
    }

    /// Completes a reset of stored rows. `open`: what their open connections were charged by then, which is not stored with a row. It was
    /// relayed before the reset: a later report would have let the row begin anew.
    pub(crate) fn complete_reset(&mut self, open: &[(GrantId, ConnectionCharge)]) {
        let (Some(reset), period) = (&self.reset, self.period) else { return };
        let mut before = vec![];
        for (id, charge) in open {
            let Some(row) = self.rows.get_mut(id).filter(|row| !row.is_of(period)) else { continue };
            let (start, until) = (row.figures_since.start(), reset.counted_until.get(&row.source).copied());
            let charge = ConnectionCharge { from: charge.from.max(start), ..*charge };
            row.spent.get_or_insert_default().charge(&charge, start, until.unwrap_or_default());
            before.push(*id);
        }
        self.begin_all_rows();
        for id in before {
            if let Some(spent) = self.rows.get_mut(&id).and_then(|row| row.spent.as_mut()) {
                **spent = spent.without_open();
            }
        }
    }

    /// Lets all rows begin anew.
    fn begin_all_rows(&mut self) {
        while !self.begin_rows() {}
    }

    /// Lets the next rows begin anew, at most [`ROWS_AT_ONCE`]. `false` if there may be more.
    pub(super) fn begin_rows(&mut self) -> bool {
        if self.reset.is_none() {
            return true;
        }
        let ids = self.old.next(&self.rows, ROWS_AT_ONCE);
        let is_last = ids.len() < ROWS_AT_ONCE;
        for id in ids {
            self.begin_row(id);
        }
        if is_last {
            self.reset = None;
            self.spenders.forget_empty();
        }
        is_last
    }

    /// What a grant has spent in this period.
    pub(crate) fn spent_of(&self, row: &GrantRow) -> Spent {
        if self.has_begun(row) { row.spent() } else { Spent::default() }
    }

    /// Whether a row has the figures of this period.
    pub(crate) fn has_begun(&self, row: &GrantRow) -> bool {
        row.is_of(self.period)
    }

    /// Whether a grant ended in the period before, and its row waits to be forgotten.
    pub(super) fn is_past(&self, row: &GrantRow) -> bool {
        let reset = self.reset.as_ref().filter(|_| !self.has_begun(row));
        reset.is_some_and(|reset| row.is_over(reset.end(self.period)))
    }

    /// Keeps what a grant has spent in the period before, if its row still says that, and lets the row begin anew. A grant that ended
    /// before this period is forgotten.
    pub(super) fn begin_row(&mut self, id: GrantId) {
        let Some(reset) = &self.reset else { return };
        let Some(row) = self.rows.get(&id).filter(|row| !self.has_begun(row)) else { return };
        let (was, end, first_day) = (reset.was, reset.end(self.period), Day::of(self.period.start));
        // With another billing day, days of the period before can be days of this one, too.
        let is_before = row.source.is_metered() && row.seen_on(was) < first_day;
        if is_before {
            let counted = reset.counted_until.get(&row.source).copied().unwrap_or(was.start);
            let (assumed, is_over) = (self.terms.uncounted(row, counted, end), row.is_over(end));
            let Some(row) = self.rows.get_mut(&id) else { return };
            row.assume(assumed);
            let (row, was) = (&*row, Period { end, ..was });
            self.terms.keep(&mut self.spenders, row, was);
            if is_over {
                self.ended.remove(&(row.ends_in(), id));
                return self.forget_ended(id);
            }
        }
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.begin(first_day, is_before);
        self.dirty.note(id);
        self.terms.count(&mut self.spenders, row);
    }
}

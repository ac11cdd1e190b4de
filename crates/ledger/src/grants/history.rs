//! The rows of a period, from the issue of a grant until the period ends. A grant that has ended stays in the table as history.
//! Each row is in the sums of who spends for as long as it is in the table. What it spent is kept in them by day when it leaves the
//! table, and when the period ends. All of it counts for the day of its last count or claim, so never for one before it was relayed.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{GrantRow, GrantState, Grants};
use crate::day::Day;
use crate::minute::Minute;
use crate::period::Period;
use crate::spender::User;
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};

impl Grants {
    /// All grants of this period, live and ended, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter().map(|(id, row)| (id, &**row))
    }

    /// The live grants of a user.
    pub(crate) fn live_of(&self, user: &User) -> Vec<GrantId> {
        let is_theirs = |row: &GrantRow| {
            !row.has_ended() && row.spender.as_deref().and_then(|spender| spender.user.as_ref()) == Some(user)
        };
        self.rows.iter().filter(|(_, row)| is_theirs(row)).map(|(id, _)| *id).collect()
    }

    /// How many ended grants are kept.
    #[must_use]
    pub fn ended_count(&self) -> usize {
        self.ended_count
    }

    /// Begins a period: nothing has been spent in it, and the grants that ended before are forgotten.
    pub(crate) fn begin_period(&mut self, period: Period) {
        let metered = self.rows.iter().filter(|(_, row)| row.source.is_metered());
        for id in metered.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.keep_share(id);
        }
        self.period = period;
        self.spenders.begin(period.start);
        for id in std::mem::take(&mut self.ended) {
            self.forget_ended(id);
        }
        for (id, row) in &mut self.rows {
            if let Some(spent) = &mut row.spent {
                spent.begin(period.start);
                if spent.is_empty() {
                    // The stored value names the last period, so it needs no change.
                    row.spent = None;
                } else {
                    self.dirty.note(*id);
                }
            }
            self.spending.count(&mut self.spenders, row);
        }
        for counted in self.counted.values_mut() {
            counted.unknown.begin(period.start);
            counted.fastest = None;
        }
    }

    /// Puts the rows as stored into the sums. `of`: the start of the period that their bytes must belong to.
    pub(super) fn restore_spending(&mut self, of: Option<Timestamp>) {
        let start = self.period.start;
        let (mut promises, mut ended) = (vec![], vec![]);
        for (id, row) in &mut self.rows {
            let spent = row.spent.take().filter(|spent| Some(spent.period) == of);
            row.spent = spent.map(|spent| Box::new(spent.without_open()));
            if row.spent.as_deref().is_some_and(|spent| spent.period != start) {
                // The billing day has changed.
                self.dirty.note(*id);
                let day = row.seen_on(Period { start: of.unwrap_or(start), ..self.period });
                if day < Day::of(start) && row.source.is_metered() {
                    let share = self.spending.share(row).of_part();
                    self.spenders.keep(&self.spending.keys(row), day, &share);
                    row.spent = None;
                } else if let Some(spent) = &mut row.spent {
                    spent.period = start;
                }
            }
            if row.has_ended() {
                ended.push((row.ends_in(), *id));
            } else {
                self.due.entry(row.ends_in()).or_default().push(*id);
            }
            self.spending.count(&mut self.spenders, row);
            promises.extend(row.promise());
            if row.spent().claimed() > ByteCount::ZERO {
                self.claiming.insert((row.source, *id));
            }
        }
        for promise in &promises {
            // The minutes of the sources are stored, so only the sums of users and clients are missing.
            let _ = self.replace_promise(None, Some(promise));
        }
        ended.sort_unstable();
        self.ended_count = ended.len();
        self.ended = ended.into_iter().map(|(_, id)| id).collect();
    }

    /// A row was added.
    pub(super) fn enter(&mut self, id: GrantId) {
        if let Some(row) = self.rows.get(&id) {
            self.due.entry(row.ends_in()).or_default().push(id);
            self.spending.count(&mut self.spenders, row);
        }
    }

    /// A row was removed, because its credential was not handed out.
    pub(super) fn leave(&mut self, id: GrantId, row: &GrantRow) {
        if let Some(ids) = self.due.get_mut(&row.ends_in()) {
            ids.retain(|due| *due != id);
        }
        let share = self.spending.share(row);
        self.spending.tally(&mut self.spenders, row, |sums| sums.remove(&share, 1));
    }

    /// Ends grants whose time is over, at most `most` of them. `false` if there are more.
    pub(super) fn end_due(&mut self, now: Timestamp, most: usize) -> bool {
        let minute = Minute::of(now);
        let (mut left, mut stay) = (most, vec![]);
        while let Some(mut first) = self.due.first_entry().filter(|first| *first.key() <= minute) {
            let Some(id) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            if left == 0 {
                first.get_mut().push(id);
                break;
            }
            left = left.saturating_sub(1);
            match self.get(id) {
                Some(row) if row.is_live(now) => stay.push((row.ends_in().max(minute), id)),
                Some(_) => self.end(id),
                None => {}
            }
        }
        for (until, id) in stay {
            self.due.entry(until).or_default().push(id);
        }
        left > 0
    }

    fn end(&mut self, id: GrantId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if let Some(at) = row.revoked_at {
            self.revoked.remove(&(at, id));
            self.releasable.remove(&id);
        }
        self.spending.tally(&mut self.spenders, row, |sums| sums.change_live(-1));
        self.dirty.note(id);
        // Only what a history shows is kept.
        row.username = None;
        row.state = if row.is_released() { GrantState::EndedReleased } else { GrantState::Ended };
        if row.source.is_metered() {
            self.ended.push_back(id);
            self.ended_count = self.ended_count.saturating_add(1);
        } else {
            self.rows.remove(&id);
            self.dirty.note_removed(id);
        }
        while self.ended_count > self.spending.spenders.ended_max && self.drop_oldest() {}
    }

    /// A grant that has ended is live again, because its tail turns out to be longer.
    pub(super) fn revive(&mut self, id: GrantId, until: Minute) {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.state == GrantState::Ended) else { return };
        row.state = GrantState::Live;
        self.spending.tally(&mut self.spenders, row, |sums| sums.change_live(1));
        self.revoked.extend(row.revoked_at.map(|at| (at, id)));
        self.ended_count = self.ended_count.saturating_sub(1);
        // Its place in the order of ends stays, and means nothing while it is live.
        self.due.entry(until).or_default().push(id);
    }

    /// Removes the grant that ended first. What it spent stays in the sums, and so does what nobody has counted of it. `false` if
    /// there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(id) = self.ended.pop_front() else { return false };
        if self.any(id).is_some_and(GrantRow::has_ended) {
            self.keep_share(id);
            self.forget_ended(id);
        }
        true
    }

    /// Keeps what a grant has spent, and what nobody has counted of it until it ended or the period does.
    fn keep_share(&mut self, id: GrantId) {
        let (period, Some(row)) = (self.period, self.any(id)) else { return };
        if self.spending.promises() {
            let from = Minute::of(self.counted_until(row.source));
            let bytes = row.promised_between(from, row.ends_in().min(Minute::of(period.end)));
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(bytes));
        }
        let Some(row) = self.any(id) else { return };
        let share = self.spending.share(row);
        let share = if row.has_ended() { share } else { share.of_part() };
        if !share.is_empty() {
            self.spenders.keep(&self.spending.keys(row), row.seen_on(period), &share);
        }
    }

    /// Removes the row of a grant that has ended. The minutes of its source are over, and stay as they are.
    fn forget_ended(&mut self, id: GrantId) -> Option<Box<GrantRow>> {
        if !self.any(id)?.has_ended() {
            return None;
        }
        let row = self.rows.remove(&id)?;
        let _ = self.replace_promise(row.promise().as_ref(), None);
        self.claiming.remove(&(row.source, id));
        self.ended_count = self.ended_count.saturating_sub(1);
        self.dropped.add(&row);
        self.dirty.note_removed(id);
        Some(row)
    }
}

//! The rows of a period, from the issue of a grant until the period ends. A grant that has ended stays in the table as history.
//! Each row is in the sums of who spends for as long as it is in the table. What it spent is kept in them by day when it leaves the
//! table, and when the period ends. All of it counts for the day of its last count or claim, so never for one before it was relayed.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{GrantRow, GrantState, Grants, note_key_end};
use crate::{ByteCount, Day, GrantId, Minute, Period, Timestamp, User};

impl Grants {
    /// All grants of this period, live and ended, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter().map(|(id, row)| (id, &**row))
    }

    /// The live grants of a user.
    pub(crate) fn live_of(&self, user: &User) -> Vec<GrantId> {
        let is_theirs = |row: &GrantRow| !row.has_ended() && row.user() == Some(user);
        self.iter().filter(|(_, row)| is_theirs(row)).map(|(id, _)| *id).collect()
    }

    /// How many ended grants are kept.
    pub fn ended_count(&self) -> usize {
        self.ended.len()
    }

    /// Begins a period, the next one or that of another billing day: what was spent on the days before it is kept, and the grants that
    /// ended before it are forgotten.
    pub(crate) fn begin_period(&mut self, period: Period) {
        let (was, until) = (self.period, period.start.min(self.period.end));
        let is_past = |row: &GrantRow| row.source.is_metered() && row.seen_on(was) < Day::of(period.start);
        let past: Vec<_> = self.iter().filter(|(_, row)| is_past(row)).map(|(id, _)| *id).collect();
        for id in &past {
            self.keep_share(*id, until);
        }
        self.period = period;
        self.spenders.begin(period.start);
        for id in past {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            if row.is_over(until) {
                self.ended.remove(&(row.ends_in(), id));
                self.forget_ended(id);
            } else if let Some(spent) = &mut row.spent {
                spent.begin(period.start);
            }
        }
        for (id, row) in &mut self.rows {
            if let Some(spent) = &mut row.spent {
                spent.period = period.start;
                self.dirty.note(*id);
            }
            row.spent = row.spent.take().filter(|spent| !spent.is_empty());
            self.terms.count(&mut self.spenders, row);
        }
        for counted in self.counted.values_mut() {
            counted.unknown.begin(period.start);
            counted.fastest = None;
        }
    }

    /// Puts the rows as stored into the sums.
    pub(super) fn restore_spending(&mut self) {
        let start = self.period.start;
        let mut ids = vec![];
        for (id, row) in &mut self.rows {
            row.spent = row.spent.take().filter(|spent| spent.period == start);
            if row.has_ended() {
                self.ended.insert((row.ends_in(), *id));
            } else {
                if row.state == GrantState::Unwritten {
                    row.state = GrantState::Live;
                }
                ids.push(*id);
                self.due.insert(row.ends_in(), *id);
                self.revoked.extend(row.extra().revoked_at.map(|at| (at, *id)));
                self.releasable.extend(row.may_be_released().then_some(*id));
                self.pulling.extend(row.pulls().and(row.promised).map(|time| (time.from.next(), *id)));
                note_key_end(&mut self.key_ends, row);
            }
            if row.spent().claimed() > ByteCount::ZERO {
                self.claiming.insert((row.source, *id));
            }
        }
        // A full table has room for users with live grants, then for those whose time was counted last, or was not.
        ids.extend(self.ended.iter().rev().map(|(_, id)| *id));
        for id in ids {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            self.terms.count(&mut self.spenders, row);
            let promise = row.promise();
            // The minutes of the sources are stored, so only the sums of users and clients are missing.
            let _ = self.replace_promise(None, promise.as_ref());
        }
    }

    /// Ends grants whose time is over, at most `most` of them. `false` if there may be more.
    pub(super) fn end_due(&mut self, now: Timestamp, most: usize) -> bool {
        let minute = Minute::of(now);
        for _ in 0..most {
            let Some(id) = self.due.take(minute) else { return true };
            let stays = |row: &GrantRow| row.is_live(now).then(|| row.ends_in().max(minute.next()));
            match self.get(id).map(stays) {
                Some(Some(until)) => self.due.insert(until, id),
                Some(None) => self.end(id, now),
                None => {}
            }
        }
        false
    }

    fn end(&mut self, id: GrantId, now: Timestamp) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        self.clients.forget_idle(row.holder(), now);
        self.terms.tally(&mut self.spenders, row, |sums| sums.change_live(-1));
        self.dirty.note(id);
        // Only what a history shows is kept.
        row.forget_username();
        row.state = if row.is_released() { GrantState::EndedReleased } else { GrantState::Ended };
        let (revoked_at, until, is_metered) =
            (row.extra().revoked_at, row.ends_in(), row.source.is_metered());
        self.forget_revocation(id, revoked_at);
        if is_metered {
            self.ended.insert((until, id));
        } else {
            self.rows.remove(&id);
            self.dirty.note_removed(id);
        }
        while self.ended.len() > self.terms.bounds.spenders.ended_max
            && let Some((_, first)) = self.ended.pop_first()
        {
            self.keep_share(first, self.period.end);
            self.forget_ended(first);
        }
    }

    /// A grant that has ended is live again, because its tail turns out to be longer.
    pub(super) fn revive(&mut self, id: GrantId, until: Minute) {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.state == GrantState::Ended) else { return };
        row.state = GrantState::Live;
        self.terms.tally(&mut self.spenders, row, |sums| sums.change_live(1));
        self.revoked.extend(row.extra().revoked_at.map(|at| (at, id)));
        self.releasable.extend(row.may_be_released().then_some(id));
        self.ended.remove(&(row.ends_in(), id));
        self.due.insert(until, id);
    }

    /// Keeps what a grant has spent in this period, which ends now, and what nobody has counted of it until then.
    fn keep_share(&mut self, id: GrantId, end: Timestamp) {
        let (period, Some(row)) = (Period { end, ..self.period }, self.any(id)) else { return };
        if self.terms.promises() {
            let from = Minute::of(self.counted_until(row.source));
            let bytes = row.promised_between(from, row.ends_in().min(Minute::of(period.end)));
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(bytes));
        }
        let Some(row) = self.any(id) else { return };
        let share = self.terms.share(row);
        let share = if row.is_over(end) { share } else { share.of_part() };
        if !share.is_empty() {
            self.spenders.keep(&self.terms.keys(row), row.seen_on(period), &share);
        }
    }

    /// Removes the row of a grant that has ended. The minutes of its source are over, and stay as they are.
    fn forget_ended(&mut self, id: GrantId) {
        let Some(row) = self.rows.remove(&id) else { return };
        let _ = self.replace_promise(row.promise().as_ref(), None);
        self.claiming.remove(&(row.source, id));
        self.drop_row(&row);
        self.dirty.note_removed(id);
    }
}

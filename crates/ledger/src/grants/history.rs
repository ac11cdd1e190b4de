//! The rows of a period, from the issue of a grant until the period ends. A grant that has ended stays in the table as history.
//! Each row is in the sums of who spends for as long as it is in the table, and what it spent stays in them until the period ends.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::HashMap;

use super::ended::EndedGrants;
use super::spending::row_of;
use super::{GrantRow, Grants};
use crate::minute::Minute;
use crate::period::Period;
use crate::spender::User;
use crate::spenders::SpenderKey;
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};

impl Grants {
    /// All grants of this period, live and ended, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter().map(|(id, row)| (id, &**row)).chain(self.ended.iter())
    }

    /// The live grants of a user.
    pub(crate) fn live_of(&self, user: &User) -> Vec<GrantId> {
        let is_theirs =
            |row: &GrantRow| row.spender.as_deref().and_then(|spender| spender.user.as_ref()) == Some(user);
        self.rows.iter().filter(|(_, row)| is_theirs(row)).map(|(id, _)| *id).collect()
    }

    /// How many ended grants are kept.
    #[must_use]
    pub fn ended_count(&self) -> usize {
        self.ended.len()
    }

    /// Begins a period: nothing has been spent in it, and the grants that ended before are forgotten.
    pub(crate) fn begin_period(&mut self, period: Period) {
        self.period = period;
        self.spenders.clear();
        for id in self.ended.take_all() {
            self.dirty.note_removed(id);
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
            self.spenders.add(&self.spending.keys(row), &self.spending.share(row), true);
        }
        for counted in self.counted.values_mut() {
            counted.unknown.begin(period.start);
            counted.fastest = None;
        }
    }

    /// Puts the rows as stored into the sums. `of`: the start of the period that their bytes must belong to.
    pub(super) fn restore_spending(&mut self, of: Option<Timestamp>) {
        let (rows, ended): (HashMap<_, _>, _) =
            std::mem::take(&mut self.rows).into_iter().partition(|(_, row)| !row.ended);
        self.rows = rows;
        self.ended = EndedGrants::restore(ended.into_iter().map(|(id, row)| (id, *row)).collect());
        let start = self.period.start;
        let mut restamped = vec![];
        let ids: Vec<_> = self.iter().map(|(id, _)| *id).collect();
        for id in ids {
            let is_live = self.rows.contains_key(&id);
            let Some(row) = row_of(&mut self.rows, &mut self.ended, id) else { continue };
            let spent = row.spent.take().filter(|spent| Some(spent.period) == of);
            row.spent = spent.map(|spent| Box::new(spent.without_open()));
            if let Some(spent) = row.spent.as_deref_mut().filter(|spent| spent.period != start) {
                spent.period = start;
                restamped.push(id);
            }
            if is_live {
                self.due.entry(row.ends_in()).or_default().push(id);
            }
            let keys = self.spending.keys(row);
            self.spenders.add(&keys, &self.spending.share(row), is_live);
            if let ([Some(SpenderKey::User(user)), ..], true) = (&keys, self.spending.promises()) {
                self.spenders.promise(user, row.source, &row.promised_minutes());
            }
        }
        for id in restamped {
            self.dirty.note(id);
        }
    }

    /// A row was added.
    pub(super) fn enter(&mut self, id: GrantId) {
        if let Some(row) = self.rows.get(&id) {
            self.due.entry(row.ends_in()).or_default().push(id);
            self.spenders.add(&self.spending.keys(row), &self.spending.share(row), true);
        }
    }

    /// A row was removed, because its credential was not handed out.
    pub(super) fn leave(&mut self, id: GrantId, row: &GrantRow) {
        if let Some(ids) = self.due.get_mut(&row.ends_in()) {
            ids.retain(|due| *due != id);
        }
        let keys = self.spending.keys(row);
        self.spenders.remove(&keys, &self.spending.share(row), true);
        if let ([Some(SpenderKey::User(user)), ..], true) = (&keys, self.spending.promises()) {
            self.spenders.withdraw(user, row.source, &row.promised_minutes());
        }
    }

    /// Ends the grants whose time is over.
    pub(super) fn end_due(&mut self, now: Timestamp) {
        let minute = Minute::of(now);
        let mut stay = vec![];
        while let Some(first) = self.due.first_entry().filter(|first| *first.key() <= minute) {
            for id in first.remove() {
                match self.rows.get(&id) {
                    Some(row) if row.is_live(now) => stay.push((row.ends_in().max(minute), id)),
                    Some(_) => self.end(id),
                    None => {}
                }
            }
        }
        for (until, id) in stay {
            self.due.entry(until).or_default().push(id);
        }
    }

    fn end(&mut self, id: GrantId) {
        let Some(mut row) = self.rows.remove(&id) else { return };
        if let Some(at) = row.revoked_at {
            self.revoked.remove(&(at, id));
            self.releasable.remove(&id);
        }
        self.spenders.end(&self.spending.keys(&row));
        if !row.source.is_metered() {
            self.dirty.note_removed(id);
            return;
        }
        // Only what a history shows is kept.
        (row.ended, row.username) = (true, None);
        self.dirty.note(id);
        self.ended.push(id, *row);
        while let Some(oldest) = self.ended.beyond(self.spending.spenders.ended_max) {
            self.drop_oldest(oldest);
        }
    }

    /// Removes the oldest ended grant. What it spent stays in the sums, and so does what nobody has counted of it.
    fn drop_oldest(&mut self, id: GrantId) {
        if self.spending.promises()
            && let Some(row) = self.ended.get(id)
        {
            let (source, minutes) = (row.source, row.promised_minutes());
            let user = row.spender.as_deref().and_then(|spender| spender.user.clone());
            let from = Minute::of(self.counted_until(source)).max(minutes.start);
            let bytes = u128::from(minutes.end.since(from)).saturating_mul(self.spending.per_minute);
            let bytes = ByteCount::saturating(bytes);
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(bytes));
            if let Some(user) = user {
                self.spenders.withdraw(&user, source, &minutes);
            }
        }
        if let Some(row) = self.ended.pop() {
            self.spenders.keep(&self.spending.keys(&row), &self.spending.share(&row));
            self.dirty.note_removed(id);
        }
    }
}

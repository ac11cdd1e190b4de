//! The rows of a period, from the issue of a grant until the period ends. Tests: `src/grants_tests.rs`.
//! A grant that has ended stays in the table as history. Each row is in the sums of who spends for as long as it is in the table. What it
//! spent is kept in them by day when it leaves the table, and after the period ends. All of it counts for the day of its last count or
//! claim, so never for one before it was relayed.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::dropped::Dropped;
use super::row::{GrantRow, GrantState};
use super::{Grants, note_key_end};
use std::time::Duration;

use crate::promise::PromisedTime;
use crate::source::IceSource;
use crate::spender::User;
use crate::spenders::sums::Sums;
use crate::token::GrantId;
use crate::units::slot::Minute;
use crate::units::{ByteCount, Timestamp};

impl Grants {
    /// All grants of this period, live and ended, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GrantId, &GrantRow)> {
        self.rows.iter().map(|(id, row)| (id, &**row)).filter(|(_, row)| !self.is_past(row))
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

    /// Puts the rows as stored into the sums.
    pub(super) fn restore_spending(&mut self) {
        let (mut ids, mut ended) = (vec![], vec![]);
        for (id, row) in self.rows.iter_mut() {
            if row.has_ended() {
                ended.push((row.ends_in(), *id));
            } else {
                if row.state == GrantState::Unwritten {
                    row.state = GrantState::Live;
                }
                ids.push(*id);
                self.due.insert(row.ends_in(), *id);
                self.revoked.extend(row.extra().revoked_at.map(|at| (at, *id)));
                self.releasable.extend(row.may_be_released().then_some(*id));
                self.pulling.extend(row.pulls().and(row.promised).map(|time| (time.until, *id)));
                note_key_end(&mut self.key_ends, row);
            }
            if row.spent().claimed() > ByteCount::ZERO {
                self.claiming.insert((row.source, *id));
            }
        }
        self.ended = ended.into_iter().collect();
        // A full table has room for users with live grants, then for those whose time was counted last, or was not.
        ids.extend(self.ended.iter().rev().map(|(_, id)| *id));
        for id in ids {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            if row.is_of(self.period) {
                self.terms.count(&mut self.spenders, row);
            } else if row.source.is_metered() {
                // It is in no sum until it begins anew, but its share of the period before is kept under its keys.
                self.spenders.add(&self.terms.keys(row), row.holder(), &Sums::default(), 0);
            }
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
        self.begin_row(id);
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
            self.keep_share(first);
            self.forget_ended(first);
        }
    }

    /// A grant that has ended is live again, because its tail turns out to be longer.
    pub(super) fn revive(&mut self, id: GrantId, until: Minute) {
        self.begin_row(id);
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.state == GrantState::Ended) else { return };
        row.state = GrantState::Live;
        self.terms.tally(&mut self.spenders, row, |sums| sums.change_live(1));
        self.revoked.extend(row.extra().revoked_at.map(|at| (at, id)));
        self.releasable.extend(row.may_be_released().then_some(id));
        self.ended.remove(&(row.ends_in(), id));
        self.due.insert(until, id);
    }

    /// Keeps what a grant that has ended has spent in this period, and what nobody has counted of it.
    fn keep_share(&mut self, id: GrantId) {
        self.begin_row(id);
        let Some(row) = self.any(id) else { return };
        let assumed = self.terms.uncounted(row, self.counted_until(row.source), self.period.end);
        self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(assumed));
        if let Some(row) = self.rows.get(&id) {
            self.terms.keep(&mut self.spenders, row, self.period);
        }
    }

    /// Removes the row of a grant that has ended. The minutes of its source are over, and stay as they are.
    pub(super) fn forget_ended(&mut self, id: GrantId) {
        let Some(row) = self.rows.remove(&id) else { return };
        let _ = self.replace_promise(row.promise().as_ref(), None);
        self.claiming.remove(&(row.source, id));
        self.recent.remove(id);
        self.drop_row(&row);
        self.dirty.note_removed(id);
    }

    /// A grant leaves the table. Nothing more can be relayed on one that was released.
    pub(super) fn drop_row(&mut self, row: &GrantRow) {
        if let Some(PromisedTime { until, .. }) = row.promised
            && !row.is_released()
        {
            let latest = self.dropped.entry(row.source).or_default();
            latest.expiry = latest.expiry.max(row.latest_expiry());
            latest.until = latest.until.max(until);
        }
    }

    /// When the last grant of a source that has left the table stops relaying, with this tail. `None`: what was promised covers it, or all
    /// were over at `since`.
    pub(crate) fn may_relay_until(
        &self,
        source: IceSource,
        after_expiry: Duration,
        since: Timestamp,
    ) -> Option<Timestamp> {
        let Dropped { expiry, until } = *self.dropped.get(&source)?;
        let end = Minute::from_end(expiry.plus(after_expiry));
        (end > until && until.start() > since).then(|| end.start())
    }
}

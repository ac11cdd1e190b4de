//! The sessions of the SFU. Tests: `src/books/tests/sfu.rs`.
//! What they take is promised, counted by time and refused like what credentials relay. The time in which no process runs counts, too.

use std::sync::Arc;
use std::time::Duration;

use super::Books;
use super::commit::NotAdmitted;
use crate::grants::sfu::SfuSession;
use crate::promise::PromisedTime;
use crate::rates::SFU_UNIT;
use crate::source::IceSource;
use crate::spender::Spender;
use crate::token::GrantId;
use crate::units::slot::Minute;

impl Books {
    /// Notes what the SFU says of a session; `None`: it has ended. That is so whether or not the budget has room. While it is unknown how
    /// much time has passed, a session that takes nothing any more stays open: it is charged until it is known.
    pub fn set_sfu_session(&mut self, name: &Arc<str>, session: Option<&SfuSession>) {
        let is_over = session.is_none_or(|session| session.kbps == 0);
        let (id, now) = (GrantId::of_session(name), self.now());
        if is_over && !self.may_count() && self.grants.get(id).is_some() {
            return;
        }
        let changes = self.grants.note_session(name, session, now);
        self.ledger.apply_all(changes);
        let per_minute =
            SFU_UNIT.per_minute().saturating_mul(session.map_or(0, |session| session.kbps.into()));
        let next = Minute::of(now).next();
        let is_enough = |time: PromisedTime| time.per_minute >= per_minute && time.until > next;
        if per_minute > 0 && !self.grants.get(id).and_then(|row| row.promised).is_some_and(is_enough) {
            let _ = self.promise_session(id, 0);
        }
    }

    /// Charges what a session took before the SFU said so: a rate in kbit/s, and for how long until now.
    pub fn charge_late(&mut self, name: &str, late: (u32, Duration)) {
        let change = self.grants.charge_late(GrantId::of_session(name), late, self.now());
        self.ledger.apply_all(change);
    }

    /// Notes what the page that opened a session says of it: a label, its origin.
    pub fn describe_session(&mut self, name: &str, by_page: Spender) {
        let change = self.grants.describe_session(name, by_page);
        self.ledger.apply_all(change);
    }

    /// Promises that a session takes so many kbit/s more. That must be on disk before the SFU is asked for them. Its answer must
    /// follow with [`Self::set_sfu_session`].
    pub fn pull(&mut self, name: &str, more: u32) -> Result<(), NotAdmitted> {
        let id = GrantId::of_session(name);
        if self.grants.is_revoked(id) {
            return Err(NotAdmitted::UserBlocked);
        }
        self.promise_session(id, more)
    }

    /// The open sessions of the SFU.
    pub fn sfu_sessions(&self) -> impl Iterator<Item = (Arc<str>, SfuSession)> {
        self.grants.sessions(self.now())
    }

    /// The sessions of the SFU that take something and must stop: without budget, over the limit of their user, revoked, or of a
    /// blocked user.
    pub fn sfu_sessions_to_close(&self) -> Vec<Arc<str>> {
        let (is_spent, now) = (self.ledger.figures().is_spent(), self.now());
        self.grants.sessions_to_close(|id, row| {
            row.user().is_some_and(|user| self.is_blocked(user))
                || self.grants.end_of(id, None, is_spent, now).is_some()
        })
    }

    /// Makes all promises for sessions anew that are due, or ends what is over.
    pub(super) fn renew_sessions(&mut self) {
        let now = self.now();
        while let Some(id) = self.grants.take_due_session(now) {
            match self.grants.unwatched(id, now).filter(|_| self.may_count()) {
                Some(name) => self.set_sfu_session(&name, None),
                None => drop(self.promise_session(id, 0)),
            }
        }
    }

    /// Promises what a session takes, and so many kbit/s more, from this minute on. Without room, what it takes keeps its promise, at
    /// least through the next minute. Then its tracks must be closed.
    fn promise_session(&mut self, id: GrantId, more: u32) -> Result<(), NotAdmitted> {
        let now = self.now();
        self.grants.count_session(id, now);
        let Some(row) = self.grants.get(id) else { return Err(NotAdmitted::TooManyGrants) };
        let (kbps, before, was_full) = (row.sfu_kbps(), row.promised, row.has_no_room());
        let requester = row.requester();
        let released = self.grants.release_session(id, now);
        self.ledger.apply_all(released);
        let minute = Minute::of(now);
        // A lower rate counts from the next minute on.
        let least = before.filter(|time| time.from == minute).map_or(0, |time| time.per_minute);
        let per_minute_of = |kbps: u32| SFU_UNIT.per_minute().saturating_mul(kbps.into());
        let wanted = per_minute_of(kbps.saturating_add(more)).max(least);
        let none = Duration::ZERO;
        let admitted = self.admission(IceSource::Sfu, none, none, &requester, Some(wanted));
        let forced = before.map_or(minute, |time| time.until).max(minute.next().next());
        let (kbps, until, per_minute, has_no_room) = match &admitted {
            Ok(admission) => (kbps.saturating_add(more), admission.promise.until, wanted, false),
            // Whether there is room for more says nothing about those that are there.
            Err(_) => (kbps, forced, per_minute_of(kbps).max(least), was_full || more == 0),
        };
        if per_minute > 0 {
            let time = PromisedTime::new(minute, until, per_minute);
            let promised = self.grants.promise_session(id, kbps, time, has_no_room);
            self.ledger.apply_all(promised);
        }
        admitted.map(drop)
    }
}

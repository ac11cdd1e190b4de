//! The sessions of the SFU. What they take is promised, counted by time and refused like what credentials relay. The time in which no
//! process runs counts, too.

use std::sync::Arc;
use std::time::Duration;

use super::{Books, NotAdmitted, Requester};
use crate::{GrantId, IceSource, Minute, PromisedTime, SfuSession, Spender, Timestamp};

impl Books {
    /// Notes what the SFU says of a session; `None`: it has ended. That is so whether or not the budget has room. While it is unknown how
    /// much time has passed, a session that takes nothing any more stays open: it is charged until it is known.
    pub fn set_sfu_session(&mut self, name: &Arc<str>, session: Option<&SfuSession>) {
        let is_over = session.is_none_or(|session| session.tracks == 0);
        if is_over && !self.may_count() && self.grants.get(GrantId::of_session(name)).is_some() {
            return;
        }
        let (now, rate) = (self.now(), self.connections.rules().estimated_rate);
        let changes = self.grants.note_session(name, session, rate, now);
        self.ledger.apply_all(changes);
        let id = GrantId::of_session(name);
        let per_minute = self.per_minute_of(session.map_or(0, |session| session.tracks));
        let next = Minute::of(now).next();
        let is_enough = |time: PromisedTime| time.per_minute >= per_minute && time.until > next;
        if per_minute > 0 && !self.grants.get(id).and_then(|row| row.promised).is_some_and(is_enough) {
            let _ = self.promise_session(id, 0);
        }
    }

    /// Notes what the page that opened a session says of it: a label, its origin.
    pub fn describe_session(&mut self, name: &str, by_page: Spender) {
        let change = self.grants.describe_session(name, by_page);
        self.ledger.apply_all(change);
    }

    /// Promises that a session takes so many tracks more. That must be on disk before the SFU is asked for them. Its answer must
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

    /// The start of this minute, if the promise for some session must be renewed in it.
    pub(super) fn next_session(&self, now: Timestamp) -> Option<Timestamp> {
        self.grants.has_due_session(now).then(|| Minute::of(now).start())
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

    /// Promises the tracks of a session, and so many more, from this minute on. Without room, the present tracks keep their promise, at
    /// least through the next minute. Then they must be closed.
    fn promise_session(&mut self, id: GrantId, more: u32) -> Result<(), NotAdmitted> {
        let (now, rate) = (self.now(), self.connections.rules().estimated_rate);
        self.grants.count_session(id, rate, now);
        let Some(row) = self.grants.get(id) else { return Err(NotAdmitted::TooManyGrants) };
        let (tracks, before, was_full) = (row.tracks(), row.promised, row.has_no_room());
        let requester =
            Requester { client: row.client, spender: row.spender.clone(), ..Requester::default() };
        let released = self.grants.release_session(id, now);
        self.ledger.apply_all(released);
        let minute = Minute::of(now);
        // Fewer tracks count from the next minute on.
        let least = before.filter(|time| time.from == minute).map_or(0, |time| time.per_minute);
        let wanted = self.per_minute_of(tracks.saturating_add(more)).max(least);
        let streams = wanted.div_ceil(self.per_minute_of(1).max(1));
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        let admitted = self.admission(IceSource::Sfu, Duration::ZERO, Duration::ZERO, &requester, streams);
        let forced = before.map_or(minute, |time| time.until).max(minute.next().next());
        let (tracks, until, per_minute, has_no_room) = match &admitted {
            Ok(admission) => (tracks.saturating_add(more), admission.promise.until, wanted, false),
            // Whether there is room for more says nothing about those that are there.
            Err(_) => (tracks, forced, self.per_minute_of(tracks).max(least), was_full || more == 0),
        };
        if per_minute > 0 {
            let time = PromisedTime::new(minute, until, per_minute);
            let promised = self.grants.promise_session(id, tracks, time, has_no_room);
            self.ledger.apply_all(promised);
        }
        admitted.map(drop)
    }

    fn per_minute_of(&self, tracks: u32) -> u64 {
        self.ledger.bytes_per_minute(IceSource::Sfu).saturating_mul(tracks.into())
    }
}

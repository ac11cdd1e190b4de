//! The sessions of the SFU. Tests: `src/books/tests/sfu.rs`.
//! What they take is promised, counted by time and refused like what credentials relay. The time in which no process runs counts, too.

use super::{Books, NotAdmitted};
use crate::grants::{GrantRow, SfuSession, counted_after};
use crate::prelude::*;
use crate::spending::SpenderKey;

impl Books {
    /// Notes what a session is charged and may take, as the SFU has answered; `None`: a look has not found the session. While a jump of the
    /// time is in doubt, a session that was not found or that takes nothing any more stays as it is, and its charges continue. Then this
    /// returns `false`, and the caller must note the session again later.
    pub fn set_sfu_session(&mut self, name: &Arc<str>, session: Option<&SfuSession>) -> bool {
        let is_over = session.is_none_or(|session| session.kbps == 0);
        if is_over && !self.may_count() && self.grants.get(GrantId::of_session(name)).is_some() {
            return false;
        }
        let now = self.now();
        self.grants.note_session(name, session, self.budget.counted_from(IceSource::Sfu), now);
        self.apply_effects();
        true
    }

    /// Promises a session so many kbit/s more. A revoked session is refused as if its user were blocked. Callers write the promise to disk
    /// before they ask the SFU, and pass its answer to [`Self::set_sfu_session`].
    pub fn pull(&mut self, name: &str, more: u32) -> Result<(), NotAdmitted> {
        let id = GrantId::of_session(name);
        if self.grants.is_revoked(id) {
            return Err(NotAdmitted::Blocked(SpenderKind::User));
        }
        // A session has no row if the table was full when the session was noted.
        let kbps = self.grants.get(id).ok_or(NotAdmitted::TooManyGrants)?.sfu_kbps().saturating_add(more);
        self.promise_session(id, kbps)?;
        self.grants.change_pulls(id, |promised, _| *promised = kbps);
        Ok(())
    }

    /// Extends the promise of a session, because a look has found the session. If there is no room for that,
    /// [`Self::sfu_sessions_to_close`] has the session until a later call finds room.
    pub fn extend_sfu_session(&mut self, name: &str) {
        let id = GrantId::of_session(name);
        let Some(kbps) = self.grants.get(id).map(GrantRow::sfu_kbps) else { return };
        let fits = self.promise_session(id, kbps).is_ok();
        self.grants.change_pulls(id, |_, has_no_room| *has_no_room = !fits);
    }

    /// The open sessions of the SFU.
    pub fn sfu_sessions(&self) -> impl Iterator<Item = (Arc<str>, SfuSession)> {
        self.grants.sessions(self.now())
    }

    /// The sessions of the SFU that take something and must stop: the budget is spent, there was no room to promise more for them, their
    /// grant is over, or their user or address is blocked.
    pub fn sfu_sessions_to_close(&self) -> Vec<Arc<str>> {
        let (ends_all, now) = (self.budget.ends_calls(IceSource::Sfu), self.now());
        self.grants.sessions_to_close(|id, row| {
            let user = row.user().cloned().map(SpenderKey::User);
            user.into_iter().chain(row.client.map(SpenderKey::Client)).any(|key| self.is_blocked(&key))
                || self.grants.end_of(id, None, ends_all, now).is_some()
        })
    }

    /// Extends the promise of each session whose promise does not cover what the session takes in this minute. Nobody asks an SFU that is
    /// not in the settings any more, so its sessions end when their lives are over.
    pub(super) fn go_on_with_sfu_sessions(&mut self) {
        let now = self.now();
        while let Some(id) = self.grants.due_session(now) {
            // While `may_count` is false, `set_sfu_session` ends no session, so the session would stay due.
            if let Some(name) = self.grants.unwatched(id, now).filter(|_| self.may_count()) {
                self.set_sfu_session(&name, None);
            } else {
                self.grants.go_on(id, self.budget.counted_from(IceSource::Sfu), now);
                self.apply_effects();
            }
        }
    }

    /// Promises that a session takes so many kbit/s from now on, for as long as the tail of the SFU. Without room, the session's promise
    /// stays as it is.
    fn promise_session(&mut self, id: GrantId, kbps: u32) -> Result<(), NotAdmitted> {
        let (now, after) = (self.now(), counted_after(self.now()));
        self.grants.count_session(id, now);
        let Some(row) = self.grants.get(id) else { return Err(NotAdmitted::TooManyGrants) };
        let (before, requester) = (row.promised, row.requester());
        let per_minute = SFU_UNIT.per_minute().saturating_mul(kbps.into());
        let counted_from = self.budget.counted_from(IceSource::Sfu);
        // A session takes only one rate at a time, so an earlier promise with at least this rate covers its minutes for the new rate, too.
        // The new promise begins after such promises.
        let begin = row.behind().iter().fold(counted_from, |begin, time| {
            let covers = time.from <= begin && time.per_minute >= per_minute;
            if covers { begin.max(time.until) } else { begin }
        });
        // A lower rate is promised from `after`, the first minute in which nothing is counted that is taken until the end of this minute.
        // The present promise lasts until that minute: `go_on` never lets the promise of a session that takes something end earlier.
        let is_lower = before.is_some_and(|time| per_minute < time.per_minute);
        let from = if is_lower { after.max(begin) } else { begin };
        self.grants.release_session(id, from, counted_from);
        self.apply_effects();
        if per_minute == 0 {
            return Ok(());
        }
        // The promise lasts for the tail alone.
        let (life, slack) = (Duration::ZERO, Duration::ZERO);
        let admitted = self.admission(IceSource::Sfu, life, slack, &requester, Some((per_minute, from)));
        // Without room, the promise stays as it was: its minutes from `from` on, which were released above, are promised again.
        let time = match &admitted {
            Ok(request) => Some(PromisedTime::new(from, request.promise(self.now()).until, per_minute)),
            Err(_) => before.map(|time| PromisedTime::new(time.from.max(from), time.until, time.per_minute)),
        };
        if let Some(time) = time {
            self.grants.promise_session(id, time);
            self.apply_effects();
        }
        admitted.map(drop)
    }
}

//! The rooms of sessions.

use std::sync::Arc;
use std::time::Duration;

use turn_ledger::User;

use super::Sessions;
use crate::session::{Caller, Session};
use crate::session_id::SessionId;

impl Sessions {
    /// The room in which these sessions are in a call now. `None` if there is none or more than one.
    pub(crate) fn only_room<'a>(&self, ids: impl IntoIterator<Item = &'a SessionId>) -> Option<Arc<str>> {
        let sessions = ids.into_iter().filter_map(|id| self.rows.get(id));
        let mut rooms =
            sessions.filter(|session| session.is_in_call()).filter_map(|it| it.opened.room.as_ref());
        let first = rooms.next()?;
        rooms.all(|room| room == first).then(|| Arc::clone(first))
    }

    /// The sessions that the caller opened from its present address and may use without a lock.
    pub(crate) fn of_caller(&self, caller: &Caller) -> impl Iterator<Item = &SessionId> {
        let is_own = |owner: &Caller| {
            owner.address == caller.address && (owner.user.is_none() || owner.user == caller.user)
        };
        self.rows.iter().filter(move |(_, session)| is_own(&session.opened.owner)).map(|(id, _)| id)
    }

    /// Ends the life of all sessions of a room: the next [`Self::elapse`] returns them, and no page uses them any more. Returns how many.
    pub(crate) fn end_room(&mut self, room: &str, now: Duration) -> usize {
        let is_of_room = |session: &Session| session.opened.room.as_deref() == Some(room);
        self.rows.values_mut().filter(|session| is_of_room(session)).for_each(|it| it.has_ended = true);
        self.end_where(is_of_room, now)
    }

    /// Ends all sessions of a user in the same way.
    pub(crate) fn end_sessions_of(&mut self, user: &User, now: Duration) -> usize {
        self.end_where(|session| session.opened.owner.user.as_ref() == Some(user), now)
    }

    fn end_where(&mut self, is_meant: impl Fn(&Session) -> bool, now: Duration) -> usize {
        let meant = self.rows.iter().filter(|(_, session)| is_meant(session));
        let meant: Vec<_> = meant.map(|(id, _)| id.clone()).collect();
        for id in &meant {
            self.end(id, now);
        }
        meant.len()
    }
}

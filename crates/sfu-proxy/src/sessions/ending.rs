//! What ends all sessions of a room or of a user.

use std::time::Duration;

use turn_ledger::User;

use super::Sessions;
use crate::session::Session;

impl Sessions {
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

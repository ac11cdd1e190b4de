//! What survives a restart: the open sessions with their rooms, their owners and what they take. The SFU is asked for their tracks.

use std::time::Duration;

use super::Sessions;
use crate::session::{ChangedSession, NewSession, Session};
use crate::session_id::SessionId;

impl Sessions {
    /// Adds a session that was open before a restart. If its life is over, it is closed once the SFU has reported its tracks.
    pub(crate) fn restore(&mut self, session: NewSession, now: Duration) {
        let id = session.id.clone();
        let taken = session.taken;
        self.insert(session, Some(taken), now);
        self.looks.set(id, now);
    }

    /// The sessions that have changed since the last call, for the ledger.
    pub(crate) fn take_changed(&mut self, now: Duration) -> Vec<ChangedSession> {
        let changed = std::mem::take(&mut self.changed);
        let changed = changed.into_iter().map(|id| ChangedSession {
            now: self.session_now(&id, now),
            late: self.rows.get_mut(&id).map(Session::take_late).unwrap_or_default(),
            id,
        });
        changed.collect()
    }

    fn session_now(&self, id: &SessionId, now: Duration) -> Option<NewSession> {
        let (session, ends) = (self.rows.get(id)?, self.ends.of(id)?);
        let (room, owner) = (session.room.clone(), session.owner().clone());
        let (life, taken) = (ends.saturating_sub(now), session.taken());
        Some(NewSession { id: id.clone(), room, owner, life, taken })
    }
}

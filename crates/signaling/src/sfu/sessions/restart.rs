//! What crosses a restart: which sessions are open, with their rooms and owners. Their tracks are the SFU's, which is asked.

use std::time::Duration;

use super::Sessions;
use crate::sfu::SessionId;
use crate::sfu::session::{NewSession, Session};

impl Sessions {
    /// Takes up a session that was open when the process before this one ended. It is looked at, and only then closed if its
    /// life is over, because its tracks are not known.
    pub fn restore(&mut self, session: NewSession, now: Duration) {
        let id = session.id.clone();
        self.insert(session, Session::restored, now);
        self.looks.set(id, now);
    }

    /// The tracks that were found since the last time: restored sessions take them from others, since before this process.
    pub fn take_found(&mut self) -> u64 {
        std::mem::take(&mut self.found)
    }

    /// The sessions to remember over a restart that have changed since the last time; `None` for one that has ended.
    pub fn take_changed(&mut self, now: Duration) -> Vec<(SessionId, Option<NewSession>)> {
        let changed = std::mem::take(&mut self.changed);
        let session = |id: &SessionId| {
            let (session, ends) = (self.rows.get(id)?, self.ends.of(id)?);
            let (room, owner) = (session.room.clone(), session.owner().clone());
            Some(NewSession { id: id.clone(), room, owner, life: ends.saturating_sub(now) })
        };
        changed.into_iter().map(|id| (id.clone(), session(&id))).collect()
    }
}

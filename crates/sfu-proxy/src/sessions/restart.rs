//! What is reported to the ledger, and what survives a restart: which sessions are open, and what they take.

use std::time::Duration;

use super::Sessions;
use crate::session::{ChangedSession, SessionNow};
use crate::session_id::SessionId;

impl Sessions {
    /// Adds a session that was open before a restart. No page uses it any more. It takes what it took until a look finds no track.
    pub(crate) fn restore(&mut self, session: &SessionNow, now: Duration) {
        self.insert(session, Some(now.saturating_add(self.terms.look_interval)), now);
    }

    /// The sessions that have changed since the last call, for the ledger.
    pub(crate) fn take_changed(&mut self, now: Duration) -> Vec<ChangedSession> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let report = |(id, is_found)| ChangedSession { now: self.session_now(&id, now), id, is_found };
        changed.map(report).collect()
    }

    fn session_now(&self, id: &SessionId, now: Duration) -> Option<SessionNow> {
        let (session, ends) = (self.rows.get(id)?, self.ends.of(id)?);
        Some(SessionNow {
            life: ends.saturating_sub(now),
            taken: session.load().taken,
            ..session.opened.clone()
        })
    }
}

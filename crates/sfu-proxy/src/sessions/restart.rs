//! What is reported to the ledger, and what survives a restart: which sessions are open, and what they take.

use std::sync::Arc;
use std::time::Duration;

use turn_ledger::{Call, SfuSession};
use turn_signaling::call::ProtocolName;

use super::Sessions;
use crate::lock::LIFE;
use crate::name::room;
use crate::session::{ChangedSession, OpenedSession};
use crate::session_id::SessionId;

impl OpenedSession {
    /// The session of a row that was there before a restart.
    pub(crate) fn of_row(id: &str, row: SfuSession) -> Option<Self> {
        let room = row.spender.as_ref().and_then(|of| room_of(of.call.as_ref()?));
        let row = SfuSession { life: row.life.min(LIFE), ..row };
        Some(Self { id: SessionId::new(id)?, room, row })
    }
}

fn room_of(call: &Call) -> Option<Arc<str>> {
    room(call.as_str().strip_prefix(ProtocolName::Sfu.as_str())?.strip_prefix('/')?)
}

impl Sessions {
    /// Adds a session that was open before a restart. No page uses it any more. It takes what it took until a look finds no track.
    pub(crate) fn restore(&mut self, session: &OpenedSession, now: Duration) {
        self.insert(session, Some(now.saturating_add(self.terms.look_interval)), now);
    }

    /// The sessions that have changed since the last call, for the ledger.
    pub(crate) fn take_changed(&mut self, now: Duration) -> Vec<ChangedSession> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let report = |(id, is_found)| ChangedSession { now: self.row_now(&id, now), id, is_found };
        changed.map(report).collect()
    }

    fn row_now(&self, id: &SessionId, now: Duration) -> Option<SfuSession> {
        let (session, ends) = (self.rows.get(id)?, self.ends.of(id)?);
        let (life, taken) = (ends.saturating_sub(now), session.load().taken);
        Some(SfuSession { life, taken, ..session.opened.row.clone() })
    }
}

//! Sessions as rows of the ledger, where what they take is promised and charged, also after a restart.

use std::time::Duration;

use turn_budget::{Spender, Timestamp};
use turn_ledger::SfuSession;
use turn_signaling::ProtocolName;

use super::Sessions;
use crate::lock::LIFE;
use crate::name::room;
use crate::{Caller, OpenedSession, SessionId, Taken};

impl Sessions {
    /// Adds a session that was open before a restart. No page uses it any more. Until a look finds no track, it takes what its row says.
    pub(crate) fn restore(&mut self, session: &OpenedSession, now: Duration) {
        self.insert(session, Some(now.saturating_add(self.terms.look_interval)), now);
    }

    /// The row of a session; `None` if it has ended. `books`: the time of the books.
    pub(crate) fn row(&self, id: &SessionId, now: Duration, books: Timestamp) -> Option<SfuSession> {
        let (session, ends) = (self.rows.get(id)?, self.ends.of(id)?);
        let OpenedSession { owner, spender, .. } = &session.opened;
        let Taken { kbps, charged_kbps } = session.load().taken;
        Some(SfuSession {
            spender: spender.clone(),
            opened_by: owner.grant,
            client: owner.address,
            // In the books' time, because the wall clock may be ahead of it.
            ends_at: books.plus(ends.saturating_sub(now)),
            kbps,
            charged_kbps,
        })
    }
}

impl OpenedSession {
    /// The session of a row that was stored before a restart. `None` if `id` is not the id of a session. `books`: the time of the books.
    pub(crate) fn of_row(id: &str, row: SfuSession, books: Timestamp) -> Option<Self> {
        let SfuSession { spender, opened_by, client, ends_at, kbps, charged_kbps } = row;
        let Spender { user, call, .. } = spender.as_deref().cloned().unwrap_or_default();
        let room = call.and_then(|call| {
            room(call.as_str().strip_prefix(ProtocolName::Sfu.as_str())?.strip_prefix('/')?)
        });
        let owner = Caller { user, grant: opened_by, address: client };
        let (life, taken) = (ends_at.since(books).min(LIFE), Taken { kbps, charged_kbps });
        Some(Self { id: SessionId::new(id)?, room, owner, spender, life, taken })
    }
}

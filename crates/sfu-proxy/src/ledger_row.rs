//! Sessions as rows of the ledger, where what they take is promised and charged, also after a restart.

use turn_ledger::{Call, SfuSession, Spender, Timestamp};
use turn_signaling::call::ProtocolName;

use crate::lock::LIFE;
use crate::name::room;
use crate::session::{Caller, ChangedSession, NewSession};
use crate::session_id::SessionId;
use crate::taken::Taken;

impl ChangedSession {
    /// The row. `now`: the time of the books.
    pub fn row(&self, now: Timestamp) -> Option<SfuSession> {
        let NewSession { room, owner, life, taken, .. } = self.now.as_ref()?;
        let call = room.as_ref().map(|room| Call::of(ProtocolName::Sfu.as_str(), room));
        Some(SfuSession {
            spender: Spender { user: owner.user.clone(), call, ..Spender::default() }.known(),
            opened_by: owner.grant,
            client: owner.address,
            // The wall clock may be ahead of the books' time.
            ends_at: now.plus(*life),
            kbps: taken.kbps,
            active_kbps: taken.active_kbps,
        })
    }
}

impl NewSession {
    /// The session of a row that was there before a restart. `now`: the time of the books.
    pub(crate) fn of_row(id: &str, row: SfuSession, now: Timestamp) -> Option<Self> {
        let SfuSession { spender, opened_by, client, ends_at, kbps, active_kbps } = row;
        let Spender { user, call, .. } = spender.as_deref().cloned().unwrap_or_default();
        let room = call.and_then(|call| {
            room(call.as_str().strip_prefix(ProtocolName::Sfu.as_str())?.strip_prefix('/')?)
        });
        let owner = Caller { user, grant: opened_by, address: client };
        let (life, taken) = (ends_at.since(now).min(LIFE), Taken { kbps, active_kbps });
        Some(Self { id: SessionId::new(id)?, room, owner, life, taken })
    }
}

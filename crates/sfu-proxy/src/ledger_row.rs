//! Sessions as rows of the ledger, where what they take is promised and charged, also after a restart.

use turn_ledger::{SfuSession, Timestamp};
use turn_signaling::call::ProtocolName;

use crate::lock::LIFE;
use crate::name::room;
use crate::session::{Caller, ChangedSession, SessionNow};
use crate::session_id::SessionId;
use crate::taken::Taken;

impl ChangedSession {
    /// The row. `now`: the time of the books.
    pub fn row(&self, now: Timestamp) -> Option<SfuSession> {
        let SessionNow { owner, spender, life, taken, .. } = self.now.as_ref()?;
        Some(SfuSession {
            spender: spender.clone(),
            opened_by: owner.grant,
            client: owner.address,
            // The wall clock may be ahead of the books' time.
            ends_at: now.plus(*life),
            kbps: taken.kbps,
            charged_kbps: taken.charged_kbps,
        })
    }
}

impl SessionNow {
    /// The session of a row that was there before a restart. `now`: the time of the books.
    pub(crate) fn of_row(id: &str, row: SfuSession, now: Timestamp) -> Option<Self> {
        let SfuSession { spender, opened_by, client, ends_at, kbps, charged_kbps } = row;
        let of = spender.as_deref().cloned().unwrap_or_default();
        let room = of.call.and_then(|call| {
            room(call.as_str().strip_prefix(ProtocolName::Sfu.as_str())?.strip_prefix('/')?)
        });
        let owner = Caller { user: of.user, grant: opened_by, address: client };
        let (life, taken) = (ends_at.since(now).min(LIFE), Taken { kbps, charged_kbps });
        Some(Self { id: SessionId::new(id)?, room, owner, spender, life, taken })
    }
}

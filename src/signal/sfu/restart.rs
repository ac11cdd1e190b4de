//! The open sessions in the ledger, where what they take is promised and charged, also after a restart.

use turn_ledger::{Call, SfuSession, Spender};
use turn_sfu_proxy::lock::LIFE;
use turn_sfu_proxy::session::{Caller, ChangedSession, NewSession};
use turn_sfu_proxy::taken::Taken;
use turn_sfu_proxy::{SessionId, room};
use turn_signaling::call::ProtocolName;

use super::SfuProxy;

impl SfuProxy {
    /// Adds the sessions that were open before a restart. The SFU is asked for their tracks as soon as the watch begins.
    pub(super) fn restore(&self) {
        let (now, open) = self.account.read(|books| (books.now(), books.sfu_sessions().collect::<Vec<_>>()));
        let restored = open.into_iter().filter_map(|(id, session)| {
            let SfuSession { spender, opened_by, client, ends_at, kbps, active_kbps } = session;
            let Spender { user, call, .. } = spender.as_deref().cloned().unwrap_or_default();
            let room = call.and_then(|call| {
                room(call.as_str().strip_prefix(ProtocolName::Sfu.as_str())?.strip_prefix('/')?)
            });
            let life = ends_at.since(now).min(LIFE);
            let owner = Caller { user, grant: opened_by, address: client };
            let taken = Taken { kbps, active_kbps };
            Some(NewSession { id: SessionId::new(&id)?, room, owner, life, taken })
        });
        self.with(|sessions, now| restored.for_each(|session| sessions.restore(session, now)));
    }

    /// Tells the ledger what a session is and takes.
    pub(super) fn remember(&self, ChangedSession { id, now, late }: ChangedSession) {
        self.account.change(|books| {
            let row = now.map(|NewSession { room, owner, life, taken, .. }| {
                let call = room.map(|room| Call::of(ProtocolName::Sfu.as_str(), &room));
                SfuSession {
                    spender: Spender { user: owner.user, call, ..Spender::default() }.known(),
                    opened_by: owner.grant,
                    client: owner.address,
                    // The wall clock may be ahead of the books' time.
                    ends_at: books.now().plus(life),
                    kbps: taken.kbps,
                    active_kbps: taken.active_kbps,
                }
            });
            books.set_sfu_session(&id.text(), row.as_ref());
            for late in late {
                books.charge_late(id.as_str(), (late.kbps, late.span));
            }
        });
    }
}

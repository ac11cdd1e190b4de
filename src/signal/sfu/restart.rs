//! The open sessions in the ledger, so that they are charged and closed after a restart too.

use turn_ledger::sfu_sessions::SfuSession;
use turn_signaling::sfu::SessionId;
use turn_signaling::sfu::lock::LIFE;
use turn_signaling::sfu::session::{Caller, NewSession};

use super::SfuProxy;

impl SfuProxy {
    /// Adds the sessions that were open before a restart. The SFU is asked for their tracks as soon as the watch begins.
    pub(super) fn restore(&self) {
        let now = self.clock.now();
        let restored = self.account.sfu_sessions().into_iter().filter_map(|(id, session)| {
            let SfuSession { room, user, grant, client, ends_at, uncharged_since: _ } = session;
            // The clock may have been changed since.
            let life = ends_at.since(now).min(LIFE);
            let owner = Caller { user, grant, address: client };
            Some(NewSession { id: SessionId::new(&id)?, room, owner, life })
        });
        self.with(|sessions, now| restored.for_each(|session| sessions.restore(session, now)));
    }

    /// Stores a session for a restart. `None` removes it.
    pub(super) fn remember(&self, id: &SessionId, session: Option<NewSession>) {
        let row = session.map(|NewSession { room, owner, life, .. }| SfuSession {
            room,
            user: owner.user,
            grant: owner.grant,
            client: owner.address,
            ends_at: self.clock.now().plus(life),
            uncharged_since: None,
        });
        self.account.set_sfu_session(id.as_str(), row);
    }
}

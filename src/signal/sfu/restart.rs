//! The open sessions in the ledger, where what they take is promised and charged, also after a restart.

use turn_ledger::{Call, SfuSession, Spender};
use turn_signaling::call::ProtocolName;
use turn_signaling::sfu::lock::LIFE;
use turn_signaling::sfu::session::{Caller, NewSession};
use turn_signaling::sfu::taken::Taken;
use turn_signaling::sfu::{SessionId, room};

use super::SfuProxy;

impl SfuProxy {
    /// Adds the sessions that were open before a restart. The SFU is asked for their tracks as soon as the watch begins.
    pub(super) fn restore(&self) {
        let (now, open) = self.account.read(|books| (books.now(), books.sfu_sessions().collect::<Vec<_>>()));
        let restored = open.into_iter().filter_map(|(id, session)| {
            let SfuSession { spender, opened_by, client, ends_at, tracks, active, .. } = session;
            let Spender { user, call, .. } = spender.as_deref().cloned().unwrap_or_default();
            let room = call.and_then(|call| {
                room(call.as_str().strip_prefix(ProtocolName::Sfu.as_str())?.strip_prefix('/')?)
            });
            let life = ends_at.since(now).min(LIFE);
            let owner = Caller { user, grant: opened_by, address: client };
            let kbps = |tracks: u32| tracks.saturating_mul(self.terms.video_kbps);
            let taken = Taken { kbps: kbps(tracks), active_kbps: kbps(active) };
            Some(NewSession { id: SessionId::new(&id)?, room, owner, life, taken, late: vec![] })
        });
        self.with(|sessions, now| restored.for_each(|session| sessions.restore(session, now)));
    }

    /// A rate as a number of tracks with video, which is how the ledger counts.
    pub(super) fn tracks_of(&self, kbps: u32) -> u32 {
        kbps.div_ceil(self.terms.video_kbps.max(1))
    }

    /// Tells the ledger what a session is and takes. `None`: it has ended.
    pub(super) fn remember(&self, id: &SessionId, session: Option<NewSession>) {
        self.account.change(|books| {
            let row = session.map(|NewSession { room, owner, life, taken, late, .. }| {
                let late = late.into_iter().map(|late| (self.tracks_of(late.kbps), late.span)).collect();
                let call = room.map(|room| Call::of(ProtocolName::Sfu.as_str(), &room));
                SfuSession {
                    spender: Spender { user: owner.user, call, ..Spender::default() }.known(),
                    opened_by: owner.grant,
                    client: owner.address,
                    // The wall clock may be ahead of the books' time.
                    ends_at: books.now().plus(life),
                    tracks: self.tracks_of(taken.kbps),
                    active: self.tracks_of(taken.active_kbps),
                    late,
                }
            });
            books.set_sfu_session(&id.text(), row.as_ref());
        });
    }
}

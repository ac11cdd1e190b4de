//! All sessions. A session is in the table from the SFU's answer that created it, or from a restart, until its life is over and no track is
//! left, the SFU no longer knows it, or its row is needed for another session while it has no tracks. A look asks the SFU for the state of
//! a session. Looks begin with the session, and again with a request for tracks. They come at an interval until the session has no tracks.
//! Meanwhile the session is a member of the call in its room.

mod allowance;
pub(crate) mod looks;
mod restart;
mod rooms;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use turn_budget::{GrantId, User};
use turn_limits::{Bounds, Holder};

use super::addresses::PER_ADDRESS_MAX;
use super::{
    Addresses, Caller, OpenedSession, Pull, Replies, Session, SessionId, SessionLoad, SfuAnswer, SfuFault,
    SfuResult, TrackId, VideoRates,
};
use turn_signaling::Deadlines;

/// Sessions in the table.
pub const SESSIONS_MAX: usize = 8_192;
/// Tracks and data channels of one session. A room of 64 with two tracks each needs 128.
pub(crate) const PER_SESSION_MAX: usize = 256;
/// The time between two attempts to close a session by force.
pub(crate) const CLOSE_INTERVAL: Duration = Duration::from_secs(5);
/// When a client should try again if there is no room for its session.
const RETRY: Duration = Duration::from_secs(10);

/// What the table assumes and allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SfuTerms {
    /// The rates of a track with video.
    pub video: VideoRates,
    /// What one client may take at a time, at assumed rates, in kbit/s. `SFU_MBPS_PER_CLIENT`.
    pub client_kbps: u32,
    /// How often the SFU is asked for the state of a session: no call says that a page was closed. A call to the SFU has its
    /// effect within this time, or never.
    pub look_interval: Duration,
}

/// The table of all sessions.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    terms: SfuTerms,
    rows: HashMap<SessionId, Session>,
    addresses: Addresses,
    /// When each session is looked at next.
    looks: Deadlines<SessionId>,
    /// When the life of each session is over.
    ends: Deadlines<SessionId>,
    /// Sessions that have changed and are not reported yet, and whether a look has found them.
    pub(crate) changed: BTreeMap<SessionId, bool>,
}

impl Sessions {
    /// An empty table.
    pub(crate) fn new(terms: SfuTerms) -> Self {
        Self {
            terms,
            rows: HashMap::new(),
            addresses: Addresses::default(),
            looks: Deadlines::default(),
            ends: Deadlines::default(),
            changed: BTreeMap::new(),
        }
    }

    /// Reserves room for a session that a holder opens. [`Self::begin`] or [`Self::release`] must follow.
    pub(crate) fn reserve(&mut self, holder: &Holder, now: Duration) -> SfuResult<()> {
        if self.addresses.new_sessions.take(holder.clone(), 1, now).is_err() {
            return Err(SfuFault::TOO_MANY_SESSIONS.retry_in(Duration::from_secs(1)));
        }
        self.addresses.check_calls(holder)?;
        self.make_room(holder)?;
        self.addresses.sessions.add(holder, 1);
        self.addresses.calls.add(holder, 1);
        Ok(())
    }

    /// Releases what [`Self::reserve`] has taken: the session was not created, or is about to enter the table.
    pub(crate) fn release(&mut self, holder: &Holder) {
        self.addresses.sessions.remove(holder, 1);
        self.addresses.calls.remove(holder, 1);
    }

    /// The SFU has created the session that was reserved.
    pub(crate) fn begin(&mut self, session: &OpenedSession, now: Duration) {
        self.release(&session.owner.holder());
        self.report(&session.id, false);
        self.insert(session, None, now);
    }

    /// Checks that the caller may use a session: it belongs to the caller, or its lock proves the browser. A user is recognised on any
    /// address, and so is any grant of the same chain. The address counts only for a session that was opened without a token. Returns the
    /// user who opened it.
    pub(crate) fn check_owner(
        &self,
        id: &SessionId,
        caller: &Caller,
        is_unlocked: bool,
        are_of_one_chain: impl FnOnce(GrantId, GrantId) -> bool,
    ) -> SfuResult<Option<User>> {
        let session = self.rows.get(id).filter(|session| session.may_be_used()).ok_or(SfuFault::GONE)?;
        let owner = &session.opened.owner;
        let is_owner = || match (&owner.user, owner.grant) {
            (Some(user), _) => caller.user.as_ref() == Some(user),
            (None, Some(grant)) => caller.grant.is_some_and(|of_caller| are_of_one_chain(grant, of_caller)),
            (None, None) => caller.address == owner.address,
        };
        if is_unlocked || is_owner() { Ok(owner.user.clone()) } else { Err(SfuFault::LOCKED) }
    }

    /// Whether a page may go on using a session: it has tracks, or makes a call to the SFU.
    pub(crate) fn has_open(&self, id: &SessionId) -> bool {
        let has_load = |load: SessionLoad| load.tracks > 0 || load.calls > 0;
        self.rows.get(id).is_some_and(|session| session.may_be_used() && has_load(session.load()))
    }

    /// Takes the SFU's answer to a call; `None` if the SFU has refused all of it. `replies`: the channels on which the call asked to reply.
    pub(crate) fn answered(
        &mut self,
        id: &SessionId,
        call: u64,
        replies: &[Pull],
        answer: Option<&SfuAnswer>,
    ) {
        self.amend(id, |session| session.answered(call, answer));
        for channel in replies {
            // An entry that states no session or no name can be of this channel.
            let is_granted = answer.into_iter().flat_map(|answer| &answer.entries).any(|entry| {
                let is_of_sender = entry.session.as_ref().is_none_or(|session| *session == channel.session);
                let is_named = entry.name.is_none() || entry.name == channel.name;
                !entry.is_refused && is_of_sender && is_named
            });
            self.set_replies(channel, if is_granted { Replies::Granted } else { Replies::Refused });
        }
    }

    /// Ends the sessions whose life is over at `now`. Returns the sessions that still have tracks: these must be closed by force, and stay
    /// in the table until a look finds none. A session that was opened before a restart stays too: its tracks are not known yet. This
    /// also removes the rates of holders whose bucket is full.
    pub(crate) fn elapse(&mut self, now: Duration) -> Vec<SessionId> {
        let mut overdue = vec![];
        while let Some(id) = self.ends.pop(now) {
            match self.rows.get(&id) {
                Some(session) if session.load().tracks > 0 || session.is_restored() => overdue.push(id),
                _ => self.remove(&id),
            }
        }
        for id in &overdue {
            self.ends.set(id.clone(), now.saturating_add(CLOSE_INTERVAL));
        }
        self.addresses.new_sessions.sweep(now);
        overdue
    }

    /// The sessions among `ids` that have something to close, each with the ids of its tracks and data channels.
    pub(crate) fn closable(&self, ids: impl Iterator<Item = SessionId>) -> Vec<(SessionId, Vec<TrackId>)> {
        let sessions = ids.filter_map(|id| self.rows.get(&id).map(|session| (id, session.ids())));
        sessions.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// How many tracks and data channels are charged now.
    pub(crate) fn charged(&self) -> usize {
        self.rows.values().map(Session::charged).sum()
    }

    /// How many sessions are charged now.
    pub(crate) fn pulling(&self) -> usize {
        self.rows.values().filter(|row| row.load().taken.charged_kbps > 0).count()
    }

    /// How many sessions are in the table.
    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Puts a session in the table. `settles_at`: see [`Session::new`].
    fn insert(&mut self, session: &OpenedSession, settles_at: Option<Duration>, now: Duration) {
        let id = &session.id;
        self.remove(id);
        let row = Session::new(session, settles_at, now, self.terms.video);
        self.addresses.sessions.add(&row.holder(), 1);
        self.addresses.replace(&row.holder(), SessionLoad::default(), row.load());
        self.ends.set(id.clone(), now.saturating_add(session.life));
        // After a restart nobody knows what the session has, so the first look is due at once.
        let first_look = settles_at.map_or(now.saturating_add(self.terms.look_interval), |_| now);
        self.looks.set(id.clone(), first_look);
        self.rows.insert(id.clone(), row);
    }

    /// Removes a session that is over, or that the SFU no longer knows.
    pub(crate) fn remove(&mut self, id: &SessionId) {
        let Some(session) = self.rows.remove(id) else { return };
        self.report(id, false);
        self.addresses.sessions.remove(&session.holder(), 1);
        self.addresses.replace(&session.holder(), session.load(), SessionLoad::default());
        self.looks.clear(id);
        self.ends.clear(id);
    }

    /// Notes that the session must be reported to the ledger. `is_found`: whether a look has found it.
    pub(crate) fn report(&mut self, id: &SessionId, is_found: bool) {
        *self.changed.entry(id.clone()).or_default() |= is_found;
    }

    /// The only place where the tracks and calls of a session change. `None` if the session is not in the table.
    fn amend<T>(&mut self, id: &SessionId, change: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let session = self.rows.get_mut(id)?;
        let before = session.load();
        let result = change(session);
        let after = session.load();
        self.addresses.replace(&session.holder(), before, after);
        if after.taken != before.taken {
            self.report(id, false);
        }
        Some(result)
    }

    /// Makes room for one more session of a holder. Of the sessions without tracks, the oldest gives way.
    fn make_room(&mut self, holder: &Holder) -> SfuResult<()> {
        while let Some(full) = self.addresses.sessions.full(holder, 1, Bounds::per_client(PER_ADDRESS_MAX)) {
            let in_share = |id: &SessionId| self.rows.get(id).is_some_and(|row| row.holder().is_in(&full));
            let oldest = self.ends.iter().find(|id| self.may_give_way(id) && in_share(id)).cloned();
            let Some(id) = oldest else { return Err(SfuFault::TOO_MANY_SESSIONS.retry_in(RETRY)) };
            self.remove(&id);
        }
        while self.addresses.sessions.all() >= SESSIONS_MAX {
            let oldest = self.ends.iter().find(|id| self.may_give_way(id)).cloned();
            let Some(id) = oldest else { return Err(SfuFault::FULL) };
            self.remove(&id);
        }
        Ok(())
    }

    /// Whether a session makes no call to the SFU and is not looked at, which means that it has no tracks.
    fn may_give_way(&self, id: &SessionId) -> bool {
        self.looks.of(id).is_none() && self.rows.get(id).is_some_and(|row| row.load().calls == 0)
    }
}

#[cfg(test)]
#[path = "sessions_tests/mod.rs"]
mod tests;

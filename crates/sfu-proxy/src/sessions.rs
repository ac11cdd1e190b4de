//! All sessions. A session is in the table from the SFU's answer that created it, or from a restart, until its life is over, the
//! SFU no longer knows it, or its row is needed for another one while it has no tracks. Every pulled track that the SFU has
//! confirmed is counted until it is closed, inactive or gone. A look asks the SFU for the state of a session.

mod allowance;
mod looks;
mod restart;
mod rooms;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use turn_ledger::User;
use turn_limits::Holder;

use super::addresses::Addresses;
use super::answer::SfuAnswer;
use super::fault::Fault;
use super::request::RequestedTracks;
use super::session::{Caller, NewSession, Session};
use super::session_id::SessionId;
use super::taken::{Demand, Taken, VideoRates};
use super::track::TrackKey;
use turn_signaling::call::CallEvent;
use turn_signaling::deadlines::Deadlines;

/// Sessions in the table.
pub(crate) const SESSIONS_MAX: usize = 8_192;
/// Tracks and data channels of one session. A room of 64 with two tracks each needs 128.
pub(crate) const PER_SESSION_MAX: usize = 256;
/// Calls of one address that are on their way to the SFU. A page waits for each of its calls.
pub(crate) const CALLS_PER_ADDRESS_MAX: usize = 64;
/// A session without media leaves its call after this time. The SFU ends it then.
pub(crate) const IDLE: Duration = Duration::from_secs(30);
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
    /// How often the SFU is asked for the state of a session with tracks, at least: no call says that a page was closed. The shortest
    /// time is a third of it. The time of a look is random, so that no page is silent at each look.
    pub look_after_max: Duration,
}

/// The table of all sessions.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    terms: SfuTerms,
    /// The state of the generator of random times.
    random: u64,
    rows: HashMap<SessionId, Session>,
    addresses: Addresses,
    /// Sessions that are being opened.
    reserved: usize,
    /// When a session without media leaves its call.
    idle: Deadlines<SessionId>,
    /// Since when a session has no media. The one with the earliest time gives way first.
    since: Deadlines<SessionId>,
    /// When a session with tracks is looked at. The times are random, and no call of a client makes one later.
    looks: Deadlines<SessionId>,
    /// Sessions that are looked at once more at once, because a call may have changed what flows.
    looks_now: BTreeSet<SessionId>,
    /// When the life of a session is over.
    ends: Deadlines<SessionId>,
    /// Tracks and data channels that are charged now.
    pulled: usize,
    /// Tracks and data channels of all sessions, and those that calls in progress ask for.
    places: usize,
    /// Sessions that were added or removed, or whose life or tracks have changed.
    changed: BTreeSet<SessionId>,
    events: Vec<CallEvent>,
}

impl Sessions {
    /// An empty table. `random`: where the random times of looks begin.
    pub(crate) fn new(terms: SfuTerms, random: u64) -> Self {
        Self {
            terms,
            random,
            rows: HashMap::new(),
            addresses: Addresses::default(),
            reserved: 0,
            idle: Deadlines::default(),
            since: Deadlines::default(),
            looks: Deadlines::default(),
            looks_now: BTreeSet::new(),
            ends: Deadlines::default(),
            pulled: 0,
            places: 0,
            changed: BTreeSet::new(),
            events: vec![],
        }
    }

    /// Reserves room for a session that a holder opens. [`Self::begin`] or [`Self::release`] must follow.
    pub(crate) fn reserve(&mut self, holder: &Holder, now: Duration) -> Result<(), Fault> {
        self.addresses.charge(holder, now)?;
        self.make_room(holder)?;
        self.reserved = self.reserved.saturating_add(1);
        self.addresses.reserve(holder);
        Ok(())
    }

    /// The session was not created.
    pub(crate) fn release(&mut self, holder: &Holder) {
        self.reserved = self.reserved.saturating_sub(1);
        self.addresses.release(holder);
    }

    /// The SFU has created the session that was reserved.
    pub(crate) fn begin(&mut self, session: NewSession, now: Duration) {
        self.release(&session.owner.holder());
        self.changed.insert(session.id.clone());
        self.insert(session, None, now);
    }

    /// Adds a session that a lock proves, unless it is known. The SFU is asked for its tracks.
    pub(crate) fn take_over(&mut self, session: NewSession, now: Duration) -> Result<(), Fault> {
        if !self.rows.contains_key(&session.id) {
            self.make_room(&session.owner.holder())?;
            let id = session.id.clone();
            self.changed.insert(id.clone());
            self.insert(session, None, now);
            self.looks.set(id, now);
        }
        Ok(())
    }

    /// The user who opened a session.
    pub(crate) fn user_of(&self, id: &SessionId) -> Option<User> {
        self.rows.get(id)?.owner().user.clone()
    }

    /// Checks that a session which no cookie locks belongs to the caller.
    pub(crate) fn check_owner(&self, id: &SessionId, caller: &Caller) -> Result<(), Fault> {
        let is_owner = self.rows.get(id).is_some_and(|session| session.is_owned_by(caller));
        if is_owner { Ok(()) } else { Err(Fault::Locked) }
    }

    /// The SFU is asked for this of others. It counts until the answer is known.
    pub(crate) fn ask(&mut self, id: &SessionId, more: Demand, now: Duration) {
        self.amend(id, now, |session| session.ask(more));
    }

    /// The SFU has refused this, or was not asked.
    pub(crate) fn refused(&mut self, id: &SessionId, more: Demand, now: Duration) {
        self.amend(id, now, |session| session.asked(more));
    }

    /// The SFU has answered a request for tracks or data channels.
    pub(crate) fn answered(
        &mut self,
        id: &SessionId,
        wanted: &RequestedTracks,
        answered: &SfuAnswer,
        now: Duration,
    ) {
        self.amend(id, now, |session| session.add(wanted, answered, now));
    }

    /// The SFU has closed the tracks of this answer. The session is looked at, at once.
    pub(crate) fn closed(&mut self, id: &SessionId, closed: &SfuAnswer, now: Duration) {
        self.amend(id, now, |session| session.remove(closed));
        self.may_have_changed(id);
    }

    /// The SFU no longer knows a session.
    pub(crate) fn gone(&mut self, id: &SessionId) {
        self.remove(id);
    }

    /// Ends the sessions whose life is over at `now`. Returns those that still have tracks, with all of them: they must be closed
    /// by force, and stay in the table until they are. One whose tracks are not known waits until they are.
    pub(crate) fn elapse(&mut self, now: Duration) -> Vec<(SessionId, Vec<TrackKey>)> {
        let (mut overdue, mut unseen) = (vec![], vec![]);
        while let Some(id) = self.ends.pop(now) {
            match self.rows.get(&id) {
                Some(session) if session.is_unseen() => unseen.push(id),
                Some(session) if session.size() > 0 => overdue.push((id, session.tracks())),
                _ => self.remove(&id),
            }
        }
        for id in unseen {
            self.ends.set(id, now.saturating_add(CLOSE_INTERVAL));
        }
        for (id, _) in &overdue {
            self.ends.set(id.clone(), now.saturating_add(CLOSE_INTERVAL));
        }
        while let Some(id) = self.idle.pop(now) {
            let event = self.rows.get_mut(&id).and_then(Session::leave);
            self.events.extend(event);
        }
        self.addresses.sweep(now);
        overdue
    }

    /// These sessions with all their tracks, to be closed by force. Without those that have none.
    pub(crate) fn with_tracks(
        &self,
        ids: impl Iterator<Item = SessionId>,
    ) -> Vec<(SessionId, Vec<TrackKey>)> {
        let sessions = ids.filter_map(|id| self.rows.get(&id).map(|session| (id, session.tracks())));
        sessions.filter(|(_, tracks)| !tracks.is_empty()).collect()
    }

    /// Tracks and data channels that are charged now.
    pub(crate) fn pulled(&self) -> usize {
        self.pulled
    }

    /// Sessions in the table.
    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// What has happened in calls since the last time, in its order.
    pub(crate) fn take_events(&mut self) -> Vec<CallEvent> {
        std::mem::take(&mut self.events)
    }

    /// `unseen`: what it took before a restart.
    fn insert(&mut self, session: NewSession, unseen: Option<Taken>, now: Duration) {
        let NewSession { id, room, owner, life, .. } = session;
        self.remove(&id);
        let mut session = Session::new(room, owner, unseen, self.terms.video);
        self.pulled = self.pulled.saturating_add(session.active());
        self.events.extend(session.join(&id));
        self.addresses.insert(&session.holder(), &id);
        self.ends.set(id.clone(), now.saturating_add(life));
        self.rows.insert(id.clone(), session);
        self.rest(&id, now);
    }

    fn remove(&mut self, id: &SessionId) {
        let Some(mut session) = self.rows.remove(id) else { return };
        self.changed.insert(id.clone());
        self.pulled = self.pulled.saturating_sub(session.active());
        self.places = self.places.saturating_sub(session.places());
        self.addresses.remove(&session.holder(), id);
        self.events.extend(session.leave());
        self.looks_now.remove(id);
        for deadlines in [&mut self.idle, &mut self.since, &mut self.looks, &mut self.ends] {
            deadlines.clear(id);
        }
    }

    /// The only place where the tracks of a session change.
    fn amend(&mut self, id: &SessionId, now: Duration, change: impl FnOnce(&mut Session)) {
        let Some(session) = self.rows.get_mut(id) else { return };
        let (before, size, was_active) = (session.taken(), session.size(), session.has_media());
        let places = session.places();
        let active = session.active();
        change(session);
        let taken = session.taken();
        self.pulled = self.pulled.saturating_add(session.active()).saturating_sub(active);
        if taken != before || session.has_late() {
            self.changed.insert(id.clone());
        }
        self.places = self.places.saturating_add(session.places()).saturating_sub(places);
        let is_active = session.has_media();
        if is_active {
            self.events.extend(session.join(id));
        }
        if taken.active_kbps > 0 {
            self.events.extend(session.connect());
        }
        // Only a look ends the looks: what is known of a session after a restart may not be all that it has.
        let needs_look = session.size() > 0 || session.is_unseen();
        let (due, has_new) = (self.looks.of(id), session.size() > size && session.is_connecting());
        if needs_look && (due.is_none() || has_new) {
            let next = now.saturating_add(self.look_after(id));
            self.looks.set(id.clone(), due.map_or(next, |due| due.min(next)));
        }
        match (was_active, is_active) {
            (_, true) => {
                self.idle.clear(id);
                self.since.clear(id);
            }
            (true, false) => self.rest(id, now),
            (false, false) => {}
        }
    }

    /// The session has no media from now on.
    fn rest(&mut self, id: &SessionId, now: Duration) {
        self.idle.set(id.clone(), now.saturating_add(IDLE));
        self.since.set(id.clone(), now);
    }

    /// Makes room for one more session of a holder. Of the sessions without tracks, the one that has been without media for
    /// longest gives way.
    fn make_room(&mut self, holder: &Holder) -> Result<(), Fault> {
        while let Some(full) = self.addresses.full(holder) {
            let idle = self.addresses.sessions(&full).filter(|id| self.may_give_way(id));
            let longest = idle.min_by_key(|id| self.since.of(id)).cloned();
            let Some(id) = longest else { return Err(Fault::TooManySessions { retry_in: RETRY }) };
            self.remove(&id);
        }
        while self.rows.len().saturating_add(self.reserved) >= SESSIONS_MAX {
            let longest = self.since.iter().find(|id| self.may_give_way(id)).cloned();
            let Some(id) = longest else { return Err(Fault::Full) };
            self.remove(&id);
        }
        Ok(())
    }

    /// Whether a session has left its call, has no tracks and makes no call to the SFU. Media may flow again on silent tracks, and
    /// nobody would charge for them.
    fn may_give_way(&self, id: &SessionId) -> bool {
        let is_free = |row: &Session| row.size() == 0 && row.calls() == 0 && !row.is_unseen();
        self.idle.of(id).is_none() && self.rows.get(id).is_some_and(is_free)
    }
}

#[cfg(test)]
#[path = "sessions_tests/mod.rs"]
mod tests;

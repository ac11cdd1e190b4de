//! All sessions. A session is in the table from the SFU's answer that created it, or from a restart, until its life is over and no track is
//! left, the SFU no longer knows it, or its row is needed for another session while it has no tracks. A look asks the SFU for the state of
//! a session. Looks begin with the session, and again with a request for tracks. They come at an interval until the session has no tracks.
//! Meanwhile the session is a member of the call in its room.

mod allowance;

use std::collections::HashMap;

use super::addresses::PER_ADDRESS_MAX;
use super::lock::LIFE;
use crate::prelude::*;
use turn_signaling::{Call, CallName, Deadlines, Member, MemberId};

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

    /// Takes the SFU's answer to a call; `None` if the SFU has refused all of it. `asked`: the channels on which the call asked to reply.
    pub(crate) fn answered(&mut self, id: &SessionId, call: u64, asked: &[Pull], answer: Option<&SfuAnswer>) {
        self.amend(id, |session| session.answered(call, answer));
        for channel in asked {
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

    // Sessions as rows of the ledger, where what they take is promised and charged, also after a restart.

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

    // The rooms of sessions: who is in the call there, and the end of all sessions of a room or of a user.

    /// The calls: rooms with a session that has tracks, or that was not looked at yet. `wall`: the same instant as `now`, by the wall
    /// clock.
    pub(crate) fn calls(&self, now: Duration, wall: Timestamp) -> BTreeMap<CallName, Call> {
        let mut calls = BTreeMap::new();
        for (id, session) in self.rows.iter().filter(|(id, _)| self.looks.of(id).is_some()) {
            let Some(room) = &session.opened.room else { continue };
            let joined = wall.minus(now.saturating_sub(session.since));
            let name = CallName { protocol: ProtocolName::Sfu, room: Arc::clone(room) };
            let new = || Call { started: joined, is_connected: false, members: BTreeMap::new() };
            let call = calls.entry(name).or_insert_with(new);
            call.started = call.started.min(joined);
            call.is_connected |= session.load().taken.charged_kbps > 0;
            let (user, grant) = (session.opened.owner.user.clone(), GrantId::of_session(id.as_str()));
            call.members.insert(MemberId(id.text()), Member { joined, user, grant: Some(grant) });
        }
        calls
    }

    /// The room in which these sessions are in a call now. `None` if there is none or more than one.
    pub(crate) fn only_room<'a>(&self, ids: impl IntoIterator<Item = &'a SessionId>) -> Option<Arc<str>> {
        let in_call = ids.into_iter().filter(|id| self.looks.of(id).is_some());
        let mut rooms = in_call.filter_map(|id| self.rows.get(id)?.opened.room.as_ref());
        let first = rooms.next()?;
        rooms.all(|room| room == first).then(|| Arc::clone(first))
    }

    /// The sessions that the caller may have opened: from the caller's address, by the caller's user or without a user.
    pub(crate) fn of_caller(&self, caller: &Caller) -> impl Iterator<Item = &SessionId> {
        let is_own = |owner: &Caller| {
            owner.address == caller.address && (owner.user.is_none() || owner.user == caller.user)
        };
        self.rows.iter().filter(move |(_, session)| is_own(&session.opened.owner)).map(|(id, _)| id)
    }

    /// Ends the life of all sessions of a room: the next [`Self::elapse`] removes them, or returns them to be closed. No page may
    /// use them from now on. Returns how many.
    pub(crate) fn end_room(&mut self, room: &str, now: Duration) -> usize {
        let is_of_room = |session: &Session| session.opened.room.as_deref() == Some(room);
        self.rows.values_mut().filter(|session| is_of_room(session)).for_each(|it| it.is_room_ended = true);
        self.end_where(is_of_room, now)
    }

    /// Ends the life of the sessions that `is_meant` accepts: the next [`Self::elapse`] removes them, or returns them to be closed. Returns
    /// how many.
    pub(crate) fn end_where(&mut self, is_meant: impl Fn(&Session) -> bool, now: Duration) -> usize {
        let meant = self.rows.iter().filter(|(_, session)| is_meant(session));
        let meant: Vec<_> = meant.map(|(id, _)| id.clone()).collect();
        for id in &meant {
            self.end(id, now);
        }
        meant.len()
    }

    /// The looks that are due, at most `max`. The next look at each of these sessions is due after the interval.
    pub(crate) fn take_looks(&mut self, max: usize, now: Duration) -> Vec<Look> {
        let mut looks = vec![];
        while looks.len() < max
            && let Some(id) = self.looks.pop(now)
        {
            self.looks.set(id.clone(), now.saturating_add(self.terms.look_interval));
            looks.push(Look { id, began: now });
        }
        looks
    }

    /// Makes the look at a session due at once: the SFU may have closed something, or nobody knows what it did.
    pub(crate) fn look_now(&mut self, id: &SessionId, now: Duration) {
        if self.rows.contains_key(id) {
            self.looks.set(id.clone(), now);
        }
    }

    /// The SFU has reported the state of a session. A session without tracks leaves its call. If it was opened before a restart,
    /// it is over.
    pub(crate) fn looked(&mut self, look: &Look, state: &SfuAnswer, now: Duration) {
        let Some(may_go_on) = self.amend(&look.id, |session| session.see(state, look.began)) else { return };
        self.report(&look.id, true);
        if !may_go_on {
            self.end(&look.id, now);
        }
        let Some(session) = self.rows.get(&look.id).filter(|session| is_empty(session)) else { return };
        if session.is_restored() {
            self.remove(&look.id);
        } else {
            self.looks.clear(&look.id);
        }
    }

    /// A look has failed. After several in a row the session is over: its tracks are closed by force.
    pub(crate) fn look_failed(&mut self, id: &SessionId, now: Duration) {
        let Some(session) = self.rows.get_mut(id) else { return };
        if !session.look_failed() {
            self.end(id, now);
        }
    }

    /// Ends the life of a session: the next [`Self::elapse`] removes it, or returns it to be closed.
    fn end(&mut self, id: &SessionId, now: Duration) {
        self.ends.set(id.clone(), now);
        self.report(id, false);
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

// When the SFU is asked for the state of a session, and what its answer changes.

/// A look at one session: the SFU is asked for its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The session.
    pub id: SessionId,
    /// When it begins.
    pub began: Duration,
}

/// Whether a session has no tracks and asks for none.
fn is_empty(session: &Session) -> bool {
    let load = session.load();
    load.tracks == 0 && load.calls == 0 && load.taken.kbps == 0
}

#[cfg(test)]
#[path = "sessions_tests/mod.rs"]
mod tests;

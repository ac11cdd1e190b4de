//! The rooms of sessions: who is in the call there, and the end of all sessions of a room or of a user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use turn_budget::{GrantId, Timestamp};
use turn_signaling::{Call, CallName, Member, MemberId, ProtocolName};

use super::Sessions;
use crate::{Caller, Session, SessionId};

impl Sessions {
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
}

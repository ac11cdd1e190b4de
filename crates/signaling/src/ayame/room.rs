//! The rooms. A room has two places. A socket gets a place after its sign-in and the application's webhook: otherwise strangers could hold
//! both places. It becomes a member when it is accepted. A room exists while a place is taken, so there are no
//! more rooms than sockets.

use crate::prelude::*;

const PLACES: usize = 2;

/// The rooms by their ids.
#[derive(Default)]
pub(super) struct AyameRooms(BTreeMap<Arc<str>, AyameRoom>);

#[derive(Default)]
pub(super) struct AyameRoom {
    /// Sockets that have a place and are not members yet.
    pub(super) entering: Vec<SocketId>,
    pub(super) members: Vec<SocketId>,
    /// Whether the members have connected to each other.
    is_connected: bool,
    /// Whether nobody may enter any more: one standalone member has left, and the other one only has to send `connected`.
    is_over: bool,
}

impl AyameRoom {
    fn is_full(&self) -> bool {
        self.is_over || self.entering.len() + self.members.len() >= PLACES
    }

    fn is_empty(&self) -> bool {
        self.entering.is_empty() && self.members.is_empty()
    }
}

impl AyameRooms {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no place is free.
    pub(super) fn is_full(&self, room: &str) -> bool {
        self.0.get(room).is_some_and(AyameRoom::is_full)
    }

    /// Gives a socket a place. `false` if none is free.
    pub(super) fn take_place(&mut self, room: &Arc<str>, socket: SocketId) -> bool {
        let room = self.0.entry(Arc::clone(room)).or_default();
        let has_place = !room.is_full();
        if has_place {
            room.entering.push(socket);
        }
        has_place
    }

    /// Frees the place of a socket that is not a member, if it has one.
    pub(super) fn release(&mut self, room: &str, socket: SocketId) {
        self.change(room, |room| room.entering.retain(|other| *other != socket));
    }

    /// A socket that has a place becomes a member. Returns whether the room has two members now.
    pub(super) fn admit(&mut self, room: &str, socket: SocketId) -> bool {
        let Some(room) = self.0.get_mut(room) else { return false };
        room.entering.retain(|other| *other != socket);
        room.members.push(socket);
        room.members.len() == PLACES
    }

    /// The other member.
    pub(super) fn peer(&self, room: &str, socket: SocketId) -> Option<SocketId> {
        self.0.get(room)?.members.iter().copied().find(|other| *other != socket)
    }

    /// Notes that the members are connected. `true` if there are two, and this is the first time.
    pub(super) fn connect(&mut self, room: &str) -> bool {
        let Some(room) = self.0.get_mut(room) else { return false };
        let is_first = room.members.len() == PLACES && !room.is_connected;
        room.is_connected |= is_first;
        is_first
    }

    /// Ends a room because a member leaves, and returns the other member. Sockets that are entering keep their places, in a new room.
    pub(super) fn dissolve(&mut self, room: &str, leaver: SocketId) -> Option<SocketId> {
        let survivor = self.peer(room, leaver);
        self.change(room, |room| {
            let entering = std::mem::take(&mut room.entering);
            *room = AyameRoom { entering, ..AyameRoom::default() };
        });
        survivor
    }

    /// Removes a member. The other one stays, and nobody else may enter.
    pub(super) fn hand_over(&mut self, room: &str, leaver: SocketId) {
        self.change(room, |room| {
            room.members.retain(|other| *other != leaver);
            room.is_over = true;
        });
    }

    pub(super) fn remove(&mut self, room: &str) -> AyameRoom {
        self.0.remove(room).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn places(&self, room: &str) -> Vec<SocketId> {
        self.0.get(room).map(|room| [&*room.entering, &*room.members].concat()).unwrap_or_default()
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut AyameRoom)) {
        let Some(room) = self.0.get_mut(name) else { return };
        change(room);
        if room.is_empty() {
            self.0.remove(name);
        }
    }
}

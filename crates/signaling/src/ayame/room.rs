//! The rooms. A room has two places. A place belongs to a socket that may enter or to a member. A socket gets one after its sign-in and
//! the application's webhook, because strangers could hold both places otherwise. A room exists while it has a member, or a socket that
//! asks to enter.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::protocol::SocketId;

/// The most rooms. Each has at least one socket, so this is also the shell's bound on sockets.
pub(super) const ROOMS_MAX: usize = 4_096;
const PLACES: usize = 2;

/// The rooms by their ids.
#[derive(Default)]
pub(super) struct Rooms(BTreeMap<Arc<str>, AyameRoom>);

#[derive(Default)]
pub(super) struct AyameRoom {
    /// Sockets that ask to enter, and have no place.
    pub(super) asking: Vec<SocketId>,
    /// Sockets that have a place and are not members yet.
    pub(super) entering: Vec<SocketId>,
    /// The members.
    pub(super) members: Vec<SocketId>,
    /// Whether the members have connected to each other.
    is_connected: bool,
    /// Whether it admits nobody: one standalone member has left, and the other one only has to send `connected`.
    is_over: bool,
}

/// Why a socket gets no place.
pub(super) enum NoPlace {
    /// Both places are taken.
    Full,
    /// There are [`ROOMS_MAX`] other rooms.
    TooManyRooms,
}

impl AyameRoom {
    fn is_full(&self) -> bool {
        let is_over = self.is_over && !self.members.is_empty();
        is_over || self.entering.len() + self.members.len() >= PLACES
    }

    fn is_empty(&self) -> bool {
        self.asking.is_empty() && self.entering.is_empty() && self.members.is_empty()
    }

    /// The socket asks for nothing more, and has no place.
    fn forget(&mut self, socket: SocketId) {
        self.asking.retain(|other| *other != socket);
        self.entering.retain(|other| *other != socket);
    }
}

impl Rooms {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A socket asks to enter. It has no place yet, and is refused if none is free.
    pub(super) fn ask(&mut self, room: &Arc<str>, socket: SocketId) -> Result<(), NoPlace> {
        if self.0.len() >= ROOMS_MAX && !self.0.contains_key(room) {
            return Err(NoPlace::TooManyRooms);
        }
        let room = self.0.entry(Arc::clone(room)).or_default();
        if room.is_full() {
            return Err(NoPlace::Full);
        }
        room.asking.push(socket);
        Ok(())
    }

    /// Gives a socket that has asked a place. `false` if none is free any more.
    pub(super) fn take_place(&mut self, room: &str, socket: SocketId) -> bool {
        let Some(room) = self.0.get_mut(room).filter(|room| !room.is_full()) else { return false };
        room.forget(socket);
        room.entering.push(socket);
        true
    }

    /// A socket that is not a member does not enter.
    pub(super) fn release(&mut self, room: &str, socket: SocketId) {
        self.change(room, |room| room.forget(socket));
    }

    /// Makes a socket with a place a member. Returns whether it is the second one.
    pub(super) fn admit(&mut self, room: &str, socket: SocketId) -> bool {
        let Some(room) = self.0.get_mut(room) else { return false };
        room.forget(socket);
        room.members.push(socket);
        room.members.len() == PLACES
    }

    /// The other member.
    pub(super) fn peer(&self, room: &str, socket: SocketId) -> Option<SocketId> {
        self.0.get(room)?.members.iter().copied().find(|other| *other != socket)
    }

    /// Notes that the members are connected. `true` the first time, if there are two.
    pub(super) fn connect(&mut self, room: &str) -> bool {
        let Some(room) = self.0.get_mut(room) else { return false };
        let is_first = room.members.len() == PLACES && !room.is_connected;
        room.is_connected |= is_first;
        is_first
    }

    /// Ends a room because a member leaves, and returns the other one. Sockets that ask or enter do so in a new room.
    pub(super) fn dissolve(&mut self, room: &str, leaver: SocketId) -> Option<SocketId> {
        let survivor = self.peer(room, leaver);
        self.change(room, |room| {
            let (asking, entering) = (std::mem::take(&mut room.asking), std::mem::take(&mut room.entering));
            *room = AyameRoom { asking, entering, ..AyameRoom::default() };
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

    /// Ends a room.
    pub(super) fn remove(&mut self, room: &str) -> AyameRoom {
        self.0.remove(room).unwrap_or_default()
    }

    /// The sockets with a place.
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

//! Every way in which a socket or a room ends. A socket ends once. When a member ends, its room ends, and the other member
//! gets `bye`. A standalone socket never gets `bye`, and its media go on without it.

use strum::VariantArray;

use super::closing;
use super::message::BYE;
use super::socket::{SocketStage, Timer};
use crate::prelude::*;

impl Ayame {
    pub(super) fn close(&mut self, id: SocketId, close: Closing) {
        if self.end(id) {
            self.actions.close(id, close);
        }
    }

    /// Handles [`Event::Closed`](crate::protocol::Event::Closed). The application is told, if it has a webhook for that.
    pub(super) fn closed(&mut self, id: SocketId, now: Duration) {
        self.end(id);
        let tells_application = self.settings.has_disconnect_webhook && self.may_call_webhooks(id, now);
        let Some(socket) = self.sockets.remove(&id) else { return };
        if tells_application {
            self.actions.ask(id, Question::TellDisconnected(socket.webhook(None)));
        }
    }

    /// Handles `connected`. A standalone socket is closed. A partner that is standalone too keeps its socket until it sends
    /// `connected` itself, so its last candidates are not lost.
    pub(super) fn connected(&mut self, id: SocketId) {
        self.report_connected(id);
        let Some(socket) = self.sockets.get(&id) else { return };
        if !socket.is_standalone {
            return;
        }
        let room = socket.room.clone();
        let partner = self.rooms.peer(&room, id).and_then(|partner| self.sockets.get(&partner));
        if partner.is_some_and(|partner| partner.is_standalone) {
            self.rooms.hand_over(&room, id);
            self.dismiss(id, closing::CONNECTED, MediaAfter::MayContinue);
        } else {
            self.close(id, closing::CONNECTED);
        }
    }

    /// Ends a room for the operator. Its media end too. A socket that has no place yet may enter a new room of that name.
    pub(super) fn end_room(&mut self, name: &str) {
        let room = self.rooms.remove(name);
        for id in room.entering {
            self.close(id, closing::ROOM_ENDED);
        }
        for id in room.members {
            self.dismiss(id, closing::ROOM_ENDED, MediaAfter::Ends);
        }
    }

    /// Says `bye` to the members, because the process stops and the shell closes every socket.
    pub(super) fn drain(&mut self) {
        for (id, socket) in &self.sockets {
            if matches!(socket.state, SocketStage::Member) && !socket.is_standalone {
                self.actions.send(*id, BYE);
            }
        }
    }

    /// Ends a socket in the tables: its timers, its place, and the room of which it is a member. `false` if it has ended before.
    fn end(&mut self, id: SocketId) -> bool {
        let Some((state, room)) = self.retire(id) else { return false };
        match state {
            SocketStage::New | SocketStage::Ended => {}
            SocketStage::Registering(_) => self.rooms.release(&room, id),
            SocketStage::Member => {
                self.report_left(id, self.media_after(id));
                if let Some(survivor) = self.rooms.dissolve(&room, id) {
                    self.dismiss(survivor, closing::PEER_CLOSING, self.media_after(survivor));
                }
            }
        }
        true
    }

    /// Closes a member that has lost its place in the room, with `bye` unless it is standalone.
    fn dismiss(&mut self, id: SocketId, close: Closing, media: MediaAfter) {
        if self.retire(id).is_none() {
            return;
        }
        self.report_left(id, media);
        if self.sockets.get(&id).is_some_and(|socket| !socket.is_standalone) {
            self.actions.send(id, BYE);
        }
        self.actions.close(id, close);
    }

    /// Stops the timers of a socket, and marks it as ended. Returns its state until now, and its room; `None` if it has
    /// ended before.
    fn retire(&mut self, id: SocketId) -> Option<(SocketStage, Arc<str>)> {
        let socket = self.sockets.get_mut(&id)?;
        let state = std::mem::replace(&mut socket.state, SocketStage::Ended);
        for timer in Timer::VARIANTS {
            self.deadlines.clear(&(id, *timer));
        }
        if matches!(state, SocketStage::Ended) { None } else { Some((state, Arc::clone(&socket.room))) }
    }

    fn report_left(&mut self, id: SocketId, media: MediaAfter) {
        let Some(socket) = self.sockets.get(&id) else { return };
        self.actions.call(socket.left(media));
    }

    fn media_after(&self, id: SocketId) -> MediaAfter {
        match self.sockets.get(&id) {
            Some(socket) if socket.is_standalone => MediaAfter::MayContinue,
            _ => MediaAfter::Ends,
        }
    }
}

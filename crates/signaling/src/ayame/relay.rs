//! Frames of clients. They pass unchanged between the members of a room.

use super::message::{Frame, Message};
use super::socket::{Registration, SocketStage, Timer};
use super::{FRAME_RATE, WAITING_BYTES_MAX, WAITING_FRAMES_MAX, closing};
use crate::prelude::*;

impl Ayame {
    pub(super) fn arrived(&mut self, id: SocketId, frame: Frame, now: Duration) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if matches!(socket.state, SocketStage::Ended) {
            return;
        }
        if !socket.allowance.take(FRAME_RATE, now) {
            self.actions.dropped(Dropped::Flood);
            return self.close(id, closing::TOO_MANY_FRAMES);
        }
        self.deadlines.set((id, Timer::Read), now + self.settings.read_timeout);
        match &frame.message {
            Ok(Message::Pong) => {
                if !socket.is_standalone {
                    self.deadlines.set((id, Timer::Pong), now + self.settings.pong_timeout);
                }
            }
            _ => self.handle(id, frame, now),
        }
    }

    /// Handles a frame that is not a `pong`, or keeps it until its sender is admitted.
    pub(super) fn handle(&mut self, id: SocketId, frame: Frame, now: Duration) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let handled = match (&mut socket.state, frame) {
            (SocketStage::Registering(registration), frame) => registration.keep(frame),
            (SocketStage::New, Frame { message: Ok(Message::Register(register)), .. }) => {
                return self.register(id, *register, now);
            }
            (SocketStage::New, Frame { message, .. }) => {
                Err(message.err().unwrap_or(closing::NOT_REGISTERED))
            }
            (SocketStage::Member, Frame { message, text }) => {
                message.and_then(|message| self.member_message(id, &message, text))
            }
            (SocketStage::Ended, _) => Ok(()),
        };
        if let Err(close) = handled {
            match close {
                closing::TOO_MANY_WAITING => self.actions.dropped(Dropped::NotKept),
                closing::REGISTRATION_TOO_LONG => self.actions.dropped(Dropped::TooLong),
                _ => {}
            }
            self.close(id, close);
        }
    }

    fn member_message(&mut self, id: SocketId, message: &Message, text: Text) -> Result<(), Closing> {
        match message {
            Message::Register(_) => return Err(closing::REGISTERED_ALREADY),
            Message::Custom if !self.settings.type_message => return Err(closing::MESSAGE_DISABLED),
            Message::Offer | Message::Candidate | Message::Custom => self.pass_on(id, text),
            Message::Answer => {
                self.pass_on(id, text);
                self.report_connected(id);
            }
            Message::Connected => self.connected(id),
            Message::Pong => {}
        }
        Ok(())
    }

    /// Sends a frame to the other member. If there is none, the frame is dropped: the web SDK does not expect an error.
    fn pass_on(&mut self, from: SocketId, text: Text) {
        let Some(socket) = self.sockets.get(&from) else { return };
        if let Some(peer) = self.rooms.peer(&socket.room, from) {
            self.actions.send(peer, text);
        }
    }

    /// Reports that the members of a socket's room are connected, if there are two. Only the first time.
    pub(super) fn report_connected(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else { return };
        if self.rooms.connect(&socket.room) {
            self.actions.call(CallEvent::Connected { call: socket.call() });
        }
    }
}

impl Registration {
    fn keep(&mut self, frame: Frame) -> Result<(), Closing> {
        self.waiting_bytes += frame.text.len();
        if self.waiting.len() >= WAITING_FRAMES_MAX || self.waiting_bytes > WAITING_BYTES_MAX {
            return Err(closing::TOO_MANY_WAITING);
        }
        self.waiting.push_back(frame);
        Ok(())
    }
}

//! A session in the call of its room: a member while it has media.

use std::sync::Arc;

use turn_signaling::call::{CallEvent, CallName, MediaAfter, MemberId, ProtocolName};

use super::Session;

impl Session {
    /// The session becomes a member of its call. `None` if it is one already, or has no room.
    pub(crate) fn join(&mut self) -> Option<CallEvent> {
        let call = self.call()?;
        if self.is_in_call {
            return None;
        }
        (self.is_in_call, self.is_connected) = (true, false);
        // No grant: its pulled tracks are charged already, and relaying between TURN and the SFU is free.
        let user = self.opened.owner.user.clone();
        Some(CallEvent::Joined { call, member: self.member(), user, grant: None })
    }

    /// The session pulls its first track. `None` unless it is a member that was not connected.
    pub(crate) fn connect(&mut self) -> Option<CallEvent> {
        let call = self.call().filter(|_| self.is_in_call && !self.is_connected)?;
        self.is_connected = true;
        Some(CallEvent::Connected { call })
    }

    /// The session leaves its call.
    pub(crate) fn leave(&mut self) -> Option<CallEvent> {
        let call = self.call().filter(|_| self.is_in_call)?;
        self.is_in_call = false;
        Some(CallEvent::Left { call, member: self.member(), media: MediaAfter::Ends })
    }

    fn member(&self) -> MemberId {
        MemberId(self.opened.id.text())
    }

    fn call(&self) -> Option<CallName> {
        Some(CallName { protocol: ProtocolName::Sfu, room: Arc::clone(self.opened.room.as_ref()?) })
    }
}

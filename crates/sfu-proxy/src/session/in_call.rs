//! A session in the call of its room: a member while it has media.

use std::sync::Arc;

use turn_signaling::call::{CallEvent, CallName, MediaAfter, MemberId, ProtocolName};

use super::Session;

impl Session {
    /// The session becomes a member of its call. `None` if it is one already, or has no room.
    pub(crate) fn join(&mut self) -> Option<CallEvent> {
        let call = self.call()?;
        if self.member.is_some() {
            return None;
        }
        self.joined = self.joined.saturating_add(1);
        let id = &self.opened.id;
        let member = match self.joined {
            1 => MemberId(id.as_str().into()),
            again => MemberId(format!("{id}#{again}").into()),
        };
        self.member = Some(member.clone());
        self.is_connected = false;
        // No grant: its pulled tracks are charged already, and relaying between TURN and the SFU is free.
        Some(CallEvent::Joined { call, member, user: self.opened.owner.user.clone(), grant: None })
    }

    /// The session pulls its first track. `None` unless it is a member that was not connected.
    pub(crate) fn connect(&mut self) -> Option<CallEvent> {
        let call = self.call().filter(|_| self.member.is_some() && !self.is_connected)?;
        self.is_connected = true;
        Some(CallEvent::Connected { call })
    }

    /// The session leaves its call.
    pub(crate) fn leave(&mut self) -> Option<CallEvent> {
        let (call, member) = (self.call()?, self.member.take()?);
        Some(CallEvent::Left { call, member, media: MediaAfter::Ends })
    }

    fn call(&self) -> Option<CallName> {
        Some(CallName { protocol: ProtocolName::Sfu, room: Arc::clone(self.opened.room.as_ref()?) })
    }
}

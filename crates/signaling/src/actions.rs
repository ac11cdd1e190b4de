//! The actions that follow from the current event of a protocol, in their order. Empty between two events.

use crate::{Action, CallEvent, Closing, Dropped, Question, SocketId, Text};

/// The actions so far.
#[derive(Debug, Default)]
pub(crate) struct Actions(Vec<Action>);

impl Actions {
    pub(crate) fn push(&mut self, action: Action) {
        self.0.push(action);
    }

    pub(crate) fn send(&mut self, to: SocketId, text: impl Into<Text>) {
        self.push(Action::Send { to, text: text.into() });
    }

    pub(crate) fn close(&mut self, socket: SocketId, close: Closing) {
        self.push(Action::Close { socket, close });
    }

    pub(crate) fn ask(&mut self, socket: SocketId, question: Question) {
        self.push(Action::Ask { socket, question });
    }

    pub(crate) fn call(&mut self, event: CallEvent) {
        self.push(Action::Call(event));
    }

    /// Counts something that a bound has dropped.
    pub(crate) fn dropped(&mut self, why: Dropped) {
        self.push(Action::Dropped(why));
    }

    /// Returns the actions at the end of the event.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.0)
    }
}

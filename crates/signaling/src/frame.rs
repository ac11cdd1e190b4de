//! Text frames with what they say. Parsing needs nothing that a protocol knows, so the shell parses each frame before it takes the
//! protocol's lock, and a frame that is slow to parse delays nobody else.

use std::fmt;

use crate::protocol::{Closing, Text};
use crate::{ayame, peerjs, rooms, yjs};

/// A text frame that arrived.
pub struct ParsedFrame {
    /// Its content.
    pub text: Text,
    pub(crate) message: Message,
}

/// What a frame says in one of the protocols.
pub(crate) enum Message {
    /// Nothing that any of them reads.
    Unread,
    Ayame(Result<ayame::Message, Closing>),
    Peerjs(Option<peerjs::Incoming>),
    Rooms(Result<rooms::Incoming, rooms::Refusal>),
    Yjs(Option<yjs::Incoming>),
}

impl ParsedFrame {
    /// Parses a frame.
    pub(crate) fn parse(text: Text, parse: impl FnOnce(&str) -> Message) -> Self {
        let message = parse(text.as_str());
        Self { text, message }
    }
}

/// A frame of a protocol that reads only its text.
impl From<Text> for ParsedFrame {
    fn from(text: Text) -> Self {
        Self { text, message: Message::Unread }
    }
}

/// Messages contain tokens and keys, so only the length is shown.
impl fmt::Debug for ParsedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParsedFrame({} bytes)", self.text.len())
    }
}

//! The names that a request gives to a room, and that clients and the SFU give to tracks: the mid of a track, and the name under which
//! others pull it.

use crate::prelude::*;
use turn_budget::is_dots;

/// The longest name of a room, in bytes.
const ROOM_MAX: usize = 128;
/// The longest name of a track, in bytes. Browsers use small numbers for mids, pages use UUIDs for names.
const NAME_MAX: usize = 256;

/// A name of a track, of 1 to 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// `None` for an empty text and for one that is too long.
    pub fn new(text: &str) -> Option<Self> {
        (1..=NAME_MAX).contains(&text.len()).then(|| Self(text.into()))
    }

    /// Whether a mid is `#` and the name of a track. It then means the transceiver of this track.
    pub(crate) fn is_reference(&self) -> bool {
        self.0.starts_with('#')
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("expected a name of 1 to 256 bytes")
    }
}

/// The room that a request names. `None` for an empty name, one that is too long, one with a control character, and for `.` and `..`,
/// which a client would remove from a path.
pub fn room(text: &str) -> Option<Arc<str>> {
    let is_good =
        (1..=ROOM_MAX).contains(&text.len()) && !is_dots(text) && !text.chars().any(char::is_control);
    is_good.then(|| text.into())
}

/// The longest id of a session, in bytes. Cloudflare's have 32.
pub(crate) const SESSION_ID_MAX: usize = 64;

/// The id of a session, as Cloudflare made it. It is not a secret: every member of a room knows the ids of the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// `None` unless the text is 1 to 64 letters, digits, `-` and `_`, so it can stand in a path and in a cookie's name.
    pub fn new(text: &str) -> Option<Self> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_good = (1..=SESSION_ID_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        is_good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl TryFrom<String> for SessionId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("expected the id of a session")
    }
}

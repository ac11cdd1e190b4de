//! The id of a session.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

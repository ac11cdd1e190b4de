//! The names that clients and the SFU give to tracks: the mid of a track, and the name under which others pull it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes. Browsers use small numbers for mids, pages use UUIDs for names.
const NAME_MAX: usize = 256;

/// A name of 1 to 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// `None` for an empty text and for one that is too long.
    pub fn new(text: &str) -> Option<Self> {
        (1..=NAME_MAX).contains(&text.len()).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("expected a name of 1 to 256 bytes")
    }
}

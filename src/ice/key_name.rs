//! The name of a TURN key: which of the operator's keys at the provider minted a credential. Tests: below.
//! The name is never the key's id or its secret. It has a fixed size, so that it takes little space in a row of the ledger.

use std::fmt;

use serde::{Deserialize, Serialize};
use tinystr::{TinyAsciiStr, tinystr};

/// The longest name, in bytes.
const KEY_NAME_MAX: usize = 15;

/// 1 to [`KEY_NAME_MAX`] characters of `a-z 0-9 -`; the first is a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyName(TinyAsciiStr<KEY_NAME_MAX>);

impl KeyName {
    /// The name of the key if the operator has not named it.
    pub const DEFAULT: Self = Self(tinystr!(15, "default"));

    /// `None` if the text is empty or too long, does not begin with a letter, or has a character that is not allowed.
    pub fn new(text: &str) -> Option<Self> {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_good = text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(is_allowed);
        if is_good { text.parse().ok().map(Self) } else { None }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_15_lower_case_letters_digits_and_hyphens_and_begins_with_a_letter() {
        for good in ["a", "eu", "eu-west-1", "default", &"x".repeat(15)] {
            assert_eq!(KeyName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "EU", "1", "-a", "a b", "a_b", "a:b", "ä", "a\0", &"x".repeat(16), &"x".repeat(300)]
        {
            assert_eq!(KeyName::new(bad), None, "{bad}");
        }
        assert_eq!(KeyName::new("default"), Some(KeyName::DEFAULT));
    }

    #[test]
    fn names_compare_as_their_texts_do_and_take_15_bytes() {
        let mut names = ["us", "eu", "eu-1", "a"].map(|name| KeyName::new(name).unwrap());
        names.sort_unstable();
        assert_eq!(names.map(|name| name.to_string()), ["a", "eu", "eu-1", "us"]);
        assert_eq!(size_of::<Option<KeyName>>(), 15);
    }

    #[test]
    fn a_name_is_stored_as_its_text() {
        let json = serde_json::to_string(&KeyName::DEFAULT).unwrap();
        assert_eq!(
            (json.as_str(), serde_json::from_str(&json).ok()),
            (r#""default""#, Some(KeyName::DEFAULT))
        );
    }
}

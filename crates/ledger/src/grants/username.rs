//! The TURN user name of a grant, which its provider made. Nearly all have one form that takes little memory.

use serde_plain::{derive_deserialize_from_fromstr, derive_serialize_from_display};

/// 64 hexadecimal digits, as Cloudflare makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HexName([[u8; 16]; 2]);

impl std::str::FromStr for HexName {
    type Err = NotAHexName;

    fn from_str(text: &str) -> Result<Self, NotAHexName> {
        let half = |range| u128::from_str_radix(text.get(range)?, 16).ok();
        let halves = half(0..32).zip(half(32..text.len())).map(|(a, b)| Self([a, b].map(u128::to_be_bytes)));
        // A sign and capital letters are read too, but they are not written again.
        halves.filter(|name| name.to_string() == text).ok_or(NotAHexName)
    }
}

impl std::fmt::Display for HexName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|half| write!(f, "{:032x}", u128::from_be_bytes(*half)))
    }
}

derive_serialize_from_display!(HexName);
derive_deserialize_from_fromstr!(HexName, "64 hexadecimal digits");

/// The text has another form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub(super) struct NotAHexName;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_of_64_digits_comes_back_as_it_was(text in "[0-9a-f]{64}") {
            let name: HexName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text.clone());
            prop_assert_eq!(serde_json::from_value::<HexName>(text.into()).unwrap(), name);
        }
    }

    #[test]
    fn every_other_text_is_refused() {
        let texts = ["", "name", "1795153944:alice", &"a".repeat(63), &"a".repeat(65), &"A".repeat(64)];
        let signed = [format!("+{}", "0".repeat(63)), format!("{}+{}", "0".repeat(32), "0".repeat(31))];
        let split = [format!("{}ü{}", "0".repeat(31), "0".repeat(31)), "ü".repeat(32)];
        for text in texts.into_iter().map(str::to_owned).chain(signed).chain(split) {
            assert_eq!(text.parse::<HexName>(), Err(NotAHexName), "{text}");
        }
    }
}

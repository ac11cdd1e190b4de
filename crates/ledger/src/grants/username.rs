//! The TURN user name of a grant, which its provider made. Tests: below.
//! Nearly all have one form that takes little memory.

use serde::{Deserialize, Serialize};

/// `g0` and 62 hexadecimal digits, as Cloudflare makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HexName([u8; 31]);

impl std::str::FromStr for HexName {
    type Err = NotAHexName;

    fn from_str(text: &str) -> Result<Self, NotAHexName> {
        let digits = text.strip_prefix("g0").ok_or(NotAHexName)?;
        // Capital letters would come back as small ones.
        let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 62 || !digits.bytes().all(is_digit) {
            return Err(NotAHexName);
        }
        let mut bytes = [0; 31];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotAHexName)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAHexName)?;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for HexName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("g0")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text has another form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected g0 and 62 hexadecimal digits")]
pub(super) struct NotAHexName;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    #[test]
    fn a_name_of_cloudflare_comes_back_as_it_was() {
        for (_, mut dice) in Dice::cases(64) {
            let digits: String = (0..62)
                .map(|_| char::from_digit(u32::try_from(dice.below(16)).unwrap(), 16).unwrap())
                .collect();
            let text = format!("g0{digits}");
            let name: HexName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            let row = postcard::to_allocvec(&name).unwrap();
            assert_eq!((row.len(), postcard::from_bytes(&row).unwrap()), (31, name));
        }
    }

    #[test]
    fn every_other_text_is_refused() {
        let texts = ["", "g0", "name", "1795153944:alice", &"a".repeat(64)].map(str::to_owned);
        let of = |digits: &str| format!("g0{digits}");
        let lengths = [61, 63].map(|length| of(&"a".repeat(length)));
        let others =
            ["A".repeat(62), format!("+{}", "0".repeat(61)), "ü".repeat(31), format!("0ü{}", "0".repeat(59))];
        for text in texts.into_iter().chain(lengths).chain(others.map(|digits| of(&digits))) {
            assert_eq!(text.parse::<HexName>(), Err(NotAHexName), "{text}");
        }
    }
}

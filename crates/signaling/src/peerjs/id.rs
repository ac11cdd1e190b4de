//! The ids of peers. A page chooses its own or asks for one.

use turn_ledger::SIGN_IN_MAX;

/// The longest id, in bytes. Pages choose ids such as user names; ids made by the broker have 36 bytes.
pub const ID_MAX: usize = 128;

/// Whether a text can be an id. Control characters could garble logs and headers.
pub(super) fn is_id(text: &str) -> bool {
    (1..=ID_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether a text can be a token. It may be the user's token of the sign-in, so it may be as long as such a token.
pub(super) fn is_token(text: &str) -> bool {
    (1..=SIGN_IN_MAX).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_128_bytes_without_control_characters() {
        for good in ["a", "a b", "ä😀", &"x".repeat(128)] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(129), &"ä".repeat(65)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }
}

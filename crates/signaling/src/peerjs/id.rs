//! The ids of peers. A page chooses its own or asks for one.

/// The longest id, in bytes. Pages choose ids such as user names; the ids that we make have 36 bytes.
pub const ID_MAX: usize = 128;
/// The longest token, in bytes. A page may use a signed token of its own.
pub const TOKEN_MAX: usize = 256;

/// Whether a text may be an id. Control characters would disturb logs and headers.
pub(super) fn is_id(text: &str) -> bool {
    (1..=ID_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

pub(super) fn is_token(text: &str) -> bool {
    (1..=TOKEN_MAX).contains(&text.len())
}

/// A new id: a version 4 UUID of these random bits.
#[must_use]
pub fn new_id(random: u128) -> String {
    let version = (random & !(0xf << 76)) | (0x4 << 76);
    let uuid = (version & !(0x3 << 62)) | (0x2 << 62);
    let hex = format!("{uuid:032x}");
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|digits| &hex[digits]).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_random_uuids() {
        assert_eq!(new_id(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(new_id(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let random = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        assert_eq!(new_id(random), "01234567-89ab-4def-8123-456789abcdef");
    }

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

//! Delete keys. The key of an entry is computed from its room and its context id, which only its page knows. So the key is the
//! same after each publish and after a restart, and it is not stored.

use subtle::ConstantTimeEq;

use crate::signing::SigningKey;

/// The length of a key, in characters.
const KEY_CHARS: usize = 24;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Separates these keys from everything else that is derived from the same secret.
const PURPOSE: &[u8] = b"delete keys of p2pcf";

/// Computes delete keys.
#[derive(Debug)]
pub struct DeleteKeys(SigningKey);

impl DeleteKeys {
    /// Delete keys that depend only on this secret.
    pub fn derived_from(secret: &[u8; 64]) -> Self {
        Self(SigningKey::derived(secret, PURPOSE))
    }

    /// The key of an entry.
    pub(super) fn key(&self, room: &str, context: &str) -> String {
        // A room's name contains no zero, so two entries never have the same input.
        let input = [room.as_bytes(), b"\0", context.as_bytes()].concat();
        let bytes = self.0.code(&input);
        let character = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
        bytes.iter().take(KEY_CHARS).map(character).collect()
    }

    /// Whether `text` is the key of this entry. The time that this takes says nothing about the key.
    pub(super) fn matches(&self, room: &str, context: &str, text: &str) -> bool {
        self.key(room, context).as_bytes().ct_eq(text.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_one_room_and_context_and_depends_on_the_secret() {
        let keys = DeleteKeys::derived_from(&[7; 64]);
        let key = keys.key("room", "context");
        assert_eq!(key.len(), KEY_CHARS);
        assert!(key.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(keys.matches("room", "context", &key));
        assert_eq!(DeleteKeys::derived_from(&[7; 64]).key("room", "context"), key);
        for (room, context) in [("roo", "mcontext"), ("room", "contexu"), ("room", "")] {
            assert!(!keys.matches(room, context, &key), "{room} {context}");
        }
        assert!(!keys.matches("room", "context", &key[..23]) && !keys.matches("room", "context", ""));
        assert!(!DeleteKeys::derived_from(&[8; 64]).matches("room", "context", &key));
        assert_eq!(format!("{keys:?}"), "DeleteKeys(SigningKey([redacted]))");
    }
}

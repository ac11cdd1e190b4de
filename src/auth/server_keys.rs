//! Server keys, with which programs mint for their users. Only digests of the keys are compared, each in constant time.

use turn_base::request::bearer::TokenDigest;
use turn_ledger::Label;

use crate::config::ServerKeyConfig;

/// A server key, and the program that has it.
#[derive(Debug)]
pub struct ServerKey {
    /// The name, which is the label of the program's credentials if it sends no label.
    pub name: Label,
    /// The place of the key in the setting.
    pub index: usize,
    digest: TokenDigest,
}

/// All keys, in the order of the setting.
#[derive(Debug, Default)]
pub struct ServerKeys(pub Vec<ServerKey>);

impl ServerKeys {
    /// The keys of `SERVER_KEYS`.
    pub fn new(keys: &[ServerKeyConfig]) -> Self {
        let server_key = |(index, key): (usize, &ServerKeyConfig)| ServerKey {
            name: key.name.clone(),
            index,
            digest: TokenDigest::of(&key.key),
        };
        Self(keys.iter().enumerate().map(server_key).collect())
    }

    /// Whether a key has this name.
    pub fn has(&self, name: &Label) -> bool {
        self.0.iter().any(|key| key.name == *name)
    }

    /// The key with this text. All keys are compared, so the duration does not say which key it is.
    pub fn find(&self, shown: &str) -> Option<&ServerKey> {
        let shown = TokenDigest::of_text(shown);
        self.0.iter().fold(None, |found, key| if key.digest.is(&shown) { Some(key) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_whole_text_and_debug_output_has_no_key() {
        let config = |name: &str, key: &str| ServerKeyConfig {
            name: Label::new(name).unwrap(),
            key: key.repeat(32).into(),
        };
        let keys = ServerKeys::new(&[config("app", "a"), config("janus", "b")]);
        let found = |shown: &str| keys.find(shown).map(|key| (key.name.as_str(), key.index));
        assert_eq!(found(&"a".repeat(32)), Some(("app", 0)));
        assert_eq!(found(&"b".repeat(32)), Some(("janus", 1)));
        for wrong in ["", "app", &"a".repeat(31), &"a".repeat(33), &"A".repeat(32)] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
        let shown = format!("{keys:?}");
        assert!(shown.contains("janus") && shown.contains("[redacted]"), "{shown}");
        assert!(!shown.contains(&"b".repeat(32)), "{shown}");
    }
}

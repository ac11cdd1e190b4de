//! Server keys, with which programs mint for their users. Only digests of the keys are compared, each in constant time.

use std::sync::Arc;

use parking_lot::RwLock;
use turn_base::TokenDigest;
use turn_ledger::Label;

use crate::config::ServerKeyConfig;

/// A server key, and the program that has it.
#[derive(Clone, Debug)]
pub struct ServerKey {
    /// The name, which is the label of the program's credentials if it sends no label.
    pub name: Label,
    /// A number that no other name has had since the start.
    pub index: usize,
    digest: TokenDigest,
}

/// All keys, in the order of the setting. They change while the service runs: see [`Self::replace`].
#[derive(Debug, Default)]
pub struct ServerKeys(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    keys: Arc<[ServerKey]>,
    /// The names since the start. The place of a name is the number of its key.
    names: Vec<Label>,
}

impl ServerKeys {
    /// The keys of `SERVER_KEYS`.
    pub fn new(keys: &[ServerKeyConfig]) -> Self {
        let all = Self::default();
        all.replace(keys);
        all
    }

    /// Replaces all keys. A name that stays keeps its number, and so its rate. Returns whether a key was added, removed or changed.
    pub fn replace(&self, keys: &[ServerKeyConfig]) -> bool {
        let mut kept = self.0.write();
        let server_key = |key: &ServerKeyConfig| {
            let known = kept.names.iter().position(|name| *name == key.name);
            let index = known.unwrap_or_else(|| {
                kept.names.push(key.name.clone());
                kept.names.len() - 1
            });
            ServerKey { name: key.name.clone(), index, digest: TokenDigest::of(&key.key) }
        };
        let keys: Arc<[ServerKey]> = keys.iter().map(server_key).collect();
        let before = std::mem::replace(&mut kept.keys, Arc::clone(&keys));
        let is_same =
            |(one, other): (&ServerKey, &ServerKey)| one.index == other.index && one.digest.is(&other.digest);
        before.len() != keys.len() || !before.iter().zip(&*keys).all(is_same)
    }

    /// The keys now.
    pub fn all(&self) -> Arc<[ServerKey]> {
        Arc::clone(&self.0.read().keys)
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Whether a key has this name.
    pub fn has(&self, name: &Label) -> bool {
        self.all().iter().any(|key| key.name == *name)
    }

    /// The key with this text. All keys are compared, so the duration does not say which key it is.
    pub fn find(&self, shown: &str) -> Option<ServerKey> {
        let shown = TokenDigest::of_text(shown);
        self.all()
            .iter()
            .fold(None, |found, key| if key.digest.is(&shown) { Some(key.clone()) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, key: &str) -> ServerKeyConfig {
        ServerKeyConfig { name: Label::new(name).unwrap(), key: key.repeat(32).into() }
    }

    #[test]
    fn a_key_that_left_is_not_found_and_a_name_keeps_its_number() {
        let keys = ServerKeys::new(&[config("app", "a"), config("janus", "b")]);
        assert!(!keys.replace(&[config("app", "a"), config("janus", "b")]));
        assert!(keys.replace(&[config("janus", "c"), config("other", "d")]));
        let found = ["a", "b", "c", "d"].map(|key| keys.find(&key.repeat(32)).map(|key| key.index));
        assert_eq!(found, [None, None, Some(1), Some(2)]);
        assert!(!keys.has(&Label::new("app").unwrap()) && keys.replace(&[config("janus", "c")]));
        assert!(keys.replace(&[]) && keys.is_empty());
    }

    #[test]
    fn a_key_is_found_by_its_whole_text_and_debug_output_has_no_key() {
        let keys = ServerKeys::new(&[config("app", "a"), config("janus", "b")]);
        let found = |shown: &str| keys.find(shown).map(|key| (key.name.as_str().to_owned(), key.index));
        assert_eq!(found(&"a".repeat(32)), Some(("app".into(), 0)));
        assert_eq!(found(&"b".repeat(32)), Some(("janus".into(), 1)));
        for wrong in ["", "app", &"a".repeat(31), &"a".repeat(33), &"A".repeat(32)] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
        let shown = format!("{keys:?}");
        assert!(shown.contains("janus") && shown.contains("[redacted]"), "{shown}");
        assert!(!shown.contains(&"b".repeat(32)), "{shown}");
    }
}

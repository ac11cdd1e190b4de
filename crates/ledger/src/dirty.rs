//! The keys of rows that have changed since they were last taken to be stored. Where nothing is stored, nothing is noted.

use std::collections::BTreeSet;

/// See the module's invariant. The default is for where nothing is stored.
#[derive(Debug)]
pub struct Dirty<K> {
    keys: Option<BTreeSet<K>>,
}

impl<K> Default for Dirty<K> {
    fn default() -> Self {
        Self { keys: None }
    }
}

impl<K: Ord> Dirty<K> {
    /// All is stored as it is; from here on changes are noted.
    #[must_use]
    pub fn tracking() -> Self {
        Self { keys: Some(BTreeSet::new()) }
    }

    /// Notes that the row of a key has changed, or is gone.
    pub fn note(&mut self, key: K) {
        if let Some(keys) = &mut self.keys {
            keys.insert(key);
        }
    }

    /// The row of a key has nothing to be stored after all.
    pub fn clear(&mut self, key: &K) {
        if let Some(keys) = &mut self.keys {
            keys.remove(key);
        }
    }

    /// Whether the row of a key has changed since the last take.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.contains(key))
    }

    /// The keys of all that has changed since the last call.
    pub fn take(&mut self) -> BTreeSet<K> {
        self.keys.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_and_not_struck_is_told_once() {
        let mut unstored = Dirty::tracking();
        unstored.note(1);
        unstored.note(2);
        unstored.clear(&1);
        assert_eq!((unstored.contains(&1), unstored.contains(&2)), (false, true));
        assert_eq!((unstored.take(), unstored.take()), (BTreeSet::from([2]), BTreeSet::new()));
    }

    #[test]
    fn where_nothing_is_stored_nothing_is_noted() {
        let mut unstored = Dirty::default();
        unstored.note(1);
        assert!(!unstored.contains(&1) && unstored.take().is_empty());
    }
}

//! The keys of rows that must be stored because they have changed since the last take, each with a value where the change
//! itself is what is stored. Nothing is recorded where nothing is stored. A row that was added and removed between two takes
//! leaves nothing behind, so rows that come and go while the disk fails do not pile up.

use std::collections::BTreeMap;

/// See the module's invariant. The default records nothing.
#[derive(Clone, Debug)]
pub struct Dirty<K, V = RowChange> {
    rows: Option<BTreeMap<K, V>>,
}

/// How a row has changed since the last take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowChange {
    /// It may be stored already.
    #[default]
    Changed,
    /// It is certainly not stored.
    Added,
}

impl<K, V> Default for Dirty<K, V> {
    fn default() -> Self {
        Self { rows: None }
    }
}

impl<K: Ord, V: Default> Dirty<K, V> {
    /// Everything is stored as it is. From here on, changes are recorded.
    #[must_use]
    pub fn tracking() -> Self {
        Self { rows: Some(BTreeMap::new()) }
    }

    /// Changes what is recorded of a key.
    pub fn change(&mut self, key: K, change: impl FnOnce(&mut V)) {
        if let Some(rows) = &mut self.rows {
            change(rows.entry(key).or_default());
        }
    }

    /// Everything that was recorded since the last call.
    pub fn take(&mut self) -> BTreeMap<K, V> {
        self.rows.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl<K: Ord> Dirty<K> {
    /// Records that a row has changed.
    pub fn note(&mut self, key: K) {
        self.change(key, |_| {});
    }

    /// Records that a row was added.
    pub fn note_added(&mut self, key: K) {
        if let Some(rows) = &mut self.rows {
            rows.entry(key).or_insert(RowChange::Added);
        }
    }

    /// Records that a row was removed.
    pub fn note_removed(&mut self, key: K) {
        let Some(rows) = &mut self.rows else { return };
        if rows.get(&key) == Some(&RowChange::Added) {
            rows.remove(&key);
        } else {
            rows.insert(key, RowChange::Changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_once() {
        let mut dirty = Dirty::tracking();
        dirty.note(2);
        dirty.note(2);
        assert_eq!(
            (dirty.take(), dirty.take()),
            (BTreeMap::from([(2, RowChange::Changed)]), BTreeMap::new())
        );
    }

    #[test]
    fn a_row_that_was_never_stored_leaves_nothing_behind() {
        let mut dirty = Dirty::tracking();
        dirty.note_added(1);
        dirty.note(1);
        dirty.note_removed(1);
        assert!(dirty.take().is_empty());
        dirty.note_removed(2);
        dirty.note_added(2);
        dirty.note_removed(2);
        assert_eq!(dirty.take().into_keys().collect::<Vec<_>>(), [2], "a stored row is removed in the end");
    }

    #[test]
    fn changes_of_one_key_are_combined() {
        let mut dirty: Dirty<u8, i64> = Dirty::tracking();
        dirty.change(1, |sum| *sum += 5);
        dirty.change(1, |sum| *sum -= 2);
        assert_eq!(dirty.take(), BTreeMap::from([(1, 3)]));
    }

    #[test]
    fn nothing_is_recorded_where_nothing_is_stored() {
        let mut dirty = Dirty::default();
        dirty.note(1);
        dirty.note_added(2);
        dirty.note_removed(3);
        assert!(dirty.take().is_empty());
    }
}

//! The keys of rows that have changed since the last [`Dirty::take`] and must be stored. Tests: below.
//! Each key has a value that says how its row has changed. A row that is added and removed between two calls of `take` leaves no entry, so
//! short-lived rows do not accumulate while the disk fails.

use std::collections::BTreeMap;

/// Changed rows by their key; `None` for a row that was removed.
pub type Rows<K, V> = BTreeMap<K, Option<V>>;

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Dirty<K, V = RowChange> {
    rows: BTreeMap<K, V>,
}

/// How a row has changed since the last [`Dirty::take`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowChange {
    /// The row may be stored already.
    #[default]
    Changed,
    /// The row is certainly not stored.
    Added,
}

impl<K, V> Default for Dirty<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new() }
    }
}

impl<K: Ord, V: Default> Dirty<K, V> {
    /// Changes the value of a key.
    pub fn change(&mut self, key: K, change: impl FnOnce(&mut V)) {
        change(self.rows.entry(key).or_default());
    }

    /// Whether nothing was recorded since the last call of [`Self::take`].
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes everything that was recorded since the last call.
    pub fn take(&mut self) -> BTreeMap<K, V> {
        std::mem::take(&mut self.rows)
    }
}

impl<K: Ord> Dirty<K> {
    /// Records that a row has changed.
    pub fn note(&mut self, key: K) {
        self.change(key, |_| {});
    }

    /// Records that a row was added.
    pub fn note_added(&mut self, key: K) {
        self.rows.entry(key).or_insert(RowChange::Added);
    }

    /// Records that a row was removed.
    pub fn note_removed(&mut self, key: K) {
        if self.rows.get(&key) == Some(&RowChange::Added) {
            self.rows.remove(&key);
        } else {
            // It may be stored. The next batch finds its key here and no row in the table, so it deletes the stored row.
            self.rows.insert(key, RowChange::Changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once() {
        let mut dirty = Dirty::default();
        dirty.note(2);
        dirty.note(2);
        assert_eq!(
            (dirty.take(), dirty.take()),
            (BTreeMap::from([(2, RowChange::Changed)]), BTreeMap::new())
        );
    }

    #[test]
    fn a_row_that_was_never_stored_leaves_no_entry() {
        let mut dirty = Dirty::default();
        dirty.note_added(1);
        dirty.note(1);
        dirty.note_removed(1);
        assert!(dirty.take().is_empty());
        dirty.note_removed(2);
        dirty.note_added(2);
        dirty.note_removed(2);
        assert_eq!(dirty.take().into_keys().collect::<Vec<_>>(), [2], "a stored row must be removed");
    }

    #[test]
    fn changes_of_one_key_are_combined() {
        let mut dirty: Dirty<u8, i64> = Dirty::default();
        dirty.change(1, |sum| *sum += 5);
        dirty.change(1, |sum| *sum -= 2);
        assert_eq!(dirty.take(), BTreeMap::from([(1, 3)]));
    }
}

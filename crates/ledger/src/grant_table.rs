//! Rows by grant, and which of them have changed since they were last taken to be stored. What a row means, how many there
//! may be and which change counts is its owner's to say.

use std::collections::HashMap;

use crate::dirty::Dirty;
use crate::token::GrantId;

/// See the module's invariant.
#[derive(Debug)]
pub struct GrantTable<T> {
    rows: HashMap<GrantId, T>,
    unstored: Dirty<GrantId>,
}

impl<T> Default for GrantTable<T> {
    fn default() -> Self {
        Self { rows: HashMap::new(), unstored: Dirty::default() }
    }
}

impl<T: Clone> GrantTable<T> {
    /// As it was stored; from here on changes are noted.
    #[must_use]
    pub fn restore(rows: Vec<(GrantId, T)>) -> Self {
        Self { rows: rows.into_iter().collect(), unstored: Dirty::tracking() }
    }

    /// What has changed since the last call; `None` is what is gone.
    pub fn take_unstored(&mut self) -> Vec<(GrantId, Option<T>)> {
        self.unstored.take().into_iter().map(|id| (id, self.rows.get(&id).cloned())).collect()
    }
}

impl<T> GrantTable<T> {
    /// Rows now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a grant has a row.
    #[must_use]
    pub fn contains(&self, grant: GrantId) -> bool {
        self.rows.contains_key(&grant)
    }

    /// The row of a grant.
    #[must_use]
    pub fn get(&self, grant: GrantId) -> Option<&T> {
        self.rows.get(&grant)
    }

    /// The row of a grant, to change. The change is not noted by itself.
    pub fn get_mut(&mut self, grant: GrantId) -> Option<&mut T> {
        self.rows.get_mut(&grant)
    }

    /// Puts a row. The change is not noted by itself.
    pub fn insert(&mut self, grant: GrantId, row: T) {
        self.rows.insert(grant, row);
    }

    /// The row of a grant, to change, which is `row` where it has none yet. Neither is noted by itself.
    pub fn get_or_insert(&mut self, grant: GrantId, row: T) -> &mut T {
        self.rows.entry(grant).or_insert(row)
    }

    /// Takes a row away, and notes it.
    pub fn remove(&mut self, grant: GrantId) {
        self.rows.remove(&grant);
        self.note(grant);
    }

    /// Notes that the row of a grant has changed.
    pub fn note(&mut self, grant: GrantId) {
        self.unstored.note(grant);
    }

    /// Keeps the rows that are to stay, and notes the others as gone.
    pub fn retain(&mut self, is_to_stay: impl Fn(&T) -> bool) {
        let unstored = &mut self.unstored;
        self.rows.retain(|id, row| {
            let stays = is_to_stay(row);
            if !stays {
                unstored.note(*id);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_or_gone_is_told_once_where_something_is_stored() {
        let [first, second] = [GrantId::new([1; 16]), GrantId::new([2; 16])];
        let rows = vec![(first, 1), (second, 2)];
        let mut table = GrantTable::restore(rows);
        table.retain(|row| *row > 1);
        *table.get_mut(second).unwrap() = 3;
        assert_eq!(table.take_unstored(), [(first, None)]);
        table.note(second);
        assert_eq!((table.take_unstored(), table.take_unstored()), (vec![(second, Some(3))], vec![]));
        let mut nothing_stored = GrantTable::default();
        nothing_stored.insert(first, 1);
        nothing_stored.remove(first);
        assert_eq!(nothing_stored.take_unstored(), []);
    }
}

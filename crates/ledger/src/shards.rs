//! A map of several hash tables. Tests: below.
//! A hash table that doubles moves all its rows, and everything waits for the lock of the books meanwhile: 17 ms with 400,000 grants. Each
//! of these tables has a sixty-fourth of the rows.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// How many tables there are: two to the power of this.
const PART_BITS: u32 = 6;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Shards<K, V> {
    parts: [HashMap<K, V>; 1 << PART_BITS],
    /// What decides in which table a key is.
    hasher: RandomState,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| HashMap::new()), hasher: RandomState::new() }
    }
}

impl<K: Eq + Hash, V> Shards<K, V> {
    fn part(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key) >> (u64::BITS - PART_BITS)).unwrap_or(0)
    }

    fn table(&self, key: &K) -> Option<&HashMap<K, V>> {
        self.parts.get(self.part(key))
    }

    fn table_mut(&mut self, key: &K) -> Option<&mut HashMap<K, V>> {
        let part = self.part(key);
        self.parts.get_mut(part)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.table(key)?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.table_mut(key)?.get_mut(key)
    }

    pub(crate) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let part = self.part(&key);
        self.parts[part].entry(key).or_default()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.table_mut(&key)?.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.table_mut(key)?.remove(key)
    }

    pub(crate) fn retain(&mut self, stays: impl Fn(&V) -> bool) {
        self.parts.iter_mut().for_each(|table| table.retain(|_, value| stays(value)));
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).fold(0, usize::saturating_add)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.parts.iter_mut().flatten()
    }
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for Shards<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        let mut shards = Self::default();
        for (key, value) in rows {
            shards.insert(key, value);
        }
        shards
    }
}

/// A walk through the keys of a map that changes meanwhile. It meets each key that is there all the time.
#[derive(Debug)]
pub(crate) struct Walk<K> {
    /// How many tables were looked through.
    parts: usize,
    left: Vec<K>,
}

impl<K> Default for Walk<K> {
    fn default() -> Self {
        Self { parts: 0, left: vec![] }
    }
}

impl<K: Copy + Eq + Hash> Walk<K> {
    /// The next keys: `most`, or fewer if these are the last ones.
    pub(crate) fn next<V>(&mut self, rows: &Shards<K, V>, most: usize) -> Vec<K> {
        while self.left.len() < most
            && let Some(table) = rows.parts.get(self.parts)
        {
            self.left.extend(table.keys());
            self.parts = self.parts.saturating_add(1);
        }
        self.left.split_off(self.left.len().saturating_sub(most))
    }

    /// The rows of the next tables, `least` or more, and whether these are the last ones. They need no search, so this is for walks that change
    /// nothing and have no time to lose.
    pub(crate) fn next_rows<'a, V>(
        &mut self,
        rows: &'a Shards<K, V>,
        least: usize,
    ) -> (Vec<(K, &'a V)>, bool) {
        let mut found = vec![];
        while found.len() < least
            && let Some(table) = rows.parts.get(self.parts)
        {
            found.extend(table.iter().map(|(key, row)| (*key, row)));
            self.parts = self.parts.saturating_add(1);
        }
        (found, self.parts == rows.parts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_of_which_a_part_grows() {
        let mut rows: Shards<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        assert_eq!((rows.len(), rows.get(&7), rows.get(&10_000)), (10_000, Some(&7), None));
        assert_eq!((rows.insert(7, 8), rows.remove(&7), rows.remove(&7)), (Some(7), Some(8), None));
        rows.retain(|n| n.is_multiple_of(2));
        rows.iter_mut().for_each(|(_, n)| *n += 1);
        let mut left: Vec<_> = rows.iter().map(|(key, n)| (*key, *n)).collect();
        left.sort_unstable();
        assert_eq!(left, (0..5_000).map(|n| (2 * n, 2 * n + 1)).collect::<Vec<_>>());
        let mut walk = Walk::default();
        let steps = [0; 9].map(|_| walk.next(&rows, 600));
        assert_eq!(steps.each_ref().map(Vec::len), [600, 600, 600, 600, 600, 600, 600, 600, 200]);
        let mut walked = steps.concat();
        walked.sort_unstable();
        assert_eq!(walked, left.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        let (mut walk, mut walked, mut is_last) = (Walk::default(), vec![], false);
        while !is_last {
            let (next, last) = walk.next_rows(&rows, 600);
            assert!(last || next.len() >= 600);
            walked.extend(next.into_iter().map(|(key, n)| (key, *n)));
            is_last = last;
        }
        walked.sort_unstable();
        assert_eq!(walked, left);
        let largest = rows.parts.iter().map(HashMap::len).max();
        assert!(largest < Some(1_000), "the keys are spread: {largest:?}");
    }
}

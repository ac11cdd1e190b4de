//! A hash map whose rows never move. Tests: below.
//! A hash table that grows moves all its rows, and everything waits for the lock of the books meanwhile: 17 ms with 400,000 grants. Here
//! the rows are in blocks, and hash tables have only their places. Each of 64 such tables grows by itself. The rows of a new table are in
//! the order in which they came, so reading all of them reads memory in its order, which takes a fraction of the time.

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Formatter};
use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

/// How many hash tables there are: two to the power of this.
const PART_BITS: u32 = 6;
/// How many rows a block has at most.
const BLOCK: usize = 1 << 10;

/// See the module's description.
#[derive(Clone)]
pub struct Shards<K, V> {
    places: Vec<HashTable<Place>>,
    hasher: RandomState,
    blocks: Blocks<K, V>,
}

/// Where a row is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// [`BLOCK`] times the number of its block, plus its place there.
    row: u32,
    /// Half of the hash of its key, so that a hash table grows without reading the rows.
    hash: u32,
}

impl Place {
    fn row(self) -> usize {
        usize::try_from(self.row).unwrap_or(usize::MAX)
    }

    /// The hash in its hash table. A hash table uses the lowest and the highest bits.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << u32::BITS | u64::from(hash)
    }
}

#[derive(Clone, Debug)]
struct Blocks<K, V> {
    all: Vec<Block<K, V>>,
    /// The numbers of the blocks that have room.
    open: BTreeSet<usize>,
}

/// A block without rows takes no memory.
#[derive(Clone, Debug)]
struct Block<K, V> {
    rows: Vec<Option<(K, V)>>,
    /// The places of rows that were removed.
    free: Vec<usize>,
}

/// The rows in the order of their keys, so that equal tables look equal.
impl<K: Debug + Ord, V: Debug> Debug for Shards<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.blocks.from(0).map(|(_, (key, value))| (key, value)).collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        f.debug_map().entries(rows).finish()
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let places = vec![HashTable::new(); 1 << PART_BITS];
        Self { places, hasher: RandomState::new(), blocks: Blocks { all: vec![], open: BTreeSet::new() } }
    }
}

impl<K, V> Blocks<K, V> {
    fn get(&self, place: Place) -> Option<&(K, V)> {
        self.all.get(place.row() / BLOCK)?.rows.get(place.row() % BLOCK)?.as_ref()
    }

    fn get_mut(&mut self, place: Place) -> Option<&mut V> {
        let block = self.all.get_mut(place.row() / BLOCK)?;
        block.rows.get_mut(place.row() % BLOCK)?.as_mut().map(|(_, value)| value)
    }

    /// Adds a row, and returns its place.
    fn add(&mut self, key: K, value: V, hash: u32) -> Place {
        let number = self.open.first().copied().unwrap_or(self.all.len());
        if number == self.all.len() {
            self.all.push(Block { rows: vec![], free: vec![] });
            self.open.insert(number);
        }
        let Block { rows, free } = &mut self.all[number];
        let within = free.pop().unwrap_or(rows.len());
        if within == rows.len() {
            rows.reserve_exact(BLOCK.saturating_sub(within));
            rows.push(None);
        }
        rows[within] = Some((key, value));
        if rows.len() == BLOCK && free.is_empty() {
            self.open.remove(&number);
        }
        let row = number.saturating_mul(BLOCK).saturating_add(within);
        Place { row: u32::try_from(row).expect("memory ends before"), hash }
    }

    /// Removes the row at a place.
    fn take(&mut self, place: Place) -> Option<V> {
        let place = place.row();
        let block = self.all.get_mut(place / BLOCK)?;
        let (_, value) = block.rows.get_mut(place % BLOCK)?.take()?;
        block.free.push(place % BLOCK);
        if block.free.len() == block.rows.len() {
            *block = Block { rows: vec![], free: vec![] };
        }
        self.open.insert(place / BLOCK);
        Some(value)
    }

    /// The rows from a place on, with their places.
    fn from(&self, place: usize) -> impl Iterator<Item = (usize, &(K, V))> {
        let blocks = self.all.iter().enumerate().skip(place / BLOCK);
        blocks.flat_map(move |(number, block)| {
            let first = number.saturating_mul(BLOCK);
            let rows = block.rows.iter().enumerate().skip(place.saturating_sub(first));
            rows.filter_map(move |(within, row)| Some((first.saturating_add(within), row.as_ref()?)))
        })
    }
}

impl<K: Eq + Hash, V> Shards<K, V> {
    /// The number of the hash table that has this key, and the half of its hash that is kept there.
    fn hash(&self, key: &K) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        let part = usize::try_from(hash >> (u64::BITS - PART_BITS)).unwrap_or(0);
        (part, u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(0))
    }

    fn place(&self, key: &K) -> Option<Place> {
        let (part, hash) = self.hash(key);
        let has_key = |place: Place| self.blocks.get(place).is_some_and(|(found, _)| found == key);
        self.places[part].find(Place::spread(hash), |place| place.hash == hash && has_key(*place)).copied()
    }

    /// Adds the row of a key that has none.
    fn add(&mut self, key: K, value: V) -> Place {
        let (part, hash) = self.hash(&key);
        let place = self.blocks.add(key, value, hash);
        self.places[part].insert_unique(Place::spread(hash), place, |place| Place::spread(place.hash));
        place
    }

    /// The row of this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.blocks.get(self.place(key)?).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.blocks.get_mut(self.place(key)?)
    }

    /// The row of this key, which is made if there is none.
    ///
    /// # Panics
    /// Never: a key has a row at its place.
    pub fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = self.place(&key).unwrap_or_else(|| self.add(key, V::default()));
        self.blocks.get_mut(place).expect("a key has a row at its place")
    }

    /// Whether there is a row with this key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    /// Adds or replaces a row. Returns the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(place) = self.place(&key) else {
            self.add(key, value);
            return None;
        };
        self.blocks.get_mut(place).map(|row| std::mem::replace(row, value))
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key)?;
        let (part, hash) = self.hash(key);
        let is_it = |other: &Place| other.row == place.row;
        self.places[part].find_entry(Place::spread(hash), is_it).ok()?.remove();
        self.blocks.take(place)
    }

    /// Removes the rows that do not pass.
    pub fn retain(&mut self, is_kept: impl Fn(&V) -> bool) {
        for places in &mut self.places {
            places.retain(|place| {
                let stays = self.blocks.get(*place).is_some_and(|(_, value)| is_kept(value));
                if !stays {
                    drop(self.blocks.take(*place));
                }
                stays
            });
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.places.iter().map(HashTable::len).fold(0, usize::saturating_add)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows. In a table without removed rows, they are in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.blocks.from(0).map(|(_, (key, value))| (key, value))
    }

    /// All rows, to change them. The keys have no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        let rows = self.blocks.all.iter_mut().flat_map(|block| block.rows.iter_mut().flatten());
        rows.map(|(key, value)| (&*key, value))
    }
}

/// A walk through the rows of a table that changes meanwhile. It returns each row that is there all the time exactly once.
#[derive(Debug, Default)]
pub struct Walk {
    /// The rows before this place were returned, if they were there.
    next: usize,
}

impl Walk {
    /// The next rows: `most`, or fewer if these are the last ones.
    pub fn next<'a, K, V>(&mut self, table: &'a Shards<K, V>, most: usize) -> Vec<&'a (K, V)> {
        let mut found = Vec::with_capacity(most);
        for (place, row) in table.blocks.from(self.next).take(most) {
            self.next = place.saturating_add(1);
            found.push(row);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u32) -> Shards<u32, u32> {
        let mut table = Shards::default();
        (0..rows).for_each(|n| _ = table.insert(n, n));
        table
    }

    #[test]
    fn rows_are_added_replaced_removed_and_walked_through() {
        let mut rows = table(10_000);
        assert_eq!((rows.len(), rows.get(&7), rows.get(&10_000)), (10_000, Some(&7), None));
        assert_eq!((rows.insert(7, 8), rows.remove(&7), rows.remove(&7)), (Some(7), Some(8), None));
        rows.retain(|n| n.is_multiple_of(2));
        rows.iter_mut().for_each(|(_, n)| *n += 1);
        let left: Vec<_> = rows.iter().map(|(key, n)| (*key, *n)).collect();
        assert_eq!(left, (0..5_000).map(|n| (2 * n, 2 * n + 1)).collect::<Vec<_>>());
        let mut walk = Walk::default();
        let steps = [0; 9].map(|_| walk.next(&rows, 600));
        assert_eq!(steps.each_ref().map(Vec::len), [600, 600, 600, 600, 600, 600, 600, 600, 200]);
        let walked: Vec<_> = steps.concat().into_iter().copied().collect();
        assert_eq!(walked, left);
        assert_eq!(walk.next(&rows, 600), [&(0, 0); 0]);
        let largest = rows.places.iter().map(HashTable::len).max();
        assert!(largest < Some(1_000), "the keys are spread: {largest:?}");
    }

    #[test]
    fn rows_stay_where_they_are_and_what_is_free_is_used_again() {
        let mut rows = table(3_000);
        let mut walk = Walk::default();
        assert_eq!(walk.next(&rows, 1_500).last(), Some(&&(1_499, 1_499)));
        (0..2_000).for_each(|n| _ = rows.remove(&n));
        assert_eq!(rows.blocks.all[0].rows.capacity(), 0, "an empty block takes no memory");
        assert_eq!(walk.next(&rows, 1).first(), Some(&&(2_000, 2_000)));
        (3_000..5_000).for_each(|n| _ = rows.insert(n, n));
        assert_eq!((rows.blocks.all.len(), rows.len()), (3, 3_000));
        let mut met: Vec<_> = walk.next(&rows, 9_000).into_iter().map(|(key, _)| *key).collect();
        met.retain(|key| *key < 3_000);
        assert_eq!(met, (2_001..3_000).collect::<Vec<_>>());
    }
}

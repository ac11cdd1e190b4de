//! A table with a fixed number of rows. A key keeps its own row until the row is idle, so removing the row changes no decision. A
//! network may have at most as many rows as are still free; the network of a whole provider may have 64 times as many. Further
//! keys of a network with that many rows share a few rows. So a flood of addresses cannot enlarge the table, affects no earlier client, and
//! leaves rows for clients of other networks.
//!
//! If `n` networks flood the table, about one row in `n + 1` stays free. If a whole provider's network does, one row in 65
//! stays free. A flood from hundreds of providers can fill the table. Then all new clients share rows.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

/// Rows that are shared by keys without a row of their own.
pub const SHARED_ROWS: u64 = 1_024;
/// How many of the [`SHARED_ROWS`] the clients of one full network share.
pub const SHARED_ROWS_OF_NETWORK: u64 = 16;
/// Minimum time between two searches for idle rows. A search visits every row.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What a table keeps for one client. A new row is as [`Default`] makes it.
pub trait Row: Default {
    /// Whether forgetting the row changes nothing.
    fn is_idle(&self, now: Duration) -> bool;
}

/// What identifies a row.
pub(crate) trait Key: Copy + Eq + Hash {
    /// The networks around the key whose rows are counted, the widest first. The number with a network says how many times the number of
    /// free rows the network may have.
    fn networks(self) -> impl Iterator<Item = (Self, usize)>;
}

/// The number of the server key that names a user, and the hash of the name. The key is the network around its users. Zero: no key.
impl Key for (u64, u64) {
    fn networks(self) -> impl Iterator<Item = (Self, usize)> {
        let (by, _) = self;
        (by > 0).then_some(((by, 0), 1)).into_iter()
    }
}

/// A row that counts for a client.
#[derive(Debug)]
pub struct Visit<'a, T> {
    /// The row.
    pub row: &'a mut T,
    /// How many times the allowance of one client the row has.
    pub factor: u32,
    /// Whether others share the row, because the table has no place for one more.
    pub is_shared: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Table<K, T> {
    rows: HashMap<K, T>,
    pub(crate) rows_max: usize,
    /// Rows in each network that has any.
    counts: HashMap<K, usize>,
    shared: HashMap<u64, T>,
    /// A hash with a random key, so that a client cannot choose the clients with which it shares a row.
    hasher: RandomState,
    last_sweep: Option<Duration>,
}

impl<K: Key, T: Row> Table<K, T> {
    pub(crate) fn new(rows_max: usize) -> Self {
        Self {
            rows: HashMap::new(),
            rows_max,
            counts: HashMap::new(),
            shared: HashMap::new(),
            hasher: RandomState::new(),
            last_sweep: None,
        }
    }

    /// The row of a key: its own, which is new if the table has place for it, or one that it shares with others.
    pub(crate) fn visit(&mut self, key: K, factor: u32, now: Duration) -> Visit<'_, T> {
        let shared_row = if self.rows.contains_key(&key) { None } else { self.admit(key, now).err() };
        let row = match shared_row {
            None => self.rows.entry(key).or_default(),
            Some(number) => self.shared.entry(number).or_default(),
        };
        Visit { row, factor, is_shared: shared_row.is_some() }
    }

    /// Counts a new row. If there is no place for it, first removes idle rows, at most once each [`SWEEP_PAUSE`]. `Err`: there is still no
    /// place, so the key has the shared row with this number.
    fn admit(&mut self, key: K, now: Duration) -> Result<(), u64> {
        let may_sweep = self.last_sweep.is_none_or(|last| now.saturating_sub(last) >= SWEEP_PAUSE);
        if self.full(key).is_some() && may_sweep {
            self.sweep(now);
        }
        if let Some(full) = self.full(key) {
            // A full network has a group of shared rows, and a key one row of this group.
            let group = self.hasher.hash_one(full) % (SHARED_ROWS / SHARED_ROWS_OF_NETWORK);
            let within = self.hasher.hash_one(key) % SHARED_ROWS_OF_NETWORK;
            return Err(group * SHARED_ROWS_OF_NETWORK + within);
        }
        for (network, _) in key.networks() {
            *self.counts.entry(network).or_default() += 1;
        }
        Ok(())
    }

    /// The widest network around the key that may not have another row. If no row is free, that is the widest of all, or the key itself if
    /// no network is around it. `None` if the key can have a row.
    fn full(&self, key: K) -> Option<K> {
        let free = self.rows_max.saturating_sub(self.rows.len());
        let is_full = |(network, times): &(K, usize)| {
            self.counts.get(network).copied().unwrap_or(0) >= free.saturating_mul(*times)
        };
        // The widest network comes first, so all clients in it share the same few rows.
        match key.networks().find(is_full) {
            Some((network, _)) => Some(network),
            None if free == 0 => Some(key),
            None => None,
        }
    }

    /// Removes idle rows.
    pub(crate) fn sweep(&mut self, now: Duration) {
        let counts = &mut self.counts;
        self.rows.retain(|key, row| {
            let stays = !row.is_idle(now);
            if !stays {
                for (network, _) in key.networks() {
                    counts.entry(network).and_modify(|count| *count -= 1);
                }
            }
            stays
        });
        self.counts.retain(|_, count| *count > 0);
        self.shared.retain(|_, row| !row.is_idle(now));
        if self.rows.len() < self.rows.capacity() / 4 {
            self.rows.shrink_to_fit();
            self.counts.shrink_to_fit();
        }
        self.last_sweep = Some(now);
    }

    /// The number of keys with a row of their own.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The key of a user.
    pub(crate) fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

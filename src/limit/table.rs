//! The table of clients of one address family, with a fixed number of rows. A client keeps its own row until its bucket has
//! refilled, so removing the row changes no decision. A prefix may have at most as many rows as are still free; the network
//! of a whole provider may have 64 times as many. Further clients of such a prefix share a few rows. So a flood of addresses
//! cannot enlarge the table, affects no earlier client, and leaves rows for clients of other prefixes.
//!
//! If `n` prefixes flood the table, about one row in `n + 1` stays free. If a whole provider's network does, one row in 65
//! stays free. A flood from hundreds of providers can fill the table. Then all new clients share rows.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::client::ClientKey;

/// Rows that are shared by those clients of one address family that have no row of their own.
pub const SHARED_ROWS: u64 = 1_024;
/// How many of these rows the clients of one full prefix share.
pub const SHARED_ROWS_OF_PREFIX: u64 = 16;
/// Minimum time between two searches for idle rows. A search visits every row.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The prefix lengths for which rows are counted. The second number is how many times the number of free rows one such prefix
/// may have. The wider prefix is the network of a whole provider: a flood from a few of its customers must not lock out the
/// others.
const IPV4_LEVELS: [(u8, usize); 2] = [(16, 1), (8, 64)];
const IPV6_LEVELS: [(u8, usize); 2] = [(48, 1), (32, 64)];

/// The limiter's row for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// The row of one client.
    Own(ClientKey),
    /// One of [`SHARED_ROWS`] rows.
    Shared {
        /// Whether the clients of this row have IPv4 addresses.
        ipv4: bool,
        /// The number of the row.
        number: u64,
    },
    /// The row of one user.
    User(u64),
    /// One of [`SHARED_ROWS`] rows that users share.
    SharedByUsers(u64),
}

impl Row {
    /// Whether several share the row.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Shared { .. } | Self::SharedByUsers(_))
    }
}

/// The table of clients.
#[derive(Debug)]
pub struct ClientTable {
    /// When each client was last seen.
    rows: HashMap<ClientKey, Instant>,
    rows_max: usize,
    /// Rows in each prefix that has any.
    counts: HashMap<ClientKey, usize>,
    /// How long a bucket takes to refill from empty.
    refill: Duration,
    /// A hash with a random key, so that a client cannot choose the clients with which it shares a row.
    hasher: RandomState,
    last_sweep: Option<Instant>,
}

impl ClientTable {
    /// An empty table of at most `rows_max` rows.
    #[must_use]
    pub fn new(rows_max: usize, refill: Duration) -> Self {
        Self {
            rows: HashMap::new(),
            rows_max,
            counts: HashMap::new(),
            refill,
            hasher: RandomState::new(),
            last_sweep: None,
        }
    }

    /// The row of `client`, seen now.
    pub fn row(&mut self, client: ClientKey, now: Instant) -> Row {
        if let Some(last_seen) = self.rows.get_mut(&client) {
            *last_seen = now;
            return Row::Own(client);
        }
        let mut full_prefix = self.full_prefix(client);
        if full_prefix.is_some() && self.may_sweep(now) {
            self.sweep(now);
            full_prefix = self.full_prefix(client);
        }
        if let Some(prefix) = full_prefix {
            return self.shared(prefix, client);
        }
        self.rows.insert(client, now);
        for prefix in prefixes(client) {
            *self.counts.entry(prefix).or_default() += 1;
        }
        Row::Own(client)
    }

    /// Removes clients whose buckets have refilled.
    pub fn sweep(&mut self, now: Instant) {
        let Self { rows, counts, refill, .. } = self;
        rows.retain(|client, last_seen| {
            let stays = now.saturating_duration_since(*last_seen) < *refill;
            if !stays {
                uncount(counts, *client);
            }
            stays
        });
        shrink(rows);
        shrink(counts);
        self.last_sweep = Some(now);
    }

    /// Rows in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The prefix around `client` that may not have another row; the client itself if no row is free. `None` if `client` can
    /// have a row.
    fn full_prefix(&self, client: ClientKey) -> Option<ClientKey> {
        let free = self.rows_max.saturating_sub(self.rows.len());
        let if_full = |(bits, times): &(u8, usize)| {
            let prefix = client.within(*bits)?;
            let taken = self.counts.get(&prefix).copied().unwrap_or(0);
            (taken >= free.saturating_mul(*times)).then_some(prefix)
        };
        // The widest first, so that all clients in it share the same few rows.
        levels(client).iter().rev().find_map(if_full).or((free == 0).then_some(client))
    }

    fn shared(&self, prefix: ClientKey, client: ClientKey) -> Row {
        let group = self.hasher.hash_one(prefix) % (SHARED_ROWS / SHARED_ROWS_OF_PREFIX);
        let within = self.hasher.hash_one(client) % SHARED_ROWS_OF_PREFIX;
        Row::Shared { ipv4: client.is_ipv4(), number: group * SHARED_ROWS_OF_PREFIX + within }
    }

    fn may_sweep(&self, now: Instant) -> bool {
        self.last_sweep.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP_PAUSE)
    }
}

const fn levels(client: ClientKey) -> &'static [(u8, usize)] {
    if client.is_ipv4() { &IPV4_LEVELS } else { &IPV6_LEVELS }
}

/// The prefixes around `client` in which its row is counted.
fn prefixes(client: ClientKey) -> impl Iterator<Item = ClientKey> {
    levels(client).iter().filter_map(move |(bits, _)| client.within(*bits))
}

fn uncount(counts: &mut HashMap<ClientKey, usize>, client: ClientKey) {
    for prefix in prefixes(client) {
        if let Some(count) = counts.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&prefix);
            }
        }
    }
}

fn shrink<V>(map: &mut HashMap<ClientKey, V>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to_fit();
    }
}

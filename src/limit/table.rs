//! The rate limiter's table of clients, with a fixed number of rows. A client keeps its own row until its bucket has refilled,
//! so removing the row changes no decision. When all rows are in use, further clients share a few rows. So a flood of
//! addresses costs no memory and does not affect earlier clients.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Rows that clients share when the table is full.
pub const SHARED_ROWS: u64 = 1_024;
/// Minimum time between two searches of a full table for idle rows. A search visits every row.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The limiter's row for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// The row of one client: its address, IPv6 cut to the prefix.
    Own(IpAddr),
    /// One of [`SHARED_ROWS`] rows that clients share when the table is full.
    Shared(u64),
    /// The row of one renewal, by the serial number of its right. It is used once, so a renewal is never over the rate.
    Renewal(u64),
}

/// The table of clients.
#[derive(Debug)]
pub struct ClientTable {
    /// When each client was last seen.
    rows: HashMap<IpAddr, Instant>,
    rows_max: usize,
    /// How long a bucket takes to refill from empty.
    refill: Duration,
    /// A hash with a random key, so that a client cannot choose the clients with which it shares a row.
    hasher: RandomState,
    last_sweep: Option<Instant>,
}

impl ClientTable {
    /// An empty table of at most `rows_max` rows.
    #[must_use]
    pub fn new(rows_max: NonZeroUsize, refill: Duration) -> Self {
        Self {
            rows: HashMap::new(),
            rows_max: rows_max.get(),
            refill,
            hasher: RandomState::new(),
            last_sweep: None,
        }
    }

    /// The row of `client`, seen now.
    pub fn row(&mut self, client: IpAddr, now: Instant) -> Row {
        if let Some(last_seen) = self.rows.get_mut(&client) {
            *last_seen = now;
            return Row::Own(client);
        }
        if self.rows.len() >= self.rows_max && self.may_sweep(now) {
            self.sweep(now);
        }
        if self.rows.len() >= self.rows_max {
            return Row::Shared(self.hasher.hash_one(client) % SHARED_ROWS);
        }
        self.rows.insert(client, now);
        Row::Own(client)
    }

    /// Removes clients whose buckets have refilled.
    pub fn sweep(&mut self, now: Instant) {
        let refill = self.refill;
        self.rows.retain(|_, last_seen| now.saturating_duration_since(*last_seen) < refill);
        if self.rows.len() < self.rows.capacity() / 4 {
            self.rows.shrink_to_fit();
        }
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

    fn may_sweep(&self, now: Instant) -> bool {
        self.last_sweep.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFILL: Duration = Duration::from_secs(300);

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn start() -> Instant {
        Instant::now()
    }

    fn client(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn full(now: Instant) -> ClientTable {
        let mut table = ClientTable::new(NonZeroUsize::new(100).unwrap(), REFILL);
        for n in 0..100 {
            assert_eq!(table.row(client(n), now), Row::Own(client(n)));
        }
        table
    }

    #[test]
    fn a_full_table_keeps_its_clients_and_lets_others_share_rows() {
        let now = start();
        let mut table = full(now);
        for n in 100..10_000 {
            assert!(matches!(table.row(client(n), now), Row::Shared(row) if row < SHARED_ROWS));
        }
        assert_eq!(table.len(), 100);
        assert_eq!(table.row(client(7), now), Row::Own(client(7)));
    }

    #[test]
    fn a_client_without_its_own_row_always_shares_the_same_row() {
        let now = start();
        let mut table = full(now);
        assert_eq!(table.row(client(500), now), table.row(client(500), now));
    }

    #[test]
    fn rows_whose_buckets_have_refilled_are_reused() {
        let now = start();
        let mut table = full(now);
        let later = (now + REFILL).checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(table.row(client(7), later), Row::Own(client(7)), "seen again");
        let refilled = now + REFILL;
        assert_eq!(table.row(client(500), refilled), Row::Own(client(500)));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_full_table_is_not_searched_for_every_new_client() {
        let now = start();
        let mut table = full(now);
        let _ = table.row(client(500), now);
        let swept = table.last_sweep;
        let _ = table.row(client(501), (now + SWEEP_PAUSE).checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(table.last_sweep, swept);
        let _ = table.row(client(502), now + SWEEP_PAUSE);
        assert_ne!(table.last_sweep, swept);
    }
}

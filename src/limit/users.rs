//! The rows of users. A row is a hash of the user with a random key, so it has a fixed size and nobody can choose two users with
//! the same one. The table has a fixed number of rows. When it is full, further users share a few: each of them has signed in, so a
//! flood of users is the work of the application itself.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::table::{Row, SHARED_ROWS};

/// Minimum time between two searches for idle rows. A search visits every row.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The table of users.
#[derive(Debug)]
pub struct UserTable {
    /// When each user was last seen.
    rows: HashMap<u64, Instant>,
    rows_max: usize,
    /// How long a bucket takes to refill from empty.
    refill: Duration,
    hasher: RandomState,
    last_sweep: Option<Instant>,
}

impl UserTable {
    /// An empty table of at most `rows_max` rows.
    #[must_use]
    pub fn new(rows_max: usize, refill: Duration) -> Self {
        Self { rows: HashMap::new(), rows_max, refill, hasher: RandomState::new(), last_sweep: None }
    }

    /// The row of `user`, seen now.
    pub fn row(&mut self, user: &str, now: Instant) -> Row {
        let hash = self.hasher.hash_one(user);
        let may_sweep = self.last_sweep.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP_PAUSE);
        if !self.rows.contains_key(&hash) && self.rows.len() >= self.rows_max && may_sweep {
            self.sweep(now);
        }
        if self.rows.contains_key(&hash) || self.rows.len() < self.rows_max {
            self.rows.insert(hash, now);
            Row::User(hash)
        } else {
            Row::SharedByUsers(hash % SHARED_ROWS)
        }
    }

    /// Removes users whose buckets have refilled.
    pub fn sweep(&mut self, now: Instant) {
        let refill = self.refill;
        self.rows.retain(|_, last_seen| now.saturating_duration_since(*last_seen) < refill);
        if self.rows.len() < self.rows.capacity() / 4 {
            self.rows.shrink_to_fit();
        }
        self.last_sweep = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn a_user_keeps_its_row_and_a_full_table_lets_others_share_some() {
        let (mut table, now) = (UserTable::new(2, Duration::from_secs(300)), SystemClock.instant());
        let ann = table.row("ann", now);
        assert!(matches!(ann, Row::User(_)) && matches!(table.row("bob", now), Row::User(_)));
        for n in 0..10_000 {
            let row = table.row(&format!("user-{n}"), now);
            assert!(matches!(row, Row::SharedByUsers(number) if number < SHARED_ROWS), "{row:?}");
        }
        assert_eq!((table.row("ann", now), table.rows.len()), (ann, 2));
    }

    #[test]
    fn a_row_is_free_again_once_its_bucket_has_refilled() {
        let (mut table, now) = (UserTable::new(1, Duration::from_secs(300)), SystemClock.instant());
        table.row("ann", now);
        assert!(matches!(table.row("bob", now + Duration::from_secs(299)), Row::SharedByUsers(_)));
        assert!(matches!(table.row("bob", now + Duration::from_secs(300)), Row::User(_)));
    }
}

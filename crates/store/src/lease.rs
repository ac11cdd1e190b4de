//! The lease: for how long a leader may believe that it leads. It begins at the START of the last write that the database has completed,
//! because another replica may have seen nothing change since then. It ends before another replica may stand for election because of
//! silence. A replica that stands because this leader's session has been gone for half a second does not wait for the end of the lease.
//! Until the lease ends, two replicas can each believe that they lead.
//!
//! Nothing in the ledger depends on the lease, because each write is fenced, and no metered credential is answered before its write. The
//! lease only shortens the time in which a leader without a database still answers and acts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a leader may rely on its last write. All times are since boot, which also passes while the machine sleeps.
#[derive(Debug)]
pub struct Lease {
    /// Four fifths of `LEASE_SECONDS`.
    span: Duration,
    /// When the last completed write began. Milliseconds, rounded down.
    began: AtomicU64,
}

impl Lease {
    /// `lease`: `LEASE_SECONDS`. `began`: when the takeover began.
    pub fn new(lease: Duration, began: Duration) -> Self {
        Self { span: lease * 4 / 5, began: AtomicU64::new(millis(began)) }
    }

    /// A write that began at `began` is completed.
    pub fn renew(&self, began: Duration) {
        self.began.fetch_max(millis(began), Ordering::Relaxed);
    }

    /// Whether this process may still act as the leader: no other replica can have replaced it because of silence.
    pub fn holds(&self, now: Duration) -> bool {
        let began = Duration::from_millis(self.began.load(Ordering::Relaxed));
        now.saturating_sub(began) <= self.span
    }
}

/// The slowest write with which a leader that writes all the time keeps its lease: until the next write has ended, the lease counts from the
/// start of this one.
pub fn slowest_write(lease: Duration) -> Duration {
    lease * 2 / 5
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_ends_four_fifths_of_the_setting_after_the_last_write_began() {
        let lease = Lease::new(at(5_000), at(100));
        assert!(lease.holds(at(4_100)) && !lease.holds(at(4_101)));
        assert_eq!(slowest_write(at(5_000)) * 2, at(4_000), "until the end of the next write");
        lease.renew(at(3_000));
        assert!(lease.holds(at(7_000)) && !lease.holds(at(7_001)));
        lease.renew(at(2_000));
        assert!(lease.holds(at(7_000)), "an earlier write changes nothing");
        lease.renew(at(9_000));
        assert!(lease.holds(at(9_000)), "it comes back with the database");
    }
}

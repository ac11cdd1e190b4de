//! One rate for each client address, for what many tasks take from.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use turn_ledger::ClientKey;

use crate::{Bucket, PerAddress, Rate, Spent};

/// A bucket of one rate for each client address and each IPv6 /48, behind a lock.
#[derive(Debug)]
pub struct ClientRate {
    rate: Rate,
    buckets: Mutex<PerAddress<Bucket>>,
}

impl ClientRate {
    /// `clients_max`: clients with a row of their own, half for each address family.
    pub fn new(rate: Rate, clients_max: usize) -> Self {
        Self { rate, buckets: Mutex::new(PerAddress::new(clients_max)) }
    }

    /// Takes `count` tokens from the bucket of a client and from that of its /48, or none from either.
    pub fn take(&self, client: ClientKey, count: u32, now: Duration) -> Result<(), Spent> {
        self.lock()
            .try_each(client, now, |visit| visit.row.take_several(count, self.rate.times(visit.factor), now))
    }

    /// Forgets clients whose bucket is full.
    pub fn sweep(&self, now: Duration) {
        self.lock().sweep(now);
    }

    fn lock(&self) -> MutexGuard<'_, PerAddress<Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_takes_several_at_a_rate_and_a_48_four_times_as_many() {
        let rate = ClientRate::new(Rate::new(20, Duration::from_secs(3)), 100);
        let now = Duration::from_secs(1_000);
        let take =
            |client: &str, count| rate.take(ClientKey::of(client.parse().unwrap()), count, now).is_ok();
        assert!(take("203.0.113.1", 20) && !take("203.0.113.1", 1) && take("203.0.113.2", 20));
        assert!((0..4).all(|net| take(&format!("2001:db8:1:{net}::1"), 20)));
        assert!(!take("2001:db8:1:4::1", 1) && take("2001:db8:2:1::1", 1));
        rate.sweep(now + Duration::from_secs(60));
        assert!(rate.lock().is_empty());
    }
}

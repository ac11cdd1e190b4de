//! One rate for each holder, for what many tasks take from.

use std::time::Duration;

use parking_lot::Mutex;

use crate::bucket::{Rate, Spent};
use crate::holder::Holder;
use crate::per_address::PerHolder;

/// A [`PerHolder`] behind a lock.
#[derive(Debug)]
pub struct ClientRate(Mutex<PerHolder>);

impl ClientRate {
    /// As [`PerHolder::new`].
    pub fn new(rate: Rate, rows_max: usize) -> Self {
        Self(Mutex::new(PerHolder::new(rate, rows_max)))
    }

    /// As [`PerHolder::take`].
    pub fn take(&self, holder: impl Into<Holder>, count: u32, now: Duration) -> Result<(), Spent> {
        self.0.lock().take(holder, count, now)
    }

    /// Forgets those whose bucket is full.
    pub fn sweep(&self, now: Duration) {
        self.0.lock().sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::ClientKey;

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
        assert!(rate.0.lock().is_empty());
    }
}

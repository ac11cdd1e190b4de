//! The relay's rate limits. They bound the timers in the TURN library, and the traffic that a forged source address can direct
//! at a third party.

use std::time::Duration;

use parking_lot::Mutex;
use turn_limits::{Bucket, Rate};

/// Requests that one client has signed; data is not limited. Each permission and each channel keeps a timer for minutes.
pub(crate) const REQUESTS: Rate = Rate::per_second(64, 1);
/// New allocations of all clients. Each can leave a timer behind for half a minute.
const ALLOCATIONS: Rate = Rate::per_second(256, 10);
/// Requests of all addresses without an allocation, and all unsigned ones. Their source address may be forged, and a response
/// can be four times as long as a request.
const UNKNOWN_SENDERS: Rate = Rate::per_second(512, 100);

/// The limits on all clients together.
#[derive(Default)]
pub(crate) struct SharedRates(Mutex<Buckets>);

#[derive(Default)]
struct Buckets {
    allocations: Bucket,
    unknown_senders: Bucket,
}

impl SharedRates {
    /// Charges a request of an unknown sender. Returns whether it may be handled.
    pub(crate) fn admit_unknown(&self, now: Duration) -> bool {
        self.with(|buckets| buckets.unknown_senders.take(UNKNOWN_SENDERS, now))
    }

    /// Whether an allocation may be created. It is charged when the TURN library has created it.
    pub(crate) fn has_room(&self, now: Duration) -> bool {
        let mut as_if = self.with(|buckets| buckets.allocations);
        as_if.take(ALLOCATIONS, now)
    }

    /// Charges the allocation that was created.
    pub(crate) fn spend(&self, now: Duration) {
        let _ = self.with(|buckets| buckets.allocations.take(ALLOCATIONS, now));
    }

    fn with<T>(&self, call: impl FnOnce(&mut Buckets) -> T) -> T {
        call(&mut self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checking_for_room_charges_no_allocation() {
        let rates = SharedRates::default();
        let make = |now| {
            let has_room = rates.has_room(now) && rates.has_room(now);
            if has_room {
                rates.spend(now);
            }
            has_room
        };
        assert_eq!((0..1_000).filter(|_| make(Duration::ZERO)).count(), 256);
        assert!(!rates.has_room(Duration::from_millis(99)));
        let now = Duration::from_millis(100);
        assert!(make(now) && !make(now));
    }
}

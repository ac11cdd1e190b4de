//! The relay's rate limits (GCRA, on the service's clock). They bound the timers in the TURN library, and the traffic that a
//! forged source address can direct at a third party.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// Requests that one client has signed; data is not limited. Each permission and each channel keeps a timer for minutes.
const REQUESTS: Quota = quota(64, 1);
/// New allocations of all clients. Each can leave a timer behind for half a minute.
const ALLOCATIONS: Quota = quota(256, 10);
/// Requests of all addresses without an allocation, and all unsigned ones. Their source address may be forged, and a response
/// can be four times as long as a request.
const UNKNOWN_SENDERS: Quota = quota(512, 100);

/// A limit on the requests of one client, or of all unknown senders together.
pub(super) struct RequestRate<C: GovernorClock = ServiceClock>(
    RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
);

/// The limit on new allocations. It is checked before the TURN library may create one, and charged when the library has
/// created it.
pub(super) struct AllocationRate<C: GovernorClock = ServiceClock> {
    rate: RequestRate<C>,
    /// One allocation was admitted but not created. The next one uses its permission.
    is_held: AtomicBool,
}

/// The service's clock, for the rate limiter.
#[derive(Clone)]
pub(super) struct ServiceClock(Arc<dyn Clock>);

impl GovernorClock for ServiceClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.0.instant()
    }
}

impl RequestRate {
    /// The limit of one client.
    pub(super) fn of_client(clock: &Arc<dyn Clock>) -> Self {
        Self::new(REQUESTS, ServiceClock(Arc::clone(clock)))
    }

    /// The limit of all unknown senders together.
    pub(super) fn of_unknown_senders(clock: &Arc<dyn Clock>) -> Self {
        Self::new(UNKNOWN_SENDERS, ServiceClock(Arc::clone(clock)))
    }
}

impl<C: GovernorClock> RequestRate<C> {
    fn new(quota: Quota, clock: C) -> Self {
        Self(RateLimiter::direct_with_clock(quota, clock))
    }

    /// Charges one request. Returns whether it may be handled.
    pub(super) fn admit(&self) -> bool {
        self.0.check().is_ok()
    }
}

impl AllocationRate {
    pub(super) fn of_relay(clock: &Arc<dyn Clock>) -> Self {
        Self::new(ServiceClock(Arc::clone(clock)))
    }
}

impl<C: GovernorClock> AllocationRate<C> {
    fn new(clock: C) -> Self {
        Self { rate: RequestRate::new(ALLOCATIONS, clock), is_held: AtomicBool::new(false) }
    }

    /// Whether an allocation may be created.
    pub(super) fn has_room(&self) -> bool {
        if !self.is_held.load(Ordering::Acquire) {
            self.is_held.store(self.rate.admit(), Ordering::Release);
        }
        self.is_held.load(Ordering::Acquire)
    }

    /// Charges the allocation that was created.
    pub(super) fn spend(&self) {
        if !self.is_held.swap(false, Ordering::AcqRel) {
            let _ = self.rate.admit();
        }
    }
}

const fn quota(burst: u32, per_second: u32) -> Quota {
    let burst = NonZeroU32::new(burst).expect("a burst is not zero");
    Quota::per_second(NonZeroU32::new(per_second).expect("a rate is not zero")).allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;

    #[test]
    fn a_client_may_send_64_requests_at_once_and_then_one_a_second() {
        let clock = FakeRelativeClock::default();
        let rate = RequestRate::new(REQUESTS, clock.clone());
        for _ in 0..64 {
            assert!(rate.admit());
        }
        assert!(!rate.admit());
        clock.advance(Duration::from_millis(999));
        assert!(!rate.admit());
        clock.advance(Duration::from_millis(1));
        assert!(rate.admit() && !rate.admit());
        clock.advance(Duration::from_secs(3_600));
        assert_eq!((0..200).filter(|_| rate.admit()).count(), 64, "a pause does not enlarge the burst");
    }

    #[test]
    fn checking_for_room_charges_no_allocation() {
        let clock = FakeRelativeClock::default();
        let rate = AllocationRate::new(clock.clone());
        let make = || {
            let has_room = rate.has_room() && rate.has_room();
            if has_room {
                rate.spend();
            }
            has_room
        };
        assert_eq!((0..1_000).filter(|_| make()).count(), 256);
        clock.advance(Duration::from_millis(99));
        assert!(!rate.has_room());
        clock.advance(Duration::from_millis(1));
        assert!(make() && !make());
    }
}

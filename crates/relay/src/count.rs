//! The billed bytes of all allocations between the relay and its clients, TURN framing and STUN included, under a limit. Once
//! the limit is reached, packets are dropped. The packet that reaches it still passes and may cross it, so that the ledger
//! sees a spent budget. Sums only rise.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use turn_ledger::{BilledDirections, ByteCount, Traffic};

/// The billed bytes of all allocations since the process began, and the limit on them.
#[derive(Debug)]
pub(crate) struct Limit {
    directions: BilledDirections,
    billed: AtomicU64,
    top: AtomicU64,
    reached: Notify,
}

impl Limit {
    /// A limit of zero: nothing passes until [`Self::allow`].
    pub(crate) fn new(directions: BilledDirections) -> Self {
        Self { directions, billed: AtomicU64::new(0), top: AtomicU64::new(0), reached: Notify::new() }
    }

    /// Counts a packet to a client. Returns whether it may be sent.
    pub(crate) fn admit_sent(&self, bytes: u64) -> bool {
        let top = self.top.load(Ordering::Acquire);
        let add = |billed: u64| (billed < top).then(|| billed.saturating_add(bytes));
        self.admit(self.billed.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok())
    }

    /// Subtracts an admitted packet that could not be sent.
    pub(crate) fn take_back(&self, bytes: u64) {
        self.billed.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Counts a packet from a client, if that direction is billed. Returns whether it may be forwarded.
    pub(crate) fn admit_received(&self, bytes: u64) -> bool {
        let before = match self.directions {
            BilledDirections::Egress => self.billed.load(Ordering::Acquire),
            BilledDirections::Both => self.billed.fetch_add(bytes, Ordering::AcqRel),
        };
        self.admit(before < self.top.load(Ordering::Acquire))
    }

    /// Returns whether a packet passes. One that is dropped wakes [`Self::until_reached`].
    fn admit(&self, is_open: bool) -> bool {
        if !is_open {
            self.reached.notify_one();
        }
        is_open
    }

    /// Adds bytes seen before a grant was attributed.
    pub(crate) fn add(&self, traffic: Traffic) {
        self.billed.fetch_add(traffic.billed(self.directions).get(), Ordering::AcqRel);
    }

    /// All billed bytes.
    pub(crate) fn billed(&self) -> u64 {
        self.billed.load(Ordering::Acquire)
    }

    /// Allows `more` bytes beyond the first `billed`.
    pub(crate) fn allow(&self, billed: u64, more: ByteCount) {
        self.top.store(billed.saturating_add(more.get()), Ordering::Release);
    }

    /// Waits until a packet is dropped because of the limit.
    pub(crate) async fn until_reached(&self) {
        self.reached.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_that_crosses_the_limit_passes_and_the_next_does_not() {
        let limit = Limit::new(BilledDirections::Egress);
        assert!(!limit.admit_sent(1), "nothing passes before allow");
        limit.allow(0, ByteCount::new(100));
        assert!(limit.admit_sent(99) && limit.admit_received(1_000) && limit.admit_sent(500));
        assert_eq!(limit.billed(), 599);
        assert!(!limit.admit_sent(1) && !limit.admit_received(1));
        assert_eq!(limit.billed(), 599, "a dropped packet is not billed");
        limit.allow(599, ByteCount::new(1));
        assert!(limit.admit_sent(1));
    }

    #[test]
    fn both_directions_count_if_both_are_billed() {
        let limit = Limit::new(BilledDirections::Both);
        limit.allow(0, ByteCount::new(10));
        assert!(limit.admit_received(10));
        assert!(!limit.admit_sent(1));
        limit.add(Traffic::new(1, 2));
        assert_eq!(limit.billed(), 13);
    }

    #[test]
    fn a_packet_that_could_not_be_sent_is_subtracted() {
        let limit = Limit::new(BilledDirections::Egress);
        limit.allow(0, ByteCount::new(10));
        assert!(limit.admit_sent(10));
        limit.take_back(10);
        assert!(limit.admit_sent(10));
    }
}

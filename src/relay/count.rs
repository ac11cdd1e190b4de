//! Bytes between the relay and its clients, TURN framing and STUN included: for each allocation both ways, and what is
//! billed of all of them, held under a ceiling. A packet that meets the ceiling does not pass; the one before it may have
//! crossed it, so that a budget which is reached is seen to be spent. Sums only rise.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use turn_ledger::connection::BilledDirections;
use turn_ledger::period::Period;
use turn_ledger::reading::Reading;
use turn_ledger::traffic::Traffic;
use turn_ledger::units::ByteCount;

/// One allocation's bytes.
#[derive(Debug, Default)]
pub(super) struct Count {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Count {
    /// So many came from its client.
    pub(super) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many went to its client.
    pub(super) fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Both.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic::new(self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

/// What is billed of all allocations since the process began, and up to where more may be.
#[derive(Debug)]
pub(super) struct Ceiling {
    directions: BilledDirections,
    billed: AtomicU64,
    top: AtomicU64,
    reached: Notify,
}

impl Ceiling {
    /// Nothing passes until it is lifted.
    pub(super) fn new(directions: BilledDirections) -> Self {
        Self { directions, billed: AtomicU64::new(0), top: AtomicU64::new(0), reached: Notify::new() }
    }

    /// Whether a packet may go to a client: then it is counted.
    pub(super) fn admit_sent(&self, bytes: u64) -> bool {
        let top = self.top.load(Ordering::Acquire);
        let add = |billed: u64| (billed < top).then(|| billed.saturating_add(bytes));
        let is_open = self.billed.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok();
        if !is_open {
            self.reached.notify_one();
        }
        is_open
    }

    /// A packet that was admitted could not be sent.
    pub(super) fn take_back(&self, bytes: u64) {
        self.billed.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// A packet came from a client: it is counted where that is billed. Whether it may go on.
    pub(super) fn admit_received(&self, bytes: u64) -> bool {
        let before = match self.directions {
            BilledDirections::Egress => self.billed.load(Ordering::Acquire),
            BilledDirections::Both => self.billed.fetch_add(bytes, Ordering::AcqRel),
        };
        let is_open = before < self.top.load(Ordering::Acquire);
        if !is_open {
            self.reached.notify_one();
        }
        is_open
    }

    /// Counts what passed before it was known whose it is.
    pub(super) fn add(&self, traffic: Traffic) {
        self.billed.fetch_add(traffic.billed(self.directions).get(), Ordering::AcqRel);
    }

    /// All that was billed.
    pub(super) fn billed(&self) -> u64 {
        self.billed.load(Ordering::Acquire)
    }

    /// So many bytes may be billed beyond the first `billed`.
    pub(super) fn lift(&self, billed: u64, more: ByteCount) {
        self.top.store(billed.saturating_add(more.get()), Ordering::Release);
    }

    /// Waits until a packet has met the ceiling.
    pub(super) async fn is_reached(&self) {
        self.reached.notified().await;
    }
}

/// What of an ever rising sum belongs to the current period.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeriodSum {
    period: Period,
    bytes: ByteCount,
    /// The sum at the last look.
    seen: u64,
}

impl PeriodSum {
    /// Goes on from the latest count that is known of this source, in a process that has relayed nothing yet.
    pub(super) fn new(latest: Option<Reading>, period: Period) -> Self {
        let bytes = latest.filter(|reading| reading.period == period).map(|reading| reading.granted);
        Self { period, bytes: bytes.unwrap_or_default(), seen: 0 }
    }

    /// The bytes of `period`, when all together is `sum`. What came since the last look belongs to the period that it is
    /// looked at in.
    pub(super) fn look(&mut self, period: Period, sum: u64) -> ByteCount {
        if period != self.period {
            *self = Self { period, bytes: ByteCount::ZERO, seen: self.seen };
        }
        self.bytes = self.bytes.plus(ByteCount::new(sum.saturating_sub(self.seen)));
        self.seen = self.seen.max(sum);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::period::BillingDay;
    use turn_ledger::units::Timestamp;

    fn period(day: i64) -> Period {
        BillingDay::new(1).unwrap().period_at(Timestamp::from_millis(day * 86_400_000))
    }

    #[test]
    fn what_crosses_the_ceiling_passes_and_what_comes_after_does_not() {
        let ceiling = Ceiling::new(BilledDirections::Egress);
        assert!(!ceiling.admit_sent(1), "nothing before it is lifted");
        ceiling.lift(0, ByteCount::new(100));
        assert!(ceiling.admit_sent(99) && ceiling.admit_received(1_000) && ceiling.admit_sent(500));
        assert_eq!(ceiling.billed(), 599);
        assert!(!ceiling.admit_sent(1) && !ceiling.admit_received(1));
        assert_eq!(ceiling.billed(), 599, "what did not pass is not billed");
        ceiling.lift(599, ByteCount::new(1));
        assert!(ceiling.admit_sent(1));
    }

    #[test]
    fn where_both_directions_are_billed_both_count() {
        let ceiling = Ceiling::new(BilledDirections::Both);
        ceiling.lift(0, ByteCount::new(10));
        assert!(ceiling.admit_received(10));
        assert!(!ceiling.admit_sent(1));
        ceiling.add(Traffic::new(1, 2));
        assert_eq!(ceiling.billed(), 13);
    }

    #[test]
    fn what_could_not_be_sent_is_taken_back() {
        let ceiling = Ceiling::new(BilledDirections::Egress);
        ceiling.lift(0, ByteCount::new(10));
        assert!(ceiling.admit_sent(10));
        ceiling.take_back(10);
        assert!(ceiling.admit_sent(10));
    }

    #[test]
    fn a_period_has_its_own_sum() {
        let mut sum = PeriodSum::new(None, period(10));
        assert_eq!(sum.look(period(10), 100), ByteCount::new(100));
        assert_eq!(sum.look(period(10), 100), ByteCount::new(100));
        assert_eq!(sum.look(period(40), 130), ByteCount::new(30));
        assert_eq!(sum.look(period(40), 150), ByteCount::new(50));
    }

    #[test]
    fn a_new_process_goes_on_where_the_ledger_was() {
        let reading = Reading {
            period: period(10),
            as_of: period(10).start,
            granted: ByteCount::new(1_000),
            other: ByteCount::ZERO,
        };
        let mut sum = PeriodSum::new(Some(reading), period(10));
        assert_eq!(sum.look(period(10), 5), ByteCount::new(1_005));
        let mut sum = PeriodSum::new(Some(reading), period(40));
        assert_eq!(sum.look(period(40), 5), ByteCount::new(5), "of another period");
    }
}

//! The bytes of all allocations between the relay and its clients, TURN framing and STUN included, with a limit on the billed bytes.
//! Once the limit is reached, packets are dropped. The packet that reaches the limit still passes and may exceed it, so that the ledger
//! sees a spent budget. Sending a packet and counting it are one step, so a count has exactly what was sent, in total and for each grant.

use std::collections::BTreeMap;

use tokio::sync::Notify;

use crate::prelude::*;
use turn_budget::BilledDirections;

/// What was carried since the last [`Self::take`], and the limit on it.
pub(crate) struct Meter {
    directions: BilledDirections,
    note: Note,
    counts: Mutex<Counts>,
    reached: Notify,
}

#[derive(Default)]
struct Counts {
    billed: ByteCount,
    by_grant: BTreeMap<GrantId, Traffic>,
    /// Packets pass while less than this is billed.
    allowed: ByteCount,
}

impl Meter {
    /// A meter with a limit of zero: nothing passes until [`Self::allow`].
    pub(crate) fn new(directions: BilledDirections, note: Note) -> Self {
        Self { directions, note, counts: Mutex::default(), reached: Notify::new() }
    }

    /// Lets `transmit` send this many bytes to a client with this grant. Bytes that could not be sent are not counted. `None`: the limit is
    /// reached.
    pub(crate) fn send<T, E>(
        &self,
        grant: GrantId,
        bytes: u64,
        transmit: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let mut counts = self.counts.lock();
        if !self.admit(&counts) {
            return None;
        }
        let sent = transmit();
        if sent.is_ok() {
            counts.add(grant, Traffic::new(0, bytes), self.directions);
        }
        Some(sent)
    }

    /// Counts a packet from a client with this grant, also one that arrives after the limit was reached. Returns whether the packet may be
    /// forwarded.
    pub(crate) fn receive(&self, grant: GrantId, bytes: u64) -> bool {
        let mut counts = self.counts.lock();
        let is_admitted = self.admit(&counts);
        counts.add(grant, Traffic::new(bytes, 0), self.directions);
        is_admitted
    }

    /// Counts what passed between the relay and a client before the client had an allocation with this grant.
    pub(crate) fn add(&self, grant: GrantId, traffic: Traffic) {
        self.counts.lock().add(grant, traffic, self.directions);
    }

    /// The billed bytes, and the traffic of each grant, since the last call. What was taken is subtracted from the limit, so as many bytes
    /// as before may still pass.
    pub(crate) fn take(&self) -> (ByteCount, BTreeMap<GrantId, Traffic>) {
        let mut counts = self.counts.lock();
        let allowed = counts.allowed.minus(counts.billed);
        let taken = std::mem::replace(&mut *counts, Counts { allowed, ..Counts::default() });
        (taken.billed, taken.by_grant)
    }

    /// Sets how many bytes may be billed after the last [`Self::take`].
    pub(crate) fn allow(&self, bytes: ByteCount) {
        self.counts.lock().allowed = bytes;
    }

    /// Waits until a packet is dropped because of the limit.
    pub(crate) async fn until_reached(&self) {
        self.reached.notified().await;
    }

    /// Decides whether a packet passes. A packet that does not pass counts as dropped in the metrics, and wakes [`Self::until_reached`].
    fn admit(&self, counts: &Counts) -> bool {
        let is_open = counts.billed < counts.allowed;
        if !is_open {
            (self.note)(Event::Dropped("spent"));
            self.reached.notify_one();
        }
        is_open
    }
}

impl Counts {
    fn add(&mut self, grant: GrantId, traffic: Traffic, directions: BilledDirections) {
        self.billed = self.billed.plus(traffic.billed(directions));
        let sum = self.by_grant.entry(grant).or_default();
        *sum = sum.plus(traffic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANT: GrantId = GrantId::new([1; 16]);

    fn meter(directions: BilledDirections, allowed: u64) -> Meter {
        let meter = Meter::new(directions, Arc::new(|_| {}));
        meter.allow(ByteCount::new(allowed));
        meter
    }

    /// Whether a packet is sent.
    fn sends(meter: &Meter, bytes: u64) -> bool {
        meter.send(GRANT, bytes, || Ok::<_, ()>(())).is_some()
    }

    #[test]
    fn the_packet_that_crosses_the_limit_passes_and_the_next_does_not() {
        let meter = meter(BilledDirections::Egress, 0);
        assert!(!sends(&meter, 1), "nothing passes before allow");
        meter.allow(ByteCount::new(100));
        assert!(sends(&meter, 99) && meter.receive(GRANT, 1_000) && sends(&meter, 500));
        assert!(!sends(&meter, 1) && !meter.receive(GRANT, 1));
        let (billed, by_grant) = meter.take();
        assert_eq!(billed, ByteCount::new(599), "a dropped packet is not billed");
        assert_eq!(by_grant, [(GRANT, Traffic::new(1_001, 599))].into());
        assert!(!sends(&meter, 1), "a count allows nothing");
        meter.allow(ByteCount::new(1));
        assert!(sends(&meter, 1));
    }

    #[test]
    fn a_count_leaves_what_is_left_of_the_limit() {
        let meter = meter(BilledDirections::Egress, 10);
        assert!(sends(&meter, 4));
        meter.take();
        assert!(sends(&meter, 6) && !sends(&meter, 1));
    }

    #[test]
    fn both_directions_count_if_both_are_billed() {
        let meter = meter(BilledDirections::Both, 10);
        assert!(meter.receive(GRANT, 10));
        assert!(!sends(&meter, 1));
        meter.add(GRANT, Traffic::new(1, 2));
        assert_eq!(meter.take(), (ByteCount::new(13), [(GRANT, Traffic::new(11, 2))].into()));
    }

    #[test]
    fn a_packet_that_could_not_be_sent_is_not_counted() {
        let meter = meter(BilledDirections::Egress, 10);
        assert_eq!(meter.send(GRANT, 10, || Err::<(), _>("full")), Some(Err("full")));
        assert_eq!(meter.take(), (ByteCount::ZERO, BTreeMap::new()));
        assert!(sends(&meter, 10));
    }
}

//! A cap on the bytes that a group of connections can claim: the highest rate of a relay, multiplied by the time in
//! which at least one of them was open. Claims above the cap are clamped. So a false report costs the budget no more
//! than real traffic could.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use crate::units::{BitRate, ByteCount, Timestamp};

/// The highest rate of one allocation. Cloudflare documents 50 to 100 Mbps.
pub const RELAY_RATE_MAX: BitRate = BitRate::new(100_000_000);

/// The claims of one grant, or of one connection without a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Allowance {
    /// Connections open now.
    open: u32,
    /// When the first of the open connections was opened. Not used while none is open.
    busy_since: Timestamp,
    /// Milliseconds with at least one open connection before `busy_since`.
    busy_millis: u64,
    /// Bytes accepted so far.
    granted: u64,
}

impl Allowance {
    /// A connection of the group opens.
    pub fn open(&mut self, now: Timestamp) {
        if self.open == 0 {
            self.busy_since = now;
        }
        self.open = self.open.saturating_add(1);
    }

    /// A connection of the group closes.
    pub fn close(&mut self, now: Timestamp) {
        debug_assert!(self.open > 0, "a connection closes once, after it was opened");
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.busy_millis = self.busy_millis.saturating_add(now.millis_since(self.busy_since));
        }
    }

    /// Connections of the group that are open.
    #[must_use]
    pub fn open_count(&self) -> u32 {
        self.open
    }

    /// Accepts a claim, up to what a relay can have carried by `now`. Returns the accepted bytes.
    pub fn take(&mut self, wanted: ByteCount, now: Timestamp) -> ByteCount {
        let open_millis = if self.open > 0 { now.millis_since(self.busy_since) } else { 0 };
        let busy = u128::from(self.busy_millis.saturating_add(open_millis));
        let most = ByteCount::saturating(RELAY_RATE_MAX.over_millis(busy));
        let granted = wanted.min(most.minus(ByteCount::new(self.granted)));
        self.granted = self.granted.saturating_add(granted.get());
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).plus_millis(seconds * 1_000)
    }

    #[test]
    fn connections_of_a_group_share_the_rate_of_one_relay() {
        let mut group = Allowance::default();
        group.open(at(0));
        group.open(at(0));
        let huge = ByteCount::new(u64::MAX);
        assert_eq!(group.take(huge, at(8)), ByteCount::new(100_000_000));
        assert_eq!(group.take(huge, at(8)), ByteCount::ZERO);
        assert_eq!(group.take(huge, at(16)), ByteCount::new(100_000_000));
    }

    #[test]
    fn time_without_an_open_connection_adds_no_allowance() {
        let mut group = Allowance::default();
        group.open(at(0));
        group.close(at(8));
        group.open(at(1_000_000));
        assert_eq!(group.take(ByteCount::new(u64::MAX), at(1_000_000)), ByteCount::new(100_000_000));
    }

    #[test]
    fn a_plausible_claim_is_accepted_in_full() {
        let mut group = Allowance::default();
        group.open(at(0));
        assert_eq!(group.take(ByteCount::new(5_000), at(1)), ByteCount::new(5_000));
    }
}

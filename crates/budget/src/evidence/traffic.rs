//! Bytes between a relay and its clients in both directions, as a pair, so no sum mixes the two. Tests: below.
//! TURN framing and STUN messages are included. Bytes between the relay and peers are not. Arithmetic saturates, as in [`ByteCount`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::names::GrantId;
use crate::promise::BilledDirections;
use crate::units::{BitRate, ByteCount, Timestamp};

/// Bytes between a relay and its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Traffic {
    /// Client → relay.
    pub received: ByteCount,
    /// Relay → client: egress, what a provider bills.
    pub sent: ByteCount,
}

impl Traffic {
    /// Nothing.
    pub const ZERO: Self = Self { received: ByteCount::ZERO, sent: ByteCount::ZERO };

    /// `received` and `sent` bytes, from the relay's point of view.
    pub const fn new(received: u64, sent: u64) -> Self {
        Self { received: ByteCount::new(received), sent: ByteCount::new(sent) }
    }

    /// The bytes of the billed directions.
    pub fn billed(self, directions: BilledDirections) -> ByteCount {
        match directions {
            BilledDirections::Egress => self.sent,
            BilledDirections::Both => self.sent.plus(self.received),
        }
    }

    /// Sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, ByteCount::plus)
    }

    /// Difference, in each direction never below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, ByteCount::minus)
    }

    /// The smaller count in each direction.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        self.zip(other, Ord::min)
    }

    /// This times `part / whole`, each direction rounded up; unchanged if `whole` is zero.
    #[must_use]
    pub fn scaled(self, part: u64, whole: u64) -> Self {
        let scale = |bytes: ByteCount| {
            let product = u128::from(bytes.get()).saturating_mul(u128::from(part));
            if whole == 0 { bytes } else { ByteCount::saturating(product.div_ceil(u128::from(whole))) }
        };
        Self { received: scale(self.received), sent: scale(self.sent) }
    }

    /// Bytes of `rate` in each direction over `millis`.
    pub fn of_rate(rate: BitRate, millis: u64) -> Self {
        let bytes = ByteCount::saturating(rate.over_millis(millis.into()));
        Self { received: bytes, sent: bytes }
    }

    fn zip(self, other: Self, join: impl Fn(ByteCount, ByteCount) -> ByteCount) -> Self {
        Self { received: join(self.received, other.received), sent: join(self.sent, other.sent) }
    }
}

// What a source counted for each grant in a span of time, as one plain value. Tests: `../ledger/src/books/spending/tests/counts.rs`.
// The counts are attributions: the total that the budget charges comes from the source's readings and never from here.

/// How far back a provider is asked for counts by grant. Bytes of earlier time, when the broker did not run, are missing.
pub const COUNTED_WITHIN: Duration = Duration::from_secs(7 * 86_400);

/// What a source counted for each grant in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantCounts {
    /// The first instant of the span.
    pub from: Timestamp,
    /// The first instant after the span.
    pub until: Timestamp,
    /// Bytes by grant. An identifier that is not the id of a grant is in `other`.
    pub by_grant: BTreeMap<GrantId, Traffic>,
    /// Bytes under identifiers that are not the id of a grant, and without an identifier. Bytes of the program's own tests are in
    /// neither field.
    pub other: Traffic,
    /// Whether every identifier of the span is included. Otherwise the source had more than could be asked for, or returned
    /// them in an order in which one could be left out.
    pub is_complete: bool,
    /// Whether the span is settled: it will not be counted again, and its counts are final.
    pub is_final: bool,
    /// When the source answered, in the books' time.
    pub at: Timestamp,
}

/// What became of counts that a source gave for its grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CountsTaken {
    /// All of them count.
    Whole,
    /// The first part of them counts, because there are many. Repeat the call for the next part. What was taken may be written in between.
    InPart,
    /// Nothing has changed.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn egress_is_what_the_relay_sent() {
        let traffic = Traffic::new(3, 40);
        assert_eq!(traffic.billed(BilledDirections::Egress), ByteCount::new(40));
        assert_eq!(traffic.billed(BilledDirections::Both), ByteCount::new(43));
    }

    #[test]
    fn a_share_is_rounded_up_and_a_share_of_zero_parts_is_the_whole() {
        assert_eq!(Traffic::new(10, 9).scaled(1, 3), Traffic::new(4, 3));
        assert_eq!(Traffic::new(10, 9).scaled(7, 0), Traffic::new(10, 9));
        let huge = Traffic::new(u64::MAX, u64::MAX);
        assert_eq!(huge.scaled(u64::MAX, 1), huge);
    }
}

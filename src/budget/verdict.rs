//! May one more credential be minted? A pure decision over the ledger's figures, and the figures themselves.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::period::Period;
use crate::units::{ByteCount, Timestamp};

/// What the ledger knows at one instant. `used <= committed` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The instant, never earlier than any before.
    pub now: Timestamp,
    /// The period that holds it.
    pub period: Period,
    /// The best figure of the bytes billed in this period.
    pub used: ByteCount,
    /// The worst case for the whole period, given the liability rate.
    pub committed: ByteCount,
    /// What may be used in a period.
    pub limit: ByteCount,
}

impl Figures {
    /// How far past the limit the live credentials can still take us, at worst.
    #[must_use]
    pub fn overshoot_bound(&self) -> ByteCount {
        self.committed.minus(self.limit)
    }

    /// Promised beyond what is used.
    #[must_use]
    pub fn reserved(&self) -> ByteCount {
        self.committed.minus(self.used)
    }

    /// Left of the limit, never below zero.
    #[must_use]
    pub fn remaining(&self) -> ByteCount {
        self.limit.minus(self.used)
    }

    /// Whether the limit is reached. A limit of zero is reached from the start.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.used >= self.limit
    }
}

/// The budget is spent: nothing metered is minted before the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The figures that it rests on.
    pub figures: Figures,
}

/// Estimate mode: admits while `used < limit`, and publishes the bound that comes with it.
pub fn decide(figures: Figures) -> Result<(), Refusal> {
    if figures.is_spent() { Err(Refusal { figures }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::period::BillingDay;

    fn figures(used: u64, committed: u64, limit: u64) -> Figures {
        let now = Timestamp::from_millis(0);
        Figures {
            now,
            period: BillingDay::new(1).unwrap().period_at(now),
            used: ByteCount::new(used),
            committed: ByteCount::new(committed),
            limit: ByteCount::new(limit),
        }
    }

    #[test]
    fn the_last_byte_below_the_limit_admits_and_the_limit_itself_refuses() {
        assert!(decide(figures(99, 99, 100)).is_ok());
        assert!(decide(figures(100, 100, 100)).is_err());
        assert!(decide(figures(0, 0, 0)).is_err(), "a limit of zero admits nothing");
    }

    #[test]
    fn promises_alone_do_not_refuse_in_estimate_mode_but_are_published() {
        let promised = figures(10, 250, 100);
        assert!(decide(promised).is_ok());
        assert_eq!(promised.overshoot_bound(), ByteCount::new(150));
        assert_eq!(promised.reserved(), ByteCount::new(240));
    }

    #[test]
    fn what_remains_never_goes_below_zero() {
        assert_eq!(figures(150, 150, 100).remaining(), ByteCount::ZERO);
    }
}

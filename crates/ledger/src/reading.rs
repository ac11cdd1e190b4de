//! A provider's own count of bytes. A reading replaces the estimate of the minutes that it covers. Readings never go
//! down and never reach into the future.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::period::Period;
use crate::trial::Assumption;
use crate::units::{ByteCount, Timestamp};

/// A provider's count of one period's billed bytes, from its start to `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The period that is counted.
    pub period: Period,
    /// The instant up to which all bytes are counted.
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// Other bytes that count against the same limit: those of other TURN keys and of the SFU.
    pub other: ByteCount,
}

/// What happened to a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadingOutcome {
    /// It was accepted.
    Taken,
    /// It belongs to another period than the current one.
    OtherPeriod,
    /// The ledger has a later one.
    Older,
    /// It is lower than an earlier one by more than the sampling margin. It is ignored.
    Fell,
    /// It grew by more than ten times what was promised. It is ignored unless the next one confirms it.
    Doubted,
}

impl ReadingOutcome {
    /// The name in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::OtherPeriod => "other_period",
            Self::Older => "older",
            Self::Fell => "fell",
            Self::Doubted => "doubted",
        }
    }
}

/// A reading with what it showed, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReading {
    /// The latest one.
    pub reading: Reading,
    /// The most that `granted` can really be, given the sampling margin.
    pub at_most: ByteCount,
    /// What was promised in spans of the period that were not observed.
    pub unseen: ByteCount,
    /// How far a count of this period could be from the truth when it was taken, in percent: the highest margin that was configured.
    pub sampling: u32,
    /// Bytes under our credentials as the trial of the assumed rate sees them.
    pub flowed: Option<ByteCount>,
    /// How the assumed rate compares with the readings so far.
    pub assumption: Assumption,
}

/// The provider counts bytes later than the lag, so a reading can release room that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateCounts {
    /// The lag in use instead of the configured one.
    pub lag: Duration,
    /// Whether counts grew with the lag before it. Then the bound does not hold.
    pub grows: bool,
}

impl StoredReading {
    /// The margin of this period if so many percent are configured now: a count keeps the one that it was taken with.
    pub(crate) fn margin_in(&self, period: Period, configured: u32) -> u32 {
        if self.reading.period == period { self.sampling.max(configured) } else { configured }
    }

    /// The most that `granted` can really be if a count may be so many percent from the truth.
    pub(crate) fn at_most(&self, sampling: u32) -> u128 {
        let granted = self.reading.granted.get().into();
        let stored = self.at_most.max(self.reading.granted).get().into();
        // The margin was raised since: what it adds is not limited by what was promised, which is not known any more.
        if self.sampling < sampling { at_most(granted, sampling).max(stored) } else { stored }
    }
}

impl Reading {
    /// Checks a reading against the one before it. The result ends at `now` or earlier, and its total is at least that
    /// of `before`. `sampling` is the margin of error in percent; a smaller decrease is noise. When the operator
    /// replaces the key, bytes move from `granted` to `other`. They count once.
    pub(crate) fn after(
        mut self,
        before: Option<&Self>,
        now: Timestamp,
        sampling: u32,
    ) -> Result<Self, ReadingOutcome> {
        self.as_of = self.as_of.min(now);
        let Some(before) = before else { return Ok(self) };
        if self.as_of < before.as_of {
            return Err(ReadingOutcome::Older);
        }
        let noise = ByteCount::new(before.total()).share_up(sampling);
        if u128::from(self.total()) < u128::from(before.total()).saturating_sub(noise) {
            return Err(ReadingOutcome::Fell);
        }
        if self.total() < before.total() {
            let total = ByteCount::new(before.total());
            self.granted = self.granted.max(before.granted).min(total);
            self.other = total.minus(self.granted);
        }
        Ok(self)
    }

    /// Bytes under our credentials that flowed since `before`. Bytes that moved here from another key did not.
    pub(crate) fn growth_since(&self, before: Option<&Self>) -> ByteCount {
        let Some(before) = before else { return self.granted };
        self.granted.minus(before.granted).min(ByteCount::new(self.total().saturating_sub(before.total())))
    }

    /// The reading that counts no time: all minutes are estimated.
    pub(crate) fn of_nothing(period: Period) -> Self {
        Self { period, as_of: period.start, granted: ByteCount::ZERO, other: ByteCount::ZERO }
    }

    /// Whether it counts no time, because an operator has dropped the reading.
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.as_of <= self.period.start
    }

    /// All bytes.
    pub(crate) fn total(&self) -> u64 {
        self.granted.plus(self.other).get()
    }
}

/// The most that the true count can be if `counted` is too low by up to `percent` of it. Rounded up.
pub(crate) fn at_most(counted: u128, percent: u32) -> u128 {
    let rest = u128::from(100_u32.saturating_sub(percent).max(1));
    counted.saturating_mul(100).div_ceil(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::BillingDay;
    use proptest::prelude::*;

    fn minute(n: u64) -> Timestamp {
        // 2025-01-15T12:00:00Z
        Timestamp::from_millis(1_736_942_400_000).plus_millis(n * 60_000)
    }

    fn reading(n: u64, granted: u64, other: u64) -> Reading {
        let period = BillingDay::new(1).unwrap().period_at(minute(0));
        let (granted, other) = (ByteCount::new(granted), ByteCount::new(other));
        Reading { period, as_of: minute(n), granted, other }
    }

    #[test]
    fn a_reading_never_ends_in_the_future() {
        let taken = reading(10, 5, 0).after(None, minute(3), 0).unwrap();
        assert_eq!(taken.as_of, minute(3));
    }

    #[test]
    fn an_older_or_much_lower_reading_is_ignored() {
        let before = reading(5, 1_000, 1_000);
        let after = |n, granted, other| reading(n, granted, other).after(Some(&before), minute(60), 5);
        assert_eq!(after(4, 3_000, 3_000), Err(ReadingOutcome::Older));
        assert_eq!(after(6, 1_000, 899), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 0, 0), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 1_200, 1_000), Ok(reading(6, 1_200, 1_000)));
    }

    #[test]
    fn a_decrease_within_the_sampling_margin_lowers_no_count() {
        let before = reading(5, 1_000, 1_000);
        let taken = reading(6, 950, 960).after(Some(&before), minute(60), 5);
        assert_eq!(taken, Ok(reading(6, 1_000, 1_000)));
    }

    #[test]
    fn a_sampled_count_may_be_too_low() {
        assert_eq!(at_most(950, 5), 1_000);
        assert_eq!(at_most(951, 5), 1_002, "rounded up");
        assert_eq!(at_most(7, 0), 7);
        assert_eq!(at_most(7, 100), 700, "the result is finite even at 100 %");
    }

    proptest! {
        #[test]
        fn readings_never_go_down(counts in prop::collection::vec((0u64..1 << 40, 0u64..1 << 40, 0u64..100), 1..100)) {
            let mut held: Option<Reading> = None;
            for (granted, other, n) in counts {
                if let Ok(taken) = reading(n, granted, other).after(held.as_ref(), minute(50), 5) {
                    prop_assert!(taken.as_of <= minute(50));
                    if let Some(before) = held {
                        prop_assert!(taken.as_of >= before.as_of);
                        prop_assert!(taken.total() >= before.total());
                        let read = ByteCount::new(granted).plus(ByteCount::new(other)).get();
                        prop_assert_eq!(taken.total(), read.max(before.total()), "no byte counts twice");
                    }
                    held = Some(taken);
                }
            }
        }
    }
}

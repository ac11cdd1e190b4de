//! A provider's own count of bytes. A reading replaces the estimate of the minutes that it covers. Readings never go down
//! and never reach into the future.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use serde::{Deserialize, Serialize};

use crate::period::Period;
use crate::trial::Assumption;
use crate::units::{ByteCount, Timestamp};

/// A provider's count of one period's billed bytes, from its start to `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which period.
    pub period: Period,
    /// Up to when everything is counted.
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// Bytes that count against the same limit, and that nobody promised here: other keys, the SFU.
    pub other: ByteCount,
}

/// What happened to a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadingOutcome {
    /// It counts from now on.
    Taken,
    /// It belongs to another period than the ledger's.
    OtherPeriod,
    /// A later one is known.
    Older,
    /// It is lower than an earlier one by more than sampling explains. It is ignored.
    Fell,
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
        }
    }
}

/// A reading with what it showed, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReading {
    /// The latest one.
    pub reading: Reading,
    /// The most that its bytes under our credentials can be. Zero in a ledger of an older version: then the count itself.
    #[serde(default)]
    pub at_most: ByteCount,
    /// How the assumed rate compares with the readings so far.
    pub assumption: Assumption,
}

impl Reading {
    /// This reading after `before`: cut to the past, and in total no lower than `before`. `sampling`: how far a count may
    /// be from the truth, in percent; a fall within it is noise. When the operator replaces the key, bytes move from
    /// `granted` to `other`. That is no fall, and they count once.
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

    fn total(&self) -> u64 {
        self.granted.plus(self.other).get()
    }
}

/// The most that can have been there if a count is too low by so many percent of the truth, rounded up.
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
    fn no_reading_reaches_into_the_future() {
        let taken = reading(10, 5, 0).after(None, minute(3), 0).unwrap();
        assert_eq!(taken.as_of, minute(3));
    }

    #[test]
    fn an_older_reading_and_one_that_fell_are_ignored() {
        let before = reading(5, 1_000, 1_000);
        let after = |n, granted, other| reading(n, granted, other).after(Some(&before), minute(60), 5);
        assert_eq!(after(4, 3_000, 3_000), Err(ReadingOutcome::Older));
        assert_eq!(after(6, 1_000, 899), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 0, 0), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 1_200, 1_000), Ok(reading(6, 1_200, 1_000)));
    }

    #[test]
    fn a_fall_within_the_sampling_is_noise_and_lowers_nothing() {
        let before = reading(5, 1_000, 1_000);
        let taken = reading(6, 950, 960).after(Some(&before), minute(60), 5);
        assert_eq!(taken, Ok(reading(6, 1_000, 1_000)));
    }

    #[test]
    fn a_sampled_count_stands_for_more_than_it_says() {
        assert_eq!(at_most(950, 5), 1_000);
        assert_eq!(at_most(951, 5), 1_002, "outward");
        assert_eq!(at_most(7, 0), 7);
        assert_eq!(at_most(7, 100), 700, "and never for without end");
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
                        let said = ByteCount::new(granted).plus(ByteCount::new(other)).get();
                        prop_assert_eq!(taken.total(), said.max(before.total()), "and nothing counts twice");
                    }
                    held = Some(taken);
                }
            }
        }
    }
}

//! A provider's own count of bytes. Tests: below.
//! A reading replaces the estimate of the minutes that it covers. Readings never go down and never reach into the future.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::day::DayCount;
use crate::units::slot::Day;
use crate::units::{ByteCount, Timestamp};

/// A provider's count of the billed bytes of one day, from its start to `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The day that is counted.
    pub day: Day,
    /// The instant up to which all its bytes are counted.
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// Other bytes that count against the same limit: those of other TURN keys and of the SFU.
    pub other: ByteCount,
}

/// What a source that is watched here has carried since its last count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The instant up to which all bytes are counted.
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// Those that the source has shown. Only these test the assumed rate; the rest is estimated.
    pub shown: ByteCount,
    /// Other bytes.
    pub other: ByteCount,
    /// Bytes of the period before this one, ours and others, if the last count was before the reset.
    pub before: ByteCount,
    /// Whether the time since the last count was not observed, so that bytes may be missing.
    pub is_after_gap: bool,
}

/// What happened to a reading. The metrics use the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum ReadingOutcome {
    /// It was accepted.
    Taken,
    /// The ledger has a later one of that day, or does not know the source.
    Older,
    /// It is lower than an earlier one by more than the sampling margin. It is ignored.
    Fell,
    /// It grew by more than ten times what was promised. It is ignored unless the next one confirms it.
    Doubted,
    /// Credentials were live, and it shows neither bytes nor a probe. It is ignored.
    Unproven,
}

/// The provider counts bytes later than the lag, so a reading can release room that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateCounts {
    /// The lag in use instead of the configured one.
    pub lag: Duration,
    /// Whether counts grew with the lag before it. Then the bound does not hold.
    pub grows: bool,
}

impl Reading {
    /// Checks a reading against what is known of its day. The result ends at `now` or earlier, and its total is at least the known
    /// one. `sampling` is the margin of error in percent; a smaller decrease is noise. When the operator replaces the key, bytes
    /// move from `granted` to `other`. They count once.
    pub(crate) fn after(
        mut self,
        before: &DayCount,
        now: Timestamp,
        sampling: u32,
    ) -> Result<Self, ReadingOutcome> {
        self.as_of = self.as_of.min(now).min(self.day.end());
        if self.as_of < before.as_of {
            return Err(ReadingOutcome::Older);
        }
        let total = before.total();
        let noise = total.share_up(sampling);
        if u128::from(self.total().get()) < u128::from(total.get()).saturating_sub(noise) {
            return Err(ReadingOutcome::Fell);
        }
        if self.total() < total {
            self.granted = self.granted.max(before.granted).min(total);
            self.other = total.minus(self.granted);
        }
        Ok(self)
    }

    /// Bytes under our credentials that flowed since `before`. Bytes that moved here from another key did not.
    pub(crate) fn growth_since(&self, before: &DayCount) -> ByteCount {
        self.granted.minus(before.granted).min(self.total().minus(before.total()))
    }

    /// All bytes.
    pub(crate) fn total(&self) -> ByteCount {
        self.granted.plus(self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    fn minute(n: u64) -> Timestamp {
        // 2025-01-15T12:00:00Z
        Timestamp::from_millis(1_736_942_400_000).plus_millis(n * 60_000)
    }

    fn reading(n: u64, granted: u64, other: u64) -> Reading {
        let (granted, other) = (ByteCount::new(granted), ByteCount::new(other));
        Reading { day: Day::of(minute(0)), as_of: minute(n), granted, other }
    }

    fn none() -> DayCount {
        DayCount::none(Day::of(minute(0)))
    }

    fn counted(Reading { as_of, granted, other, .. }: Reading) -> DayCount {
        DayCount { as_of, granted, other, ..none() }
    }

    #[test]
    fn a_reading_never_ends_in_the_future() {
        let taken = reading(10, 5, 0).after(&none(), minute(3), 0).unwrap();
        assert_eq!(taken.as_of, minute(3));
    }

    #[test]
    fn an_older_or_much_lower_reading_is_ignored() {
        let before = counted(reading(5, 1_000, 1_000));
        let after = |n, granted, other| reading(n, granted, other).after(&before, minute(60), 5);
        assert_eq!(after(4, 3_000, 3_000), Err(ReadingOutcome::Older));
        assert_eq!(after(6, 1_000, 899), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 0, 0), Err(ReadingOutcome::Fell));
        assert_eq!(after(6, 1_200, 1_000), Ok(reading(6, 1_200, 1_000)));
    }

    #[test]
    fn a_decrease_within_the_sampling_margin_lowers_no_count() {
        let before = counted(reading(5, 1_000, 1_000));
        let taken = reading(6, 950, 960).after(&before, minute(60), 5);
        assert_eq!(taken, Ok(reading(6, 1_000, 1_000)));
    }

    #[test]
    fn readings_never_go_down() {
        for (seed, mut dice) in Dice::cases(256) {
            let mut held = none();
            for _ in 0..100 {
                // Often the counts are near those before.
                let near = |dice: &mut Dice, before: ByteCount| match dice.below(3) {
                    0 => dice.below(1 << 40),
                    _ => before.get() / 100 * (90 + dice.below(20)),
                };
                let (granted, other) = (near(&mut dice, held.granted), near(&mut dice, held.other));
                if let Ok(taken) = reading(dice.below(100), granted, other).after(&held, minute(50), 5) {
                    assert!(taken.as_of <= minute(50) && taken.as_of >= held.as_of, "seed {seed}");
                    let read = ByteCount::new(granted).plus(ByteCount::new(other));
                    assert_eq!(taken.total(), read.max(held.total()), "no byte counts twice, seed {seed}");
                    held = counted(taken);
                }
            }
        }
    }
}

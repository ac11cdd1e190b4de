//! A provider's own count of bytes. Tests: below.
//! A reading replaces the estimate of the minutes that it covers. Readings never reach into the future. What a reading releases, raises or
//! ends waits for a second one ([`crate::evidence::agreement`]).

use crate::evidence::DayCount;
use crate::units::{ByteCount, Day, Timestamp};

/// A provider's count of the billed bytes of one day, from its start to `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The day that is counted.
    pub day: Day,
    /// The instant up to which all its bytes are counted.
    pub as_of: Timestamp,
    /// When the provider gave it.
    pub at: Timestamp,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// Other bytes that count against the same limit: those of other TURN keys and of the SFU.
    pub other: ByteCount,
}

/// What a source whose sessions are listed or relayed here has carried since its last count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The instant up to which all bytes are counted.
    pub as_of: Timestamp,
    /// Bytes under credentials that were issued here.
    pub granted: ByteCount,
    /// Whether the source has shown `granted`. Else it is an estimate, and nothing of it is proven.
    pub is_shown: bool,
    /// Other bytes.
    pub other: ByteCount,
    /// Bytes of the period before this one, granted and other, which no other field has. Zero unless the last count was before the reset.
    pub before: ByteCount,
    /// Whether the time since the last count was not observed, so that bytes may be missing.
    pub is_after_gap: bool,
    /// What sessions whose end nobody saw may have relayed beyond their last figures. It stays promised.
    pub lost: ByteCount,
    /// What the sessions that go on may have relayed beyond their last figures: a claim until the next count.
    pub hidden: ByteCount,
}

/// What happened to a reading. The metrics use the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum ReadingOutcome {
    /// It was accepted.
    Taken,
    /// The ledger has a later reading of that day, or does not know the owner.
    Older,
    /// It is lower than two earlier readings by more than the margin. It is ignored.
    Fell,
    /// Credentials were live, but it shows neither bytes nor a probe. It is ignored.
    Unproven,
}

impl Reading {
    /// The same up to `now` and to the end of its day at most. `None` if its day is already counted to a later instant.
    pub fn until(self, now: Timestamp, before: &DayCount) -> Option<Self> {
        let as_of = self.as_of.min(now).min(self.day.end());
        (as_of >= before.as_of).then_some(Self { as_of, ..self })
    }

    /// Whether it is lower than a total by more than the margin of error, `sampling` percent.
    pub fn is_lower(&self, total: ByteCount, sampling: u32) -> bool {
        u128::from(self.total().get()) < u128::from(total.get()).saturating_sub(total.share_up(sampling))
    }

    /// The same with no fewer bytes than `total`, a known count of its day: a small decrease is noise. `granted`: the part of it under our
    /// credentials. Only the total cannot fall. If neither part could fall either, bytes that have moved between `granted` and `other` would
    /// count twice.
    #[must_use]
    pub fn at_least(mut self, total: ByteCount, granted: ByteCount) -> Self {
        if self.total() < total {
            self.granted = self.granted.max(granted).min(total);
            self.other = total.minus(self.granted);
        }
        self
    }

    /// Bytes under our credentials that flowed since `before`. Bytes that moved from `other` to `granted` did not flow, so the total bounds
    /// them.
    pub(crate) fn growth_since(&self, before: &DayCount) -> ByteCount {
        self.granted.minus(before.granted).min(self.total().minus(before.total()))
    }

    /// All bytes.
    pub fn total(&self) -> ByteCount {
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
        Reading { day: Day::of(minute(0)), as_of: minute(n), at: minute(n), granted, other }
    }

    fn none() -> DayCount {
        DayCount::none(Day::of(minute(0)))
    }

    fn counted(Reading { as_of, granted, other, .. }: Reading) -> DayCount {
        DayCount { as_of, granted, other, ..none() }
    }

    #[test]
    fn a_reading_never_ends_in_the_future() {
        assert_eq!(reading(10, 5, 0).until(minute(3), &none()).unwrap().as_of, minute(3));
    }

    #[test]
    fn an_older_reading_is_ignored_and_a_much_lower_one_is_noticed() {
        let before = counted(reading(5, 1_000, 1_000));
        assert_eq!(reading(4, 3_000, 3_000).until(minute(60), &before), None);
        for (granted, other, is_lower) in
            [(1_000, 899, true), (1_000, 900, false), (0, 0, true), (1_200, 1_000, false)]
        {
            assert_eq!(
                reading(6, granted, other).is_lower(before.total(), 5),
                is_lower,
                "{granted}, {other}"
            );
        }
    }

    #[test]
    fn a_decrease_within_the_sampling_margin_lowers_no_count() {
        let before = counted(reading(5, 1_000, 1_000));
        assert_eq!(reading(6, 950, 960).at_least(before.total(), before.granted), reading(6, 1_000, 1_000));
    }

    #[test]
    fn no_byte_counts_twice() {
        for (seed, mut dice) in Dice::cases(256) {
            let mut held = none();
            for _ in 0..100 {
                // Often the counts are near those before.
                let near = |dice: &mut Dice, before: ByteCount| match dice.below(3) {
                    0 => dice.below(1 << 40),
                    _ => before.get() / 100 * (90 + dice.below(20)),
                };
                let (granted, other) = (near(&mut dice, held.granted), near(&mut dice, held.other));
                let taken = reading(dice.below(100), granted, other).at_least(held.total(), held.granted);
                let read = ByteCount::new(granted).plus(ByteCount::new(other));
                assert_eq!(taken.total(), read.max(held.total()), "seed {seed}");
                held = counted(taken);
            }
        }
    }
}

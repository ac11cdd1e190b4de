//! The doubt about an absurd count. Tests: below.
//! A count that grows by more than ten times what was promised, and by a tenth of the limit, is accepted only if the next count confirms
//! it. A count never goes down, so one that is accepted stays until the reset.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reading::Reading;
use crate::units::ByteCount;
use crate::units::period::Period;
use crate::units::slot::Day;

/// A count that grows by more than this many times what was promised is absurd.
const ABSURD_FACTOR: u128 = 10;
/// A growth by no more than one part in this many of the limit is never absurd: other keys promise nothing.
const LIMIT_PART: u64 = 10;

/// The counts in doubt, by their day. They are stored, so that a restart neither forgets nor accepts one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CountDoubt {
    first: BTreeMap<Day, ByteCount>,
}

/// Whether these bytes are more than anybody can believe. `promised`: the most that could be relayed, as far as is known.
pub(crate) fn is_absurd(bytes: u64, promised: u128, limit: ByteCount) -> bool {
    u128::from(bytes) > promised.saturating_mul(ABSURD_FACTOR)
        && bytes > limit.get().checked_div(LIMIT_PART).unwrap_or_default()
}

impl CountDoubt {
    /// Whether a reading is accepted. It adds `growth` bytes to what is known of its day; `promised`: the most that the live grants
    /// could relay since. A reading that is not accepted is in doubt from now on, and the next one of that day can confirm it, up to
    /// `sampling` percent lower.
    pub(crate) fn accepts(
        &mut self,
        reading: &Reading,
        growth: u64,
        promised: u128,
        limit: ByteCount,
        sampling: u32,
    ) -> bool {
        let is_absurd = is_absurd(growth, promised, limit);
        let total = reading.total();
        let confirms = |first: ByteCount| {
            u128::from(total.get()) >= u128::from(first.get()).saturating_sub(first.share_up(sampling))
        };
        let is_accepted = !is_absurd || self.first.get(&reading.day).is_some_and(|first| confirms(*first));
        if is_accepted {
            self.first.remove(&reading.day);
        } else {
            self.first.insert(reading.day, total);
        }
        is_accepted
    }

    /// Whether a count of this period waits for its confirmation.
    pub(crate) fn is_open(&self, period: Period) -> bool {
        self.first.keys().any(|day| period.contains(day.start()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;
    use crate::units::period::BillingDay;

    const LIMIT: ByteCount = ByteCount::new(1_000);

    fn period() -> Period {
        // 2025-01-15T12:00:00Z
        BillingDay::new(1).unwrap().period_at(Timestamp::from_millis(1_736_942_400_000))
    }

    fn reading(total: u64) -> Reading {
        let (granted, other) = (ByteCount::new(total), ByteCount::ZERO);
        Reading { day: Day::of(period().start), as_of: period().start, granted, other }
    }

    fn accepts(doubt: &mut CountDoubt, growth: u64, promised: u128) -> bool {
        doubt.accepts(&reading(growth), growth, promised, LIMIT, 5)
    }

    #[test]
    fn a_count_is_absurd_above_ten_times_the_promise_and_a_tenth_of_the_limit() {
        for (growth, promised, is_accepted) in
            [(100, 0, true), (101, 0, false), (500, 50, true), (501, 50, false), (90, 1, true)]
        {
            assert_eq!(accepts(&mut CountDoubt::default(), growth, promised), is_accepted, "{growth}");
        }
    }

    #[test]
    fn only_a_second_count_in_a_row_confirms_the_first() {
        for (second, is_accepted) in [(9_000, true), (1_000, true), (950, true), (949, false), (50, true)] {
            let mut doubt = CountDoubt::default();
            assert!(!accepts(&mut doubt, 1_000, 0));
            assert!(doubt.is_open(period()));
            assert_eq!(accepts(&mut doubt, second, 0), is_accepted, "{second}");
            assert_eq!(doubt.is_open(period()), !is_accepted);
        }
        let mut doubt = CountDoubt::default();
        assert!(!accepts(&mut doubt, 1_000, 0) && accepts(&mut doubt, 50, 0));
        assert!(!accepts(&mut doubt, 1_000, 0), "a plausible count in between ends the doubt");
    }

    #[test]
    fn a_count_of_another_day_confirms_nothing() {
        let mut doubt = CountDoubt::default();
        assert!(!accepts(&mut doubt, 1_000, 0));
        let next = Reading { day: Day::of(reading(0).day.end()), ..reading(1_000) };
        assert!(!doubt.accepts(&next, 1_000, 0, LIMIT, 5));
        assert!(accepts(&mut doubt, 1_000, 0));
    }

    #[test]
    fn a_count_far_below_an_absurd_one_is_confirmed_by_the_next() {
        let mut doubt = CountDoubt::default();
        assert!(!accepts(&mut doubt, 9_000, 0) && !accepts(&mut doubt, 500, 0));
        assert!(accepts(&mut doubt, 500, 0));
    }
}

//! Counts that contradict what is known, and wait until another count confirms them. Tests: below.
//! A count that grows by more than ten times what was promised, and by more than a tenth of the limit, waits for the next count. A count
//! that is lower than an earlier one of its day, by more than the margin, waits for a count an hour later, and for a count of bytes or a
//! probe that were relayed after the first lower count.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::period::Period;
use crate::units::slot::Day;
use crate::units::{ByteCount, Timestamp};

/// A count that grows by more than this many times what was promised is absurd.
const ABSURD_FACTOR: u128 = 10;
/// A growth by no more than one part in this many of the limit is never absurd: nothing is promised for bytes of other TURN keys.
const LIMIT_PART: u64 = 10;
/// A lower count is believed when another count confirms it so much later.
const LOWER_FOR: Duration = Duration::from_secs(3_600);

/// How a count contradicts what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contradiction {
    /// It grew by more than anybody can believe.
    Absurd,
    /// It is lower than an earlier count of its day, by more than the margin.
    Lower,
}

/// The counts that wait, by their day. They are stored, so that a restart neither forgets nor accepts one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CountDoubt {
    /// Of the waiting counts of a day that agree with each other, the first.
    first: BTreeMap<Day, Doubted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Doubted {
    why: Contradiction,
    total: ByteCount,
    since: Timestamp,
}

/// Whether these bytes are more than anybody can believe. `promised`: the most that could be relayed, as far as is known.
pub fn is_absurd(bytes: u64, promised: u128, limit: ByteCount) -> bool {
    u128::from(bytes) > promised.saturating_mul(ABSURD_FACTOR)
        && bytes > limit.get().checked_div(LIMIT_PART).unwrap_or_default()
}

impl CountDoubt {
    /// Whether the count `total` of a day is taken. Otherwise it waits for its confirmation. `why`: how it contradicts what is known;
    /// `None` ends the doubt about this day. `sampling`: a confirmation may be so many percent lower than the first of the waiting counts.
    /// `is_shown_since`: whether bytes or a probe of the time after an instant were counted.
    pub fn accepts(
        &mut self,
        day: Day,
        total: ByteCount,
        why: Option<Contradiction>,
        sampling: u32,
        now: Timestamp,
        is_shown_since: impl Fn(Timestamp) -> bool,
    ) -> bool {
        let Some(why) = why else {
            self.first.remove(&day);
            return true;
        };
        let agrees = |first: &Doubted| {
            let least = u128::from(first.total.get()).saturating_sub(first.total.share_up(sampling));
            first.why == why && u128::from(total.get()) >= least
        };
        let first = self.first.get(&day).copied().filter(agrees);
        let is_confirmed = first.is_some_and(|Doubted { since, .. }| match why {
            Contradiction::Absurd => true,
            Contradiction::Lower => now.since(since) >= LOWER_FOR && is_shown_since(since),
        });
        if is_confirmed {
            self.first.remove(&day);
        } else {
            self.first.insert(day, first.unwrap_or(Doubted { why, total, since: now }));
        }
        is_confirmed
    }

    /// How a waiting count of this period contradicts what is known; `None` if no count waits.
    pub fn of(&self, period: Period) -> Option<Contradiction> {
        let waiting = self.first.iter().filter(|(day, _)| period.contains(day.start()));
        waiting.map(|(_, doubted)| doubted.why).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::period::BillingDay;

    const LIMIT: ByteCount = ByteCount::new(1_000);

    fn noon() -> Timestamp {
        // 2025-01-15T12:00:00Z
        Timestamp::from_millis(1_736_942_400_000)
    }

    fn after(minutes: u64) -> Timestamp {
        noon().plus_millis(minutes * 60_000)
    }

    fn today() -> Day {
        Day::of(noon())
    }

    fn waits(doubt: &CountDoubt) -> bool {
        doubt.of(BillingDay::new(1).unwrap().period_at(noon())).is_some()
    }

    fn accepts_absurd(doubt: &mut CountDoubt, day: Day, total: u64) -> bool {
        let why = is_absurd(total, 0, LIMIT).then_some(Contradiction::Absurd);
        doubt.accepts(day, ByteCount::new(total), why, 5, noon(), |_| false)
    }

    fn accepts_lower(doubt: &mut CountDoubt, total: u64, at: u64, shown_at: u64) -> bool {
        let why = Some(Contradiction::Lower);
        doubt.accepts(today(), ByteCount::new(total), why, 5, after(at), |since| after(shown_at) > since)
    }

    #[test]
    fn a_count_is_absurd_above_ten_times_the_promise_and_a_tenth_of_the_limit() {
        for (growth, promised, is_right) in
            [(100, 0, false), (101, 0, true), (500, 50, false), (501, 50, true), (90, 1, false)]
        {
            assert_eq!(is_absurd(growth, promised, LIMIT), is_right, "{growth}");
        }
    }

    #[test]
    fn only_a_second_count_in_a_row_confirms_an_absurd_one() {
        for (second, is_accepted) in [(9_000, true), (1_000, true), (950, true), (949, false), (50, true)] {
            let mut doubt = CountDoubt::default();
            assert!(!accepts_absurd(&mut doubt, today(), 1_000) && waits(&doubt));
            assert_eq!(accepts_absurd(&mut doubt, today(), second), is_accepted, "{second}");
            assert_eq!(waits(&doubt), !is_accepted);
        }
        let mut doubt = CountDoubt::default();
        assert!(!accepts_absurd(&mut doubt, today(), 1_000) && accepts_absurd(&mut doubt, today(), 50));
        assert!(!accepts_absurd(&mut doubt, today(), 1_000), "a plausible count in between ends the doubt");
        assert!(!accepts_absurd(&mut doubt, Day::of(today().end()), 1_000), "another day confirms nothing");
        assert!(accepts_absurd(&mut doubt, today(), 1_000));
        assert!(!accepts_absurd(&mut doubt, today(), 9_000) && !accepts_absurd(&mut doubt, today(), 500));
        assert!(accepts_absurd(&mut doubt, today(), 500), "one far below the first is confirmed by the next");
    }

    #[test]
    fn two_counts_an_hour_apart_and_bytes_between_them_confirm_a_lower_one() {
        for (total, at, shown_at, is_accepted) in [
            (500, 60, 1, true),
            (475, 60, 1, true),
            (900, 60, 1, true),
            (474, 60, 1, false),
            (500, 59, 1, false),
            (500, 60, 0, false),
        ] {
            let mut doubt = CountDoubt::default();
            assert!(!accepts_lower(&mut doubt, 500, 0, 0) && waits(&doubt));
            assert!(!accepts_lower(&mut doubt, 500, 30, 1), "it still waits since the first");
            assert_eq!(
                accepts_lower(&mut doubt, total, at, shown_at),
                is_accepted,
                "{total}, {at}, {shown_at}"
            );
            assert_eq!(waits(&doubt), !is_accepted);
        }
    }
}

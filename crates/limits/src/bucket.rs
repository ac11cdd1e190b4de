//! A token bucket: a burst after a time of silence, and a rate in the long run. All it holds is the instant at which it is full
//! again (GCRA), so forgetting a full bucket changes nothing.

use std::time::Duration;

use crate::table::Row;

/// How much a bucket holds and how fast it refills. The unit is that of what is taken: requests, messages, KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most at once.
    pub burst: u32,
    /// The time in which one unit refills.
    pub each: Duration,
}

impl Rate {
    /// `burst` at once, and `per_second` more each second.
    ///
    /// # Panics
    ///
    /// If `per_second` is 0.
    pub const fn per_second(burst: u32, per_second: u32) -> Self {
        let each = Duration::from_secs(1).checked_div(per_second).expect("`per_second` is at least 1");
        Self { burst, each }
    }

    /// `factor` times the burst, which refills `factor` times as fast.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        Self { burst: self.burst.saturating_mul(factor), each: self.each / factor.max(1) }
    }
}

/// What is left of a [`Rate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Duration,
}

/// The bucket does not hold as many units as were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Time until the bucket holds that many. Has no meaning if that is more than a burst: no bucket ever holds so many.
    pub next: Duration,
    /// Time until the bucket is full.
    pub full: Duration,
}

impl Bucket {
    /// Takes one unit. `false` if the bucket is empty.
    #[must_use]
    pub fn take(&mut self, rate: Rate, now: Duration) -> bool {
        self.take_several(1, rate, now).is_ok()
    }

    /// Takes `count` units at once, or nothing.
    pub fn take_several(&mut self, count: u32, rate: Rate, now: Duration) -> Result<(), Spent> {
        let full_at = self.full_at.max(now);
        let after = full_at.saturating_add(rate.each.saturating_mul(count));
        // An empty bucket is full after `each * burst`. A bucket that would be full later than that does not hold `count` now.
        let next = after.saturating_sub(now.saturating_add(rate.each.saturating_mul(rate.burst)));
        if !next.is_zero() {
            return Err(Spent { next, full: full_at.saturating_sub(now) });
        }
        self.full_at = after;
        Ok(())
    }
}

impl Row for Bucket {
    fn is_idle(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_the_rate() {
        let rate = Rate::per_second(3, 10);
        let mut bucket = Bucket::default();
        let mut take = |millis| bucket.take(rate, Duration::from_millis(millis));
        assert_eq!([take(1_000), take(1_000), take(1_000), take(1_000)], [true, true, true, false]);
        assert_eq!([take(1_099), take(1_100), take(1_100)], [false, true, false]);
        assert_eq!([take(9_000), take(9_000), take(9_000), take(9_000)], [true, true, true, false]);
        assert!(!bucket.is_idle(Duration::from_millis(9_299)));
        assert!(bucket.is_idle(Duration::from_millis(9_300)));
    }

    #[test]
    fn several_units_are_taken_together_or_not_at_all() {
        let rate = Rate::per_second(30, 10);
        let mut bucket = Bucket::default();
        let mut take = |count, secs| bucket.take_several(count, rate, Duration::from_secs(secs)).is_ok();
        assert_eq!([take(31, 1), take(20, 1), take(11, 1), take(10, 1)], [false, true, false, true]);
        assert_eq!([take(11, 2), take(10, 2)], [false, true]);
    }

    #[test]
    fn who_waits_exactly_as_long_as_told_gets_what_was_asked_for() {
        let rate = Rate { burst: 10, each: Duration::from_secs(60) };
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take_several(10, rate, Duration::ZERO), Ok(()));
        let now = Duration::from_secs(15);
        let spent = bucket.take_several(2, rate, now).unwrap_err();
        assert_eq!(spent, Spent { next: Duration::from_secs(105), full: Duration::from_secs(585) });
        let early = now + spent.next.saturating_sub(Duration::from_nanos(1));
        assert!(bucket.take_several(2, rate, early).is_err());
        assert_eq!(bucket.take_several(2, rate, now + spent.next), Ok(()));
    }
}

//! How many messages one socket may send: a rate, with a burst after a time of silence.

use std::time::Duration;

/// A rate with a burst, of messages or of another unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRate {
    /// Messages a second in the long run. At least 1.
    pub per_second: u32,
    /// Messages at once.
    pub burst: u32,
}

/// What one socket has left of its [`MessageRate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// When the whole burst is available again. Time since the process started.
    full_at: Duration,
}

impl Allowance {
    /// Takes one message. `false` if it exceeds the rate; then nothing is taken.
    #[must_use]
    pub fn take(&mut self, rate: MessageRate, now: Duration) -> bool {
        self.take_several(1, rate, now)
    }

    /// Takes a number of units at once. `false` if they exceed the rate; then nothing is taken.
    #[must_use]
    pub fn take_several(&mut self, count: u32, rate: MessageRate, now: Duration) -> bool {
        let each = Duration::from_secs(1) / rate.per_second;
        let full_at = self.full_at.max(now) + each * count;
        let fits = full_at <= now + each * rate.burst;
        if fits {
            self.full_at = full_at;
        }
        fits
    }

    /// Whether the whole burst is available, so that forgetting this value changes nothing.
    #[must_use]
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = MessageRate { per_second: 10, burst: 3 };
        let mut allowance = Allowance::default();
        let mut take = |millis| allowance.take(rate, Duration::from_millis(millis));
        assert_eq!([take(1_000), take(1_000), take(1_000), take(1_000)], [true, true, true, false]);
        assert_eq!([take(1_099), take(1_100), take(1_100)], [false, true, false]);
        assert_eq!([take(9_000), take(9_000), take(9_000), take(9_000)], [true, true, true, false]);
        assert!(!allowance.is_full(Duration::from_millis(9_299)));
        assert!(allowance.is_full(Duration::from_millis(9_300)));
    }
    #[test]
    fn several_units_are_taken_together_or_not_at_all() {
        let rate = MessageRate { per_second: 10, burst: 30 };
        let mut allowance = Allowance::default();
        let mut take = |count, secs| allowance.take_several(count, rate, Duration::from_secs(secs));
        assert_eq!([take(31, 1), take(20, 1), take(11, 1), take(10, 1)], [false, true, false, true]);
        assert_eq!([take(11, 2), take(10, 2)], [false, true]);
    }
}

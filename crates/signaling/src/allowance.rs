//! How many messages one socket may send: a rate, with a burst after a time of silence.

use std::time::Duration;

/// A rate with a burst.
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
        let each = Duration::from_secs(1) / rate.per_second;
        let full_at = self.full_at.max(now) + each;
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
}

//! When to try again after failures: exponential back-off. Pure: the number of failures and randomness are arguments. A step
//! never exceeds its `longest`, for any number of failures.

use std::time::Duration;

/// `first`, doubled `doublings` times, at most `longest`.
pub fn step(first: Duration, doublings: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// A duration from zero to `most`, both included, in whole milliseconds, which `random` picks. Jitter keeps many brokers from retrying at
/// the same instant.
pub fn jitter(most: Duration, random: u64) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.saturating_add(1))
}

/// When to send a message again, and how often.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The longest wait after the first failure. After each further failure, the longest wait is twice as long.
    pub first: Duration,
    /// The longest wait after any failure.
    pub longest: Duration,
    /// The most attempts for one message.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    /// Twenty attempts. The 19 waits between them take 7 to 14 minutes.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(60), attempts_max: 20 }
    }
}

impl RetryPolicy {
    /// The wait after failure number `attempt`, counted from 1: between half of the back-off's step and all of it.
    /// `None` after the last attempt.
    pub fn next_delay(&self, attempt: u32, random: u64) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let step = step(self.first, attempt.saturating_sub(1), self.longest);
        Some(step.saturating_sub(jitter(step / 2, random)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        #[test]
        fn steps_never_shrink_and_never_exceed_the_longest(first: u64, longest: u64, doublings: u32) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
            let now = step(first, doublings, longest);
            let next = step(first, doublings.saturating_add(1), longest);
            prop_assert!(now <= next && next <= longest);
            prop_assert!(now >= first.min(longest));
        }

        #[test]
        fn jitter_never_exceeds_its_bound(most: Duration, random: u64) {
            prop_assert!(jitter(most, random) <= most);
        }

        #[test]
        fn jitter_shortens_a_wait_by_at_most_half(attempt in 1_u32..20, random: u64) {
            let policy = RetryPolicy::default();
            let step = policy.next_delay(attempt, 0).unwrap();
            let wait = policy.next_delay(attempt, random).unwrap();
            prop_assert!(wait <= step && wait >= step / 2);
        }

        #[test]
        fn no_attempt_number_makes_a_wait_panic_or_exceed_the_longest(attempt: u32, random: u64, first: u64, longest: u64) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
            let policy = RetryPolicy { first, longest, attempts_max: u32::MAX };
            prop_assert!(policy.next_delay(attempt, random).is_none_or(|wait| wait <= longest));
        }
    }

    #[test]
    fn jitter_reaches_both_ends() {
        assert_eq!([0, 1_000].map(|random| jitter(SECOND, random)), [Duration::ZERO, SECOND]);
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end_after_the_last_attempt() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=20).map(|attempt| policy.next_delay(attempt, 0)).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(waits[..7], [1, 2, 4, 8, 16, 32, 60].map(seconds));
        assert!(waits[7..19].iter().all(|wait| *wait == seconds(60)), "{waits:?}");
        assert_eq!(waits[19], None);
        let all: Duration = waits.iter().flatten().sum();
        // The receiver may be unreachable for a quarter of an hour.
        assert!(all <= Duration::from_secs(15 * 60), "{all:?}");
    }
}

//! Exponential back-off. Pure: the number of failures and randomness are arguments. A step never exceeds its `longest`,
//! for any number of failures.

use std::time::Duration;

/// `first`, doubled `doublings` times, at most `longest`.
#[must_use]
pub fn step(first: Duration, doublings: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// A part of `most`, in whole milliseconds, picked by `random`. Jitter keeps many brokers from retrying at the same
/// instant.
#[must_use]
pub fn jitter(most: Duration, random: u64) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn steps_double_up_to_the_longest() {
        let steps = [0, 1, 2, 5, 6, 31, 32, u32::MAX].map(|doublings| step(SECOND, doublings, 60 * SECOND));
        assert_eq!(steps.map(|step| step.as_secs()), [1, 2, 4, 32, 60, 60, 60, 60]);
    }

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
    }

    #[test]
    fn jitter_reaches_both_ends() {
        assert_eq!([0, 1_000].map(|random| jitter(SECOND, random)), [Duration::ZERO, SECOND]);
    }
}

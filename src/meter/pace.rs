//! When to ask next. Pure: chance comes in as a number.

use std::time::Duration;

/// Longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The pause before the next question: the interval, doubled with each failure in a row up to [`PAUSE_MAX`], and up to a
/// tenth longer by chance, so that many brokers do not ask in the same instant.
pub(super) fn next_pause(interval: Duration, failures: u32, random: u64) -> Duration {
    let doubled = interval.saturating_mul(2_u32.saturating_pow(failures.min(16)));
    let pause = doubled.min(PAUSE_MAX.max(interval));
    let thousandths = u32::try_from(random % 1_000).unwrap_or(0);
    pause.saturating_add(pause / 10 * thousandths / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn failures_double_the_pause_up_to_ten_minutes() {
        let pauses = [0, 1, 2, 3, 4, 40].map(|failures| next_pause(MINUTE, failures, 0).as_secs());
        assert_eq!(pauses, [60, 120, 240, 480, 600, 600]);
        let hour = Duration::from_secs(3_600);
        assert_eq!(next_pause(hour, 5, 0), hour, "but never below the interval");
    }

    proptest! {
        #[test]
        fn chance_adds_a_tenth_at_most(seconds in 1u64..3_600, failures: u32, random: u64) {
            let interval = Duration::from_secs(seconds);
            let pause = next_pause(interval, failures, 0);
            let by_chance = next_pause(interval, failures, random);
            prop_assert!(pause <= by_chance && by_chance <= pause + pause / 10);
            prop_assert!(pause >= interval);
        }
    }
}

//! Whether a relay works, as the broker's own probes show. Pure: outcomes, times and randomness are arguments. Tests: below.

use std::time::Duration;

use turn_base::backoff::jitter;
use turn_ledger::Timestamp;

/// The state changes after this many outcomes in a row that contradict it.
const IN_A_ROW: u8 = 2;
/// The longest time from one probe to the next.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest time after a probe that contradicts the state. Two failed probes in a row show within 20 s that a relay has gone down: at
/// most 10 s until the first, 5 s until the second, and the time limit of 4 s.
const PAUSE_IN_DOUBT: Duration = Duration::from_secs(5);
/// By how much a pause may be shorter.
const JITTER: Duration = Duration::from_secs(1);

/// What is known of one relay.
#[derive(Clone, Debug, Default)]
pub struct RelayHealth {
    /// Whether it counts as one that does not work, and gets no new credentials. A relay that was not probed yet counts as one that works.
    pub is_down: bool,
    /// Outcomes in a row that contradict the state.
    contradictions: u8,
    /// Why the latest probe failed. `None` after a probe that worked.
    pub failure: Option<String>,
    /// Since when the state is what it is. `None` until it has changed.
    pub since: Option<Timestamp>,
}

impl RelayHealth {
    /// Takes the outcome of a probe. Returns whether the state has changed.
    pub fn note(&mut self, outcome: Result<(), String>, now: Timestamp) -> bool {
        self.failure = outcome.err();
        if self.failure.is_some() == self.is_down {
            self.contradictions = 0;
            return false;
        }
        self.contradictions = self.contradictions.saturating_add(1);
        if self.contradictions < IN_A_ROW {
            return false;
        }
        (self.is_down, self.contradictions, self.since) = (self.failure.is_some(), 0, Some(now));
        true
    }

    /// The time from the beginning of one probe to that of the next.
    pub fn pause(&self, random: u64) -> Duration {
        let longest = if self.contradictions > 0 { PAUSE_IN_DOUBT } else { PAUSE };
        longest.saturating_sub(jitter(JITTER, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::relays::PROBE_MAX;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_736_942_400_000).plus_millis(seconds * 1_000)
    }

    #[test]
    fn two_failed_probes_in_a_row_take_a_relay_out_and_two_good_ones_bring_it_back() {
        let mut health = RelayHealth::default();
        let failed = || Err("no answer".to_owned());
        let outcomes = [
            (failed(), true),
            (Ok(()), true),
            (failed(), true),
            (failed(), false),
            (Ok(()), false),
            (failed(), false),
            (Ok(()), false),
            (Ok(()), true),
        ];
        for (second, (outcome, is_up)) in (0..).zip(outcomes) {
            let (was_down, has_failed) = (health.is_down, outcome.is_err());
            assert_eq!(health.note(outcome, at(second)), was_down == is_up, "{second}");
            assert_eq!((health.is_down, health.failure.is_some()), (!is_up, has_failed), "{second}");
        }
        assert_eq!(health.since, Some(at(7)));
    }

    #[test]
    fn a_relay_that_dies_is_out_within_20_s_and_the_pauses_between_probes_vary() {
        let mut health = RelayHealth::default();
        let (first, early) = (health.pause(0), health.pause(1_000));
        assert!(early < first && !health.note(Err(String::new()), at(0)));
        assert!(first + health.pause(0) + PROBE_MAX <= Duration::from_secs(20));
    }
}

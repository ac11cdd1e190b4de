//! Whether a provider's count is believed. Tests: below.
//! A provider that counts nothing, or the wrong account, answers zero too. So a count of a time in which a credential was live is believed
//! only if it shows bytes under our keys: those of calls or, where no call relays, those of the broker's own probe. No client can forge either.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;
use crate::units::slot::Minute;

/// A probe is made for counts without bytes. After this time, what it relayed should long be counted.
const MISSING_AFTER: Duration = Duration::from_secs(58 * 60);
/// Bytes that are counted within so many minutes prove a time.
const HOUR: u64 = 60;
/// The most probes that wait until they are counted: two days with one each half hour. No further ones are made then.
const UNSHOWN_MAX: usize = 96;

/// What is known of the probes of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CountProof {
    /// The minutes in which a probe relayed that no count has shown.
    unshown: BTreeSet<Minute>,
    /// The end of the latest minute of a probe that a count has shown.
    shown_until: Timestamp,
    /// The first count that was not believed since the last one that was proven.
    refused: Option<RefusedCount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RefusedCount {
    since: Timestamp,
    as_of: Timestamp,
}

impl CountProof {
    /// Whether a count is believed that ends at `as_of`. `counted`: the end of the count before it. `is_shown`: this count or one of a later
    /// day shows that bytes are counted. `was_live`: a credential was live since the count before.
    pub(crate) fn believes(
        &mut self,
        as_of: Timestamp,
        counted: Timestamp,
        is_shown: bool,
        was_live: bool,
        now: Timestamp,
    ) -> bool {
        // A count of a part of the probe's minute would replace the whole probe.
        let lacks_probe = self.unshown.first().is_some_and(|minute| minute.start() < as_of);
        let is_proven = is_shown || self.shown_until > counted;
        if lacks_probe || (was_live && !is_proven) {
            self.refused.get_or_insert(RefusedCount { since: now, as_of });
            return false;
        }
        if is_proven {
            // A count of an earlier day says nothing about this one.
            self.refused = self.refused.filter(|refused| as_of < refused.as_of);
        }
        true
    }

    /// Whether counts have not been believed for so long that they are missing.
    pub(crate) fn is_missing(&self, now: Timestamp) -> bool {
        self.refused.is_some_and(|refused| now.since(refused.since) >= MISSING_AFTER)
    }

    /// Whether a probe would help: a count was not believed, and not too many probes wait.
    pub(crate) fn needs_probe(&self) -> bool {
        self.refused.is_some() && self.unshown.len() < UNSHOWN_MAX
    }

    /// A probe has relayed in this minute.
    pub(crate) fn note(&mut self, minute: Minute) {
        self.unshown.insert(minute);
    }

    /// The minutes of probes that no count has shown.
    pub(crate) fn unshown(&self) -> impl Iterator<Item = Minute> {
        self.unshown.iter().copied()
    }

    /// A count shows the probe of this minute. So the counts of the hour before it are not empty, and one that sampling lost is not missed.
    pub(crate) fn show(&mut self, minute: Minute) {
        if self.unshown.remove(&minute) {
            self.shown_until = self.shown_until.max(minute.end());
            self.unshown.retain(|other| *other > minute || minute.since(*other) > HOUR);
        }
    }

    /// The bytes of a period that is over prove nothing about the next.
    pub(crate) fn begin_period(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(nth: i64) -> Minute {
        Minute::new(28_949_040 + nth)
    }

    fn at(nth: i64) -> Timestamp {
        minute(nth).start()
    }

    #[test]
    fn a_count_without_bytes_is_believed_once_it_shows_the_probe() {
        let mut proof = CountProof::default();
        assert!(!proof.needs_probe());
        assert!(!proof.believes(at(10), at(5), false, true, at(20)) && proof.needs_probe());
        proof.note(minute(20));
        assert!(!proof.believes(at(20), at(5), false, true, at(30)), "it is older than the probe");
        for within in [at(20).plus_millis(1), at(21)] {
            assert!(
                !proof.believes(within, at(5), true, true, at(31)),
                "it lacks the probe, whatever else it has"
            );
        }
        proof.show(minute(20));
        assert!(proof.believes(at(21), at(5), false, true, at(31)) && !proof.needs_probe());
        assert!(!proof.believes(at(22), at(21), false, true, at(32)), "that probe is older than this time");
    }

    #[test]
    fn a_probe_that_is_never_counted_is_not_missed_if_the_hour_has_another_one() {
        for (second, is_believed) in [(80, true), (81, false)] {
            let mut proof = CountProof::default();
            assert!(!proof.believes(at(10), at(5), false, true, at(20)));
            proof.note(minute(20));
            proof.note(minute(second));
            proof.show(minute(second));
            assert_eq!(proof.believes(at(second + 1), at(5), false, true, at(99)), is_believed);
        }
    }

    #[test]
    fn counts_are_missing_an_hour_after_the_first_that_was_not_believed() {
        let mut proof = CountProof::default();
        for nth in 0..58 {
            assert!(!proof.believes(at(nth), at(0), false, true, at(nth)));
            assert!(!proof.is_missing(at(nth)), "{nth}");
        }
        assert!(proof.is_missing(at(58)));
        assert!(
            proof.believes(at(-9), at(-9), true, true, at(58)) && proof.is_missing(at(58)),
            "that is another day"
        );
        assert!(proof.believes(at(59), at(0), true, true, at(59)) && !proof.is_missing(at(200)));
    }

    #[test]
    fn a_later_count_of_a_time_without_credentials_proves_nothing() {
        let mut proof = CountProof::default();
        for now in [20, 50, 78] {
            assert!(!proof.believes(at(10), at(0), false, true, at(now)));
            assert!(proof.believes(at(15), at(12), false, false, at(now)));
        }
        assert!(proof.is_missing(at(78)) && proof.needs_probe());
    }

    #[test]
    fn no_probe_is_made_while_too_many_are_not_counted() {
        let mut proof = CountProof::default();
        proof.believes(at(1), at(0), false, true, at(1));
        for nth in 0..96 {
            assert!(proof.needs_probe());
            proof.note(minute(nth));
        }
        assert!(!proof.needs_probe());
    }
}

//! Whether a count has the bytes of its owner. Tests: below.
//! A provider that counts nothing, or the wrong account, answers zero too. So a count of a time in which a credential was live is believed
//! only if it shows bytes of its owner: those of calls or, where no call relays, those of the broker's own probe, made with the owner's
//! TURN key. No client can forge either. Such bytes prove the counts of up to an hour before them. Once they are seen, counts of earlier
//! time are taken too, but what was promised for that time stays promised.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Minute, Timestamp};

/// A probe is made for counts without bytes. This time after the first of them, the bytes of the probe should long be counted.
const MISSING_AFTER: Duration = Duration::from_secs(58 * 60);
/// Bytes prove the counts of so much time before them.
const PROVEN_BY_BYTES: Duration = Duration::from_secs(3_600);
/// The most probes that wait until they are counted: two days with one each half hour. While so many wait, no further probe is
/// made.
const UNSHOWN_MAX: usize = 96;

/// What shows that the counts of one owner are its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountProof {
    /// The minutes of probes that no count has shown.
    unshown: BTreeSet<Minute>,
    /// The end of the latest time in which a count has shown bytes or a probe.
    shown_until: Timestamp,
    /// Nothing has shown the counts of some time before this. What was promised for that time stays promised.
    pub(crate) unproven_until: Timestamp,
    /// The first count that was not believed since the last one that was proven.
    refused: Option<RefusedCount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RefusedCount {
    /// When it was refused.
    since: Timestamp,
    /// The end of the count.
    as_of: Timestamp,
}

impl CountProof {
    /// Decides whether a count is believed that ends at `as_of`, and notes what it shows. `counted_until`: the end of the count before it.
    /// `shows_bytes`: it has bytes of the time between the two ends. `was_live`: a credential was live in that time.
    pub(crate) fn believes(
        &mut self,
        as_of: Timestamp,
        counted_until: Timestamp,
        shows_bytes: bool,
        was_live: bool,
        now: Timestamp,
    ) -> bool {
        // A count replaces what was charged for a probe as soon as it reaches into the probe's minute, so it must show the probe.
        let lacks_probe = self.unshown.first().is_some_and(|minute| minute.start() < as_of);
        let is_shown = shows_bytes || self.shown_until > counted_until;
        if lacks_probe || (was_live && !is_shown) {
            self.refused.get_or_insert(RefusedCount { since: now, as_of });
            return false;
        }
        if shows_bytes {
            self.shown_until = self.shown_until.max(as_of);
        }
        if is_shown {
            // A count that ends before the refused one says nothing about it.
            self.refused = self.refused.filter(|refused| as_of < refused.as_of);
            if was_live && self.shown_until.since(as_of) > PROVEN_BY_BYTES {
                self.unproven_until = self.unproven_until.max(as_of);
            }
        }
        true
    }

    /// Whether counts have not been believed for so long that they are missing.
    pub fn is_missing(&self, now: Timestamp) -> bool {
        self.refused.is_some_and(|refused| now.since(refused.since) >= MISSING_AFTER)
    }

    /// Whether a probe would help: a count was not believed, and not too many probes wait.
    pub fn needs_probe(&self) -> bool {
        self.refused.is_some() && self.unshown.len() < UNSHOWN_MAX
    }

    /// A probe has relayed in this minute.
    pub fn note(&mut self, minute: Minute) {
        self.unshown.insert(minute);
    }

    /// The minutes of probes that no count has shown.
    pub fn unshown(&self) -> impl Iterator<Item = Minute> {
        self.unshown.iter().copied()
    }

    /// A count shows the probe of this minute, so earlier probes are not awaited any more. If an earlier probe relayed in the hour before,
    /// sampling has lost it. If it is older, the counts of its time were lost, so what lies before that hour is unproven.
    pub fn show(&mut self, minute: Minute) {
        if self.unshown.remove(&minute) {
            self.shown_until = self.shown_until.max(minute.end());
            let later = self.unshown.split_off(&minute);
            let earlier = std::mem::replace(&mut self.unshown, later);
            let proven_from = minute.start().minus(PROVEN_BY_BYTES);
            if earlier.first().is_some_and(|first| first.start() < proven_from) {
                self.unproven_until = self.unproven_until.max(proven_from);
            }
        }
    }

    /// The bytes of a period that is over prove nothing about the next.
    pub fn begin_period(&mut self) {
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
            // It lacks the probe, whatever else it has.
            assert!(!proof.believes(within, at(5), true, true, at(31)));
        }
        proof.show(minute(20));
        assert!(proof.believes(at(21), at(5), false, true, at(31)) && !proof.needs_probe());
        assert!(!proof.believes(at(22), at(21), false, true, at(32)), "that probe is older than this time");
    }

    #[test]
    fn a_probe_that_is_never_counted_is_not_missed_once_a_later_one_is_counted() {
        // Within an hour, sampling has lost it. Else the counts of its time were lost, up to an hour before the later one.
        for (second, unproven_until) in [(80, Timestamp::default()), (81, at(21))] {
            let mut proof = CountProof::default();
            assert!(!proof.believes(at(10), at(5), false, true, at(20)));
            proof.note(minute(20));
            proof.note(minute(second));
            proof.show(minute(second));
            assert!(proof.believes(at(second + 1), at(5), false, true, at(99)));
            assert_eq!(proof.unproven_until, unproven_until);
        }
    }

    #[test]
    fn a_probe_that_is_made_after_the_shown_one_is_still_awaited() {
        let mut proof = CountProof::default();
        for nth in [20, 30, 40] {
            proof.note(minute(nth));
        }
        proof.show(minute(30));
        assert_eq!(proof.unshown().collect::<Vec<_>>(), [minute(40)]);
    }

    #[test]
    fn bytes_prove_an_hour_before_them_and_the_rest_stays_promised() {
        for (bytes_at, unproven_until) in [(70, Timestamp::default()), (71, at(10))] {
            let mut proof = CountProof::default();
            assert!(!proof.believes(at(10), at(5), false, true, at(20)));
            assert!(proof.believes(at(bytes_at), at(10), true, true, at(99)), "a later count");
            assert!(proof.believes(at(10), at(5), false, true, at(99)) && !proof.needs_probe());
            assert_eq!(proof.unproven_until, unproven_until);
        }
    }

    #[test]
    fn counts_are_missing_58_minutes_after_the_first_that_was_not_believed() {
        let mut proof = CountProof::default();
        for nth in 0..58 {
            assert!(!proof.believes(at(nth), at(0), false, true, at(nth)));
            assert!(!proof.is_missing(at(nth)), "{nth}");
        }
        assert!(proof.is_missing(at(58)));
        // It ends before the first one.
        assert!(proof.believes(at(-9), at(-9), true, true, at(58)) && proof.is_missing(at(58)));
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

//! Grants that were handed out and that this ledger does not have. Tests: `src/books/lacking_tests.rs`.
//! What is known of them is stored with the books' time. The overshoot bound is not published as holding before the last of these grants
//! has ended.

use crate::prelude::*;

/// Why grants are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LackCause {
    /// The ledger was restored from a copy, has lost writes, or no longer has the rows of grants that a longer tail would keep alive.
    #[default]
    Restored,
    /// The ledger is new, but its provider had counted bytes under its keys before it began.
    New,
}

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// Until when the missing grants may relay.
    pub until: Timestamp,
    /// Why the grants are missing.
    pub cause: LackCause,
    /// Whether the books' time has been uncertain since these grants were found missing. While it is, `until` moves with that time.
    pub(crate) is_undated: bool,
    /// When the ledger began, until it is known whether its provider had counted bytes before.
    pub(crate) began: Option<Timestamp>,
}

impl Lacking {
    /// What is known in a new ledger.
    pub(crate) fn of_new(began: Timestamp) -> Self {
        Self { began: Some(began), ..Self::default() }
    }

    /// Notes that missing grants may relay until `until`. While others may still relay, only [`LackCause::Restored`] replaces their cause,
    /// because the operator must first know of lost grants.
    pub(crate) fn extend(&mut self, until: Timestamp, cause: LackCause, now: Timestamp) {
        if self.until <= now || cause == LackCause::Restored {
            self.cause = cause;
        }
        self.until = self.until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_relay_for_a_shorter_time_does_not_end_a_lack_sooner() {
        let (at, mut lacking) = (Timestamp::from_millis, Lacking::default());
        for (until, expected) in [(20, 20), (10, 20), (30, 30)] {
            lacking.extend(at(until), LackCause::Restored, at(0));
            assert_eq!(lacking.until, at(expected));
        }
    }
}

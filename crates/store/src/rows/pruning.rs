//! Removal of old minutes. It never changes the figures that a restart finds. No billing period is longer than 31 days, so
//! with any `BILLING_DAY` the current period begins at most [`MINUTES_KEPT`] minutes ago. No figure uses the rows of earlier minutes.

use std::collections::BTreeSet;

use turn_budget::{CountOwner, Minute, Timestamp};
use turn_ledger::Stored;

use super::{MINUTES, StoreError, WriteRows, slot_key};

/// The longest period, in minutes.
const MINUTES_KEPT: i64 = 31 * 1_440;
/// The most minutes of each owner that are removed with one write: after a long stop, no write waits for many rows.
const REMOVED_MAX: i64 = 60;

/// Up to where old minutes are removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// The number of the first minute that may be stored. `None`: none is.
    from: Option<i64>,
    /// Whose minutes are stored.
    owners: BTreeSet<CountOwner>,
}

impl Pruned {
    /// The state of a ledger with these stored rows.
    pub fn of(stored: &Stored) -> Self {
        let first = stored.sources.values().filter_map(|rows| rows.minutes.keys().next()).min();
        Self { from: first.map(|minute| minute.number()), owners: stored.sources.keys().copied().collect() }
    }

    /// Removes minutes that the books do not need at `now` and later. `written`: whose minutes may be new. Returns the state after that,
    /// once the write is committed.
    pub(super) fn remove<'a>(
        &self,
        to: &mut impl WriteRows,
        written: impl Iterator<Item = &'a CountOwner>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let kept_from = Minute::of(now).number().saturating_sub(MINUTES_KEPT);
        let from = self.from.map_or(kept_from, |from| from.min(kept_from));
        let removed = from..kept_from.min(from.saturating_add(REMOVED_MAX));
        let owners: BTreeSet<_> = self.owners.iter().copied().chain(written.copied()).collect();
        for owner in &owners {
            let minutes = removed.clone();
            to.replace(MINUTES, &mut minutes.map(|minute| Ok((slot_key(owner, minute)?, None))))?;
        }
        Ok(Self { from: Some(removed.end), owners })
    }
}

#[cfg(test)]
#[path = "pruning_tests.rs"]
mod tests;

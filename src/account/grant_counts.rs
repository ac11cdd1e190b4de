//! What a source counted for each grant, and from when on it is still to be counted finally.

use super::Account;
use turn_ledger::grant_counts::GrantCounts;
use turn_ledger::source::IceSource;
use turn_ledger::units::Timestamp;

impl Account {
    /// Takes the counts of a span. Those of an open span replace the ones before; those of a final span stay.
    pub fn take_grant_counts(&self, source: IceSource, counts: &GrantCounts) {
        let from = if counts.is_final { counts.until } else { counts.from };
        self.lock().grant_counts_from.insert(source, from);
    }

    /// The end of the final counts of a source. `None` before its first counts.
    #[must_use]
    pub fn grant_counts_from(&self, source: IceSource) -> Option<Timestamp> {
        self.lock().grant_counts_from.get(&source).copied()
    }
}

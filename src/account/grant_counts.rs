//! What a source counted for each grant, from when on it is still to be counted finally, and when grants expire.

use super::Account;
use turn_ledger::books::Books;
use turn_ledger::grant_counts::GrantCounts;
use turn_ledger::source::IceSource;
use turn_ledger::token::GrantId;
use turn_ledger::units::Timestamp;

impl Account {
    /// Takes the counts of a span. Those of an open span replace the ones before; those of a final span stay.
    pub fn take_grant_counts(&self, source: IceSource, counts: &GrantCounts) {
        let from = if counts.is_final { counts.until } else { counts.from };
        self.lock().grant_counts_from.insert(source, from);
    }

    /// When the credentials of these grants expire. Without those that are not known or were revoked.
    #[must_use]
    pub fn expiries(&self, grants: &[GrantId]) -> Vec<(GrantId, Timestamp)> {
        let expiry = |books: &Books, id: GrantId| {
            let row = books.grants().get(id).filter(|row| row.revoked_at.is_none())?;
            Some((id, row.expires_at))
        };
        self.with(|books| grants.iter().filter_map(|id| expiry(books, *id)).collect())
    }

    /// The end of the final counts of a source. `None` before its first counts.
    #[must_use]
    pub fn grant_counts_from(&self, source: IceSource) -> Option<Timestamp> {
        self.lock().grant_counts_from.get(&source).copied()
    }
}

//! What the relay in this process asks the account: where its count begins, and whose time is over.

use super::Account;
use turn_ledger::grants::GrantEnd;
use turn_ledger::reading::Reading;
use turn_ledger::source::IceSource;
use turn_ledger::token::GrantId;
use turn_ledger::units::Timestamp;

impl Account {
    /// Whether nothing more is to be relayed for a grant whose credential says that it is good until `expires_at`.
    #[must_use]
    pub fn grant_end(&self, grant: GrantId, expires_at: Timestamp) -> Option<GrantEnd> {
        self.with(|books| books.grant_end(grant, Some(expires_at)))
    }

    /// The latest count of a source in this period, if it has one.
    #[must_use]
    pub fn overlapping_reading(&self, source: IceSource) -> Option<Reading> {
        self.with(|books| books.overlapping_reading(source))
    }
}

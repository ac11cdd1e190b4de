//! The account's interface for the built-in relay: the count to start from, the end of a grant, and what is released after it.

use std::collections::{BTreeMap, BTreeSet};

use super::Account;
use turn_ledger::grants::GrantEnd;
use turn_ledger::reading::Carried;
use turn_ledger::source::IceSource;
use turn_ledger::token::GrantId;
use turn_ledger::traffic::Traffic;
use turn_ledger::units::Timestamp;

impl Account {
    /// Whether and why nothing more is relayed for a grant. `expires_at`: the expiry in its credential.
    #[must_use]
    pub fn grant_end(&self, grant: GrantId, expires_at: Timestamp) -> Option<GrantEnd> {
        self.with(|books| books.grant_end(grant, Some(expires_at)))
    }

    /// Releases what is promised for revoked grants of which the relay has no allocation. It must have refused new ones since before
    /// it looked.
    pub fn release_gone(&self, present: &BTreeSet<GrantId>) {
        self.with(|books| {
            // An allocation goes on under the renewals of its grant.
            let present: BTreeSet<_> =
                present.iter().flat_map(|grant| books.grants().with_renewals(*grant)).collect();
            books.release_gone(IceSource::Relay, |grant| present.contains(&grant));
        });
    }

    /// Takes what the relay has carried for its grants since the last call.
    pub fn add_grant_traffic(&self, added: &BTreeMap<GrantId, Traffic>) {
        self.with(|books| books.add_grant_traffic(IceSource::Relay, added));
    }

    /// Takes what a source has carried since its last count.
    pub fn carry(&self, source: IceSource, carried: &Carried) {
        self.with(|books| books.carry(source, carried));
    }
}

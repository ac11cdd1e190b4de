//! Whether this process may still write the books, and how it learns that its books are void.

use std::time::Duration;

use super::Account;
use crate::store::storage::Lost;
use crate::store::writer::Store;

/// For how long after a takeover the fault `LeaderLost` is shown.
const LOSS_SHOWN_FOR: Duration = Duration::from_secs(600);

impl Account {
    /// Which leader was lost, in a sentence. `None` if none was, and once the takeover was [`LOSS_SHOWN_FOR`] ago.
    pub fn lost_leader(&self) -> Option<String> {
        let lead = self.lead.as_ref()?;
        let (lost, since) = lead.replaced.as_ref()?;
        let is_shown = self.clock.since_boot().saturating_sub(*since) < LOSS_SHOWN_FOR;
        is_shown.then(|| format!("{lost} was the leader, {} is it now.", lead.url))
    }

    /// Whether a grant can be recorded now.
    pub fn is_writable(&self) -> bool {
        !self.ledger_fails() && self.holds_lease()
    }

    /// Whether the ledger cannot be written now.
    pub fn ledger_fails(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_failing)
    }

    /// Why the ledger cannot be written, in a sentence; empty if that is not known.
    pub fn ledger_failure(&self) -> String {
        if !self.holds_lease() {
            return "This replica is not sure that it still leads: it has not written to the database for most of LEASE_SECONDS.".into();
        }
        let failure = self.store.as_ref().and_then(Store::failure);
        failure.map(|failure| format!("The last write failed: {failure}.")).unwrap_or_default()
    }

    /// Whether this process may still act as the leader. Without `DATABASE_URL` it always may.
    pub fn holds_lease(&self) -> bool {
        self.lead.as_ref().is_none_or(|lead| lead.lease.holds(self.clock.since_boot()))
    }

    /// Resolves once the books are void, because another replica leads or the database has lost writes.
    pub async fn lost(&self) -> Lost {
        match &self.store {
            Some(store) => store.lost().await,
            None => std::future::pending().await,
        }
    }
}

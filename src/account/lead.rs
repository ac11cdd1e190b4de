//! Whether this process may still write the books, and how it learns that they are void.

use super::Account;
use crate::journal::{Journal, Lost};

impl Account {
    /// Whether a grant can be recorded now.
    pub fn is_writable(&self) -> bool {
        self.journal.as_ref().is_none_or(|journal| !journal.is_failing()) && self.holds_lease()
    }

    /// Whether no other replica can lead yet, as far as this process knows.
    pub fn holds_lease(&self) -> bool {
        self.lead.as_ref().is_none_or(|lead| lead.lease.holds(self.clock.since_boot()))
    }

    /// Resolves once the books are void, because another replica leads or the database has lost writes.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let lost = self.journal.as_ref().map(Journal::lost);
        async move {
            match lost {
                Some(lost) => lost.await,
                None => std::future::pending().await,
            }
        }
    }
}

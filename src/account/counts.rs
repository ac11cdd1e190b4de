//! The account's interface for what the sources count by themselves: a provider's readings, and coturn's sessions.

use std::time::Duration;

use super::Account;
use turn_ledger::coturn::listing::{Listing, SessionId};
use turn_ledger::ledger::LateCounts;
use turn_ledger::reading::{Reading, ReadingOutcome};
use turn_ledger::source::IceSource;

impl Account {
    /// Applies a reading of a source's own count.
    pub fn take_reading(&self, source: IceSource, reading: &Reading) -> ReadingOutcome {
        self.with(|books| books.take_reading(source, reading))
    }

    /// Sets how late this source's counts settle.
    pub fn set_late_counts(&self, source: IceSource, late: LateCounts) {
        self.with(|books| books.set_late_counts(source, late));
    }

    /// Forgets how late this source's counts settle if the configured lag is at least as long as the measured one.
    pub fn settle_late_counts(&self, source: IceSource, configured: Duration) {
        self.with(|books| books.settle_late_counts(source, configured));
    }

    /// Applies a coturn's session list. Returns the sessions that must end.
    #[must_use]
    pub fn take_sessions(&self, listing: &Listing) -> Vec<SessionId> {
        self.with(|books| books.take_sessions(listing))
    }

    /// Notes that a coturn accepted the command to end these sessions.
    pub fn cut_sessions(&self, ids: &[SessionId]) {
        self.with(|books| books.cut_sessions(ids));
    }
}

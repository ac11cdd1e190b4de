//! What is held of the account while a request is under way: room for one credential, and the right to renew. Dropped on any
//! path, each gives itself back; after the commit nothing gives it back but time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Account, NotCommitted, NotRecorded};
use crate::journal::Written;
use turn_ledger::ledger::Hold;
use turn_ledger::token::Grant;
use turn_ledger::units::Timestamp;

/// Room held for one credential while the provider is asked. Dropped: given back.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    at: Timestamp,
    life: Duration,
    hold: Option<Hold>,
}

/// A grant's right to renew, taken for one mint. Dropped unused: given back.
#[derive(Debug)]
pub struct RenewalRight {
    account: Arc<Account>,
    grant: Grant,
    serial: u64,
    is_used: AtomicBool,
}

impl RenewalRight {
    pub(super) fn new(account: &Arc<Account>, grant: &Grant, serial: u64) -> Self {
        Self { account: Arc::clone(account), grant: *grant, serial, is_used: AtomicBool::new(false) }
    }

    /// Which taking of a right this is; no two are the same.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    fn use_up(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }
}

impl Drop for RenewalRight {
    fn drop(&mut self) {
        if !self.is_used.load(Ordering::Relaxed) {
            self.account.with(|books, _| books.give_renewal_back(self.grant.id));
        }
    }
}

impl Reservation {
    pub(super) fn new(account: &Arc<Account>, hold: Hold, at: Timestamp) -> Self {
        Self { account: Arc::clone(account), at, life: hold.life(), hold: Some(hold) }
    }

    /// When it was made, in the books' time, which can be ahead of the wall clock. The grant's times count from here, so
    /// that books and grants agree on when it ends.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The life that the credential may have.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// The credential exists; once this says so, it is recorded and may leave: the point of no return. Where it cannot
    /// be recorded, or the operator's order came first, nobody is to have it. Dropped in mid-way, the record stands: it
    /// melts by itself.
    pub async fn commit(
        mut self,
        grant: &Grant,
        username: Option<&str>,
        renewal: Option<&RenewalRight>,
    ) -> Result<(), NotCommitted> {
        let Some(hold) = self.hold.take() else { return Err(NotRecorded.into()) };
        let renewed = renewal.map(|right| &right.grant);
        let (commit, pending) = self.account.with(|books, now| {
            let renews = renewed.map(|renewed| renewed.id);
            if books.has_stopped(renews) {
                books.release(hold, now);
                return Err(NotCommitted::Stopped);
            }
            let commit = books.commit(hold, grant, username, renews, now);
            // What costs nothing needs no record that lasts.
            let journal = self.account.journal.as_ref().filter(|_| grant.source.is_metered());
            if let Some(journal) = journal.filter(|_| books.is_strict()) {
                // It was admitted on all that is known, so that is on disk first: a reading that gave room, say.
                journal.flush(|| books.take_changes());
            }
            let pending =
                journal.map(|journal| journal.commit(books.grant_changes(&commit, grant.id, renewed)));
            Ok((commit, pending))
        })?;
        let written = match pending {
            None => Written::Yes,
            Some(None) => Written::No,
            Some(Some(pending)) => pending.wait().await,
        };
        match written {
            Written::Yes => {
                if let Some(right) = renewal {
                    right.use_up();
                }
                Ok(())
            }
            Written::No => {
                self.account.with(|books, _| books.undo(&commit, grant.id));
                Err(NotRecorded.into())
            }
            // It may come to be recorded: the hold stays, on the safe side.
            Written::Unknown => Err(NotRecorded.into()),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.account.with(|books, now| books.release(hold, now));
        }
    }
}

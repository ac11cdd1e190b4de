//! A grant's way into the books: reserve, commit, settle. The service and the simulation call the same functions.
//!
//! What an admission rests on and the grant are one batch, so no stored grant rests on something that is not stored. A
//! batch that could not be written is not dropped: the commit is taken back in the books, and what undoes it is written
//! after it.

use std::time::Duration;

use super::Books;
use crate::changes::Batch;
use crate::grants::GrantRow;
use crate::ledger::Hold;
use crate::source::IceSource;
use crate::token::{Grant, GrantId};
use crate::units::Timestamp;
use crate::verdict::Refusal;

/// Nothing metered is minted while the wall clock is further ahead of the books than this and not believed.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(2 * 86_400);

/// Why no room is held for a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The budget has no room.
    Refused(Refusal),
    /// The wall clock is more than two days ahead of the books.
    ClockInDoubt,
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A grant that is in the books. [`Books::settle`] ends it.
#[derive(Debug)]
#[must_use]
pub struct Commit {
    grant: GrantId,
    hold: Hold,
    unreported_at: Option<Timestamp>,
}

/// What happened to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on disk.
    Yes,
    /// It is not on disk now.
    No,
    /// It may be on disk, now or later.
    Unknown,
}

/// The ledger cannot be written: a credential must not be handed out, and an override would not survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it could not be recorded")]
pub struct NotRecorded;

/// A credential that was made must not be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCommitted {
    /// The ledger cannot be written.
    #[error(transparent)]
    NotRecorded(#[from] NotRecorded),
    /// An override of the operator forbids it.
    #[error("the operator has stopped it")]
    Stopped,
}

impl Books {
    /// Holds room for a credential of that life, or of a shorter one, that may be made up to `slack` from now.
    ///
    /// While the wall clock is ahead and not believed, either may be right. The hold begins at the books' time and ends when
    /// a credential made at the wall clock's time ends, so it covers the credential in both cases.
    ///
    /// `renews`: the grant that the credential renews. Of the two, only one relays at a time, so a renewal only needs room
    /// for the time after the promise for that grant ends.
    pub fn reserve(
        &mut self,
        source: IceSource,
        life: Duration,
        slack: Duration,
        renews: Option<GrantId>,
    ) -> Result<Hold, NotAdmitted> {
        let ahead = self.clock_ahead();
        if source.is_metered() && ahead > CLOCK_AHEAD_MAX {
            return Err(NotAdmitted::ClockInDoubt);
        }
        let renewed = renews.and_then(|id| self.grants.get(id)).filter(|row| row.source == source);
        let promised_until = renewed.and_then(|row| row.alive_until);
        Ok(self.ledger.try_admit(source, life, slack.saturating_add(ahead), promised_until)?)
    }

    /// Gives a hold back: nobody has the credential.
    pub fn release(&mut self, hold: &Hold) {
        self.ledger.release(hold);
    }

    /// Puts a grant into the books, and gives the hold back if an override forbids it. `renews`: the grant that it renews.
    ///
    /// The batch must be written before the credential is handed out. It is `None` for a credential that costs nothing.
    pub fn commit(
        &mut self,
        hold: Hold,
        grant: &Grant,
        username: Option<&str>,
        renews: Option<GrantId>,
    ) -> Result<(Commit, Option<Batch>), NotCommitted> {
        if self.has_stopped(renews) {
            self.release(&hold);
            return Err(NotCommitted::Stopped);
        }
        // The call of a renewed grant goes on: its client need not report again.
        let is_reported = renews.is_some_and(|renewed| self.grants.is_reported(renewed));
        let unreported_at = (!is_reported).then_some(grant.expires_at);
        let is_metered = grant.source.is_metered();
        if is_metered || is_reported {
            let row = GrantRow::new(grant, username, hold.alive_until());
            self.grants.issue(grant.id, if is_reported { row.reported() } else { row });
        }
        self.ledger.commit(&hold, unreported_at);
        let batch = is_metered.then(|| self.take_batch());
        Ok((Commit { grant: grant.id, hold, unreported_at }, batch))
    }

    /// Ends a commit once it is known what happened to its batch. `Ok`: the credential may be handed out. A batch that may
    /// still be written keeps its grant in the books, so they never promise less than the disk.
    pub fn settle(&mut self, commit: &Commit, written: Written) -> Result<(), NotRecorded> {
        match written {
            Written::Yes => Ok(()),
            Written::Unknown => Err(NotRecorded),
            Written::No => {
                self.grants.remove(commit.grant);
                self.ledger.undo(&commit.hold, commit.unreported_at);
                Err(NotRecorded)
            }
        }
    }

    /// Uses the one renewal of a grant. `false` if it may not renew now.
    pub fn take_renewal(&mut self, grant: &Grant) -> bool {
        let now = self.now();
        self.grants.take_renewal(grant, now)
    }

    /// Gives a renewal back: nothing was issued on it.
    pub fn give_renewal_back(&mut self, grant: GrantId) {
        self.grants.give_renewal_back(grant);
    }
}

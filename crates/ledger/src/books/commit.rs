//! The three steps that issue a grant: reserve, commit, settle. The service and the simulation call the same functions.
//!
//! A grant is in the same batch as every change that its admission relied on, so the disk never has one without the other.
//! If a batch cannot be written, the commit is undone in the books, and the undoing changes are written after the batch.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use super::Books;
use crate::changes::Batch;
use crate::client::ClientKey;
use crate::grants::GrantRow;
use crate::key_name::KeyName;
use crate::ledger::Hold;
use crate::source::IceSource;
use crate::spender::{Spender, User};
use crate::token::{Grant, GrantId};
use crate::units::Timestamp;
use crate::verdict::Refusal;

/// No metered credential is minted while the wall clock is further ahead of the books' time than this.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(2 * 86_400);

/// Who asks for a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The client. `None` for one whose requests are vouched for: no allowance of an address applies.
    pub client: Option<ClientKey>,
    /// The grant that the credential renews.
    pub renews: Option<GrantId>,
    /// Who spends what the credential relays.
    pub spender: Option<Arc<Spender>>,
    /// The client's whole IPv6 address, if it is kept.
    pub address: Option<Ipv6Addr>,
    /// The TURN key that minted the credential, once it is minted.
    pub key: Option<KeyName>,
}

impl Requester {
    /// The user who spends.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.spender.as_deref()?.user.as_ref()
    }
}

impl From<Option<GrantId>> for Requester {
    fn from(renews: Option<GrantId>) -> Self {
        Self { renews, ..Self::default() }
    }
}

/// Why no budget is reserved for a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The budget has no room.
    Refused(Refusal),
    /// The wall clock is more than two days ahead of the books.
    ClockInDoubt,
    /// The user is blocked.
    UserBlocked,
    /// There is a limit for each user, and the table of users has no room for another one.
    TooManyUsers,
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A commit whose write has not been settled yet. [`Books::settle`] ends it.
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
    /// It is not on disk.
    No,
    /// It may be on disk, now or later.
    Unknown,
}

/// The ledger could not be written. A credential must not be handed out, and an override is lost at a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger could not be written")]
pub struct NotRecorded;

/// Why a new credential must not be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCommitted {
    /// The ledger could not be written.
    #[error(transparent)]
    NotRecorded(#[from] NotRecorded),
    /// An override forbids it.
    #[error("an override by the operator forbids it")]
    Stopped,
}

impl Books {
    /// Reserves budget for a credential that the provider creates within `slack`. Its lifetime is `life` or shorter.
    ///
    /// While the wall clock is ahead and not accepted yet, either time may be right. The hold begins at the books' time and
    /// ends with a credential that is created at the wall clock's time, so it covers the credential in both cases.
    ///
    /// Of a grant and its renewal, only one relays at a time, so a renewal only needs room for the time after the promise for
    /// the renewed grant ends. In strict mode, a client may only reserve its share of the limit, and a user the limit of a user.
    /// A user could relay with both, so for the limit of a user a renewal reserves all its minutes.
    pub fn reserve(
        &mut self,
        source: IceSource,
        life: Duration,
        slack: Duration,
        requester: impl Into<Requester>,
    ) -> Result<Hold, NotAdmitted> {
        let requester = requester.into();
        let user = requester.user().cloned();
        if user.as_ref().is_some_and(|user| self.is_blocked(user)) {
            return Err(NotAdmitted::UserBlocked);
        }
        let Requester { client, renews, .. } = requester;
        let ahead = self.clock_ahead();
        if source.is_metered() && ahead > CLOCK_AHEAD_MAX {
            return Err(NotAdmitted::ClockInDoubt);
        }
        let renewed = renews.and_then(|id| self.grants.get(id)).filter(|row| row.source == source);
        let promised_until = renewed.and_then(|row| row.alive_until);
        let client = client.filter(|_| self.ledger.is_strict() && source.is_metered());
        let now = self.now();
        let shares = client.map_or([None; 2], |client| self.grants.shares(client, now));
        let user = user.filter(|_| source.is_metered() && self.user_limit().is_some());
        if user.as_ref().is_some_and(|user| !self.grants.has_room_for(user, now)) {
            return Err(NotAdmitted::TooManyUsers);
        }
        let of_user = user.as_ref().and_then(|user| self.user_share(user));
        let slack = slack.saturating_add(ahead);
        let mut hold = self.ledger.try_admit_client(source, life, slack, promised_until, shares, of_user)?;
        (hold.client, hold.clock_ahead) = (client, ahead);
        if let Some(user) = user {
            self.grants.hold_row(&user);
            if self.grants.promises_to_users() {
                self.grants.promise(&user, source, &hold.may_relay());
            }
            hold.user = Some(user);
        }
        if let (Some(client), Some(end)) = (client, hold.alive_until()) {
            self.grants.reserve(client, end, hold.minutes());
        }
        Ok(hold)
    }

    /// Releases a hold whose credential was not handed out.
    pub fn release(&mut self, hold: &Hold) {
        self.ledger.release(hold);
        self.release_share(hold);
        self.withdraw(hold);
        self.give_row_back(hold);
    }

    fn give_row_back(&mut self, hold: &Hold) {
        if let Some(user) = &hold.user {
            self.grants.give_row_back(user);
        }
    }

    fn withdraw(&mut self, hold: &Hold) {
        if let Some(user) = hold.user.as_ref().filter(|_| self.grants.promises_to_users()) {
            self.grants.withdraw(user, hold.source(), &hold.may_relay());
        }
    }

    fn release_share(&mut self, hold: &Hold) {
        if let (Some(client), Some(end)) = (hold.client, hold.alive_until()) {
            self.grants.release(client, end, hold.minutes());
        }
    }

    /// Puts a grant into the books, or releases the hold if an override forbids it.
    ///
    /// The batch must be written before the credential is handed out. It is `None` for an unmetered credential.
    pub fn commit(
        &mut self,
        hold: Hold,
        grant: &Grant,
        username: Option<&str>,
        requester: impl Into<Requester>,
    ) -> Result<(Commit, Option<Batch>), NotCommitted> {
        let requester = requester.into();
        let is_blocked = requester.user().is_some_and(|user| self.is_blocked(user));
        let Requester { client, renews, spender, address, key } = requester;
        let address = address.filter(|_| self.grants.keeps_whole_addresses());
        if is_blocked || self.has_stopped(renews) {
            self.release(&hold);
            return Err(NotCommitted::Stopped);
        }
        // The call continues under the new grant, so its client does not have to report again.
        let is_reported = renews.is_some_and(|renewed| self.grants.is_reported(renewed));
        let unreported_at = (!is_reported).then_some(grant.expires_at);
        let is_metered = grant.source.is_metered();
        if is_metered || is_reported {
            let reserved = hold.client.map_or(0, |_| hold.minutes());
            let row = GrantRow::new(grant, username, hold.alive_until())
                .issued_to(client, reserved)
                .with_clock_ahead(hold.clock_ahead)
                .promised(hold.may_relay().start, address)
                .reserved(hold.reserved_from())
                .spent_by(spender)
                .minted_with(key);
            self.grants.issue(grant.id, if is_reported { row.reported() } else { row });
        }
        if let Some(renewed) = renews {
            self.grants.note_renewal(renewed, grant.id);
        }
        self.give_row_back(&hold);
        self.ledger.commit(&hold, unreported_at);
        let batch = is_metered.then(|| self.take_batch());
        Ok((Commit { grant: grant.id, hold, unreported_at }, batch))
    }

    /// Ends a commit with the outcome of its write. `Ok`: the credential may be handed out. If the outcome is unknown, the
    /// grant stays in the books, so that they never have fewer grants than the disk.
    pub fn settle(&mut self, commit: &Commit, written: Written) -> Result<(), NotRecorded> {
        if written != Written::No {
            self.settle_promise(commit);
            self.grants.settle(commit.grant);
        }
        match written {
            Written::Yes => Ok(()),
            Written::Unknown => Err(NotRecorded),
            Written::No => {
                let row = self.grants.get(commit.grant);
                if row.is_none() {
                    self.withdraw(&commit.hold);
                }
                let row = self.grants.get(commit.grant);
                let is_charged = row.is_none_or(|row| row.unreported_at().is_some());
                self.ledger.undo(&commit.hold, commit.unreported_at.filter(|_| is_charged));
                self.grants.remove(commit.grant);
                self.release_share(&commit.hold);
                Err(NotRecorded)
            }
        }
    }

    /// The row of the grant has taken its user's promise over. Without a row, the promise cannot be given back any more.
    fn settle_promise(&mut self, commit: &Commit) {
        let user = commit.hold.user.as_ref().filter(|_| self.grants.promises_to_users());
        if let Some(user) = user.filter(|_| self.grants.get(commit.grant).is_none()) {
            let (minutes, now) = (commit.hold.may_relay(), self.now());
            self.withdraw(&commit.hold);
            self.grants.assume_all(user, minutes.end.since(minutes.start), now);
        }
    }

    /// Uses the one renewal of a grant. `false` if it may not renew now.
    pub fn take_renewal(&mut self, grant: &Grant) -> bool {
        let now = self.now();
        self.grants.take_renewal(grant, now)
    }

    /// Gives back a renewal that issued no grant.
    pub fn give_renewal_back(&mut self, grant: GrantId) {
        self.grants.give_renewal_back(grant);
    }
}

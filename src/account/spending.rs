//! Who spends: the sums of users, labels, origins, addresses and calls, the grants behind them, what a source counted for each grant, and
//! what the operator does about a user.

use super::Account;
use crate::rate::PresentRate;
use turn_ledger::books::{Books, NotRecorded, Snapshot, TooManyBlocked, UserRevoked};
use turn_ledger::grant_counts::GrantCounts;
use turn_ledger::grants::{GrantFilter, GrantPlace, GrantRow, ListedGrant};
use turn_ledger::source::IceSource;
use turn_ledger::spender::{Call, User};
use turn_ledger::spenders::{Place as SpenderPlace, SpenderKey, SpenderKind, SpenderSums};
use turn_ledger::token::{Grant, GrantId};
use turn_ledger::units::{ByteCount, Timestamp};

/// The sums of one spender, as an operator sees them.
#[derive(Clone, Debug)]
pub struct ListedSpender {
    /// The sums.
    pub row: SpenderSums,
    /// Live grants that were not revoked.
    pub usable: u64,
    /// Whether the user is blocked; `None` if this is no user.
    pub blocked: Option<bool>,
}

impl Account {
    /// The rate at which the budget is used now.
    #[must_use]
    pub fn present_rate(&self) -> PresentRate {
        self.with(|books| PresentRate::of(books))
    }

    /// Revokes all live grants of a user, and closes their connections. Takes effect at once.
    pub async fn revoke_user(&self, user: &User) -> (Vec<(GrantId, GrantRow)>, Result<(), NotRecorded>) {
        let (UserRevoked { grants, closed }, snapshot) =
            self.with(|books| (books.revoke_user(user), books.snapshot()));
        for closed in closed {
            self.report_end(&closed, &snapshot);
        }
        (grants, self.record(false).await)
    }

    /// Notes what its source answered when it was asked to revoke a grant: whether it knew the grant.
    pub fn note_known_to_source(&self, grant: GrantId, is_known: bool) {
        self.with(|books| books.note_known_to_source(grant, is_known));
    }

    /// Blocks a user. Takes effect at once.
    pub async fn block_user(&self, user: &User) -> Result<Result<(), NotRecorded>, TooManyBlocked> {
        self.with(|books| books.block_user(user))?;
        Ok(self.record(false).await)
    }

    /// Unblocks a user. Takes effect at once. `false` if the user was not blocked.
    pub async fn unblock_user(&self, user: &User) -> Result<bool, NotRecorded> {
        let was_blocked = self.with(|books| books.unblock_user(user));
        self.record(false).await.map(|()| was_blocked)
    }

    /// Whether a user is blocked.
    #[must_use]
    pub fn is_blocked(&self, user: &User) -> bool {
        self.with(|books| books.is_blocked(user))
    }

    /// Live grants that were not revoked.
    #[must_use]
    pub fn usable_grants(&self) -> u64 {
        self.with(|books| {
            let revoked = books.grants().revoked_live(books.now());
            books.snapshot().live_grants.saturating_sub(revoked)
        })
    }

    /// Whether anything was issued or reported for a user in this period.
    #[must_use]
    pub fn knows_user(&self, user: &User) -> bool {
        self.with(|books| books.grants().spenders().get(&SpenderKey::User(user.clone())).is_some())
    }

    /// How many users are blocked, and the names of the first `limit` of them, in alphabetical order.
    #[must_use]
    pub fn blocked_users(&self, limit: usize) -> (usize, Vec<User>) {
        self.with(|books| (books.blocked().len(), books.blocked().iter().take(limit).cloned().collect()))
    }

    /// The first `limit` sums of a kind after a place, most bytes first, and the instant of these figures.
    #[must_use]
    pub fn spenders(
        &self,
        kind: SpenderKind,
        limit: usize,
        after: Option<&SpenderPlace>,
    ) -> (Vec<ListedSpender>, Snapshot) {
        self.with(|books| {
            let revoked = books.grants().revoked_by(kind);
            let listed = |row: SpenderSums| {
                let revoked = row.key.as_ref().and_then(|key| revoked.get(key).copied());
                let blocked = match &row.key {
                    Some(SpenderKey::User(user)) => Some(books.is_blocked(user)),
                    _ => None,
                };
                ListedSpender { usable: row.live.saturating_sub(revoked.unwrap_or(0)), blocked, row }
            };
            let rows = books.spenders(kind, limit, after);
            (rows.into_iter().map(listed).collect(), books.snapshot())
        })
    }

    /// What the grants of each call have used in this period. `None` for a call without a row of its own.
    #[must_use]
    pub fn bytes_of_calls(&self, calls: impl Iterator<Item = Call>) -> Vec<Option<ByteCount>> {
        let keys: Vec<_> = calls.map(SpenderKey::Call).collect();
        self.with(|books| {
            let spenders = books.grants().spenders();
            keys.iter().map(|key| Some(spenders.get(key)?.sums.bytes())).collect()
        })
    }

    /// The first `limit` grants of this period after a place, most bytes first, and the instant of these figures.
    #[must_use]
    pub fn grants(
        &self,
        filter: &GrantFilter,
        limit: usize,
        after: Option<GrantPlace>,
    ) -> (Vec<ListedGrant>, Snapshot) {
        self.with(|books| (books.grants().top(filter, limit, after, books.now()), books.snapshot()))
    }

    /// Until when a source has counted its grants for good: the next counts by grant begin here.
    #[must_use]
    pub fn grant_counts_from(&self, source: IceSource) -> Timestamp {
        self.with(|books| books.grant_counts_from(source))
    }

    /// Takes what a source counted for its grants. `false` if the counts begin before [`Self::grant_counts_from`].
    pub fn take_grant_counts(&self, source: IceSource, counts: &GrantCounts) -> bool {
        self.with(|books| books.take_grant_counts(source, counts))
    }

    /// How many ended grants are kept, and how many keys of each kind have a row and gave it up.
    #[must_use]
    pub fn spender_counts(&self) -> (usize, [(SpenderKind, usize, u64); SpenderKind::ALL.len()]) {
        self.with(|books| {
            let grants = books.grants();
            let counts = SpenderKind::ALL.map(|kind| {
                let (rows, folded) = grants.spenders().counts_of(kind);
                (kind, rows, folded)
            });
            (grants.ended_count(), counts)
        })
    }

    /// The user of a grant that is known, has not expired and was not revoked. `None` for any other grant.
    #[must_use]
    pub fn grant_user(&self, grant: &Grant) -> Option<Option<User>> {
        self.with(|books| {
            let row = books.grants().get(grant.id).filter(|row| row.revoked_at.is_none())?;
            let is_live = row.expires_at > books.now();
            is_live.then(|| row.spender.as_ref().and_then(|spender| spender.user.clone()))
        })
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
}

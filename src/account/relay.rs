//! What the relay in this process asks the account: where its count begins, and whose time is over.

use super::Account;
use super::books::Books;
use crate::budget::grant::GrantId;
use crate::budget::issued::Issued;
use crate::budget::reading::Reading;
use crate::ice::IceSource;
use crate::units::Timestamp;

/// Why nothing more is relayed for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantEnd {
    /// Its credential is over.
    Expired,
    /// The operator has revoked it.
    Revoked,
    /// The budget is spent.
    Spent,
}

impl GrantEnd {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Spent => "spent",
        }
    }

    /// `expires_at` is what the credential itself says, for one that the table of those that are out had no room for; the
    /// table has it in the books' time, which a clock that was set back does not move.
    fn of(issued: Option<&Issued>, expires_at: Timestamp, is_spent: bool, now: Timestamp) -> Option<Self> {
        let is_revoked = issued.is_some_and(|issued| issued.revoked_at.is_some());
        let expires_at = issued.map_or(expires_at, |issued| issued.expires_at);
        match () {
            () if is_revoked => Some(Self::Revoked),
            () if now >= expires_at => Some(Self::Expired),
            () => is_spent.then_some(Self::Spent),
        }
    }
}

impl Account {
    /// Whether nothing more is to be relayed for a grant whose credential says that it is good until `expires_at`.
    #[must_use]
    pub fn grant_end(&self, grant: GrantId, expires_at: Timestamp) -> Option<GrantEnd> {
        self.with(|books, now| {
            let is_spent = books.statement().figures.is_spent();
            GrantEnd::of(books.issued(grant), expires_at, is_spent, now)
        })
    }

    /// The latest count of a source in this period, if it has one.
    #[must_use]
    pub fn reading(&self, source: IceSource) -> Option<Reading> {
        self.with(|books, _| Books::reading(books, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn issued(revoked_at: Option<Timestamp>) -> Issued {
        Issued { source: IceSource::Relay, username: None, expires_at: at(100), revoked_at }
    }

    #[test]
    fn a_credential_is_over_from_its_expiry_on() {
        for (row, said) in [(Some(issued(None)), at(1)), (Some(issued(None)), at(500)), (None, at(100))] {
            assert_eq!(GrantEnd::of(row.as_ref(), said, false, at(99)), None);
            assert_eq!(GrantEnd::of(row.as_ref(), said, false, at(100)), Some(GrantEnd::Expired));
        }
    }

    #[test]
    fn a_revoked_one_is_over_at_once_and_a_spent_budget_ends_all() {
        let revoked = issued(Some(at(1)));
        assert_eq!(GrantEnd::of(Some(&revoked), at(100), false, at(2)), Some(GrantEnd::Revoked));
        assert_eq!(GrantEnd::of(Some(&issued(None)), at(100), true, at(2)), Some(GrantEnd::Spent));
        assert_eq!(GrantEnd::of(None, at(100), true, at(2)), Some(GrantEnd::Spent));
    }
}

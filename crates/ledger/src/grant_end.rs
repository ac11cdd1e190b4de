//! Whether a grant is over, and why: the one place that decides it, for whoever relays or ends sessions. Pure.

use crate::issued::Issued;
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

    /// `said` is until when the credential itself says that it is good, for one that the table of those that are out had no
    /// room for; one that does not say so either is over. The table has it in the books' time, which a clock that was set
    /// back does not move.
    #[must_use]
    pub fn of(
        issued: Option<&Issued>,
        said: impl Into<Option<Timestamp>>,
        is_spent: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let is_revoked = issued.is_some_and(|issued| issued.revoked_at.is_some());
        let expires_at = issued.map(|issued| issued.expires_at).or(said.into());
        match () {
            () if is_revoked => Some(Self::Revoked),
            () if expires_at.is_none_or(|end| now >= end) => Some(Self::Expired),
            () => is_spent.then_some(Self::Spent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::IceSource;

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

    #[test]
    fn one_that_neither_the_table_nor_its_name_dates_is_over() {
        assert_eq!(GrantEnd::of(None, None::<Timestamp>, false, at(1)), Some(GrantEnd::Expired));
        assert_eq!(GrantEnd::of(Some(&issued(None)), None::<Timestamp>, false, at(99)), None);
    }
}

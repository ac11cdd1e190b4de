//! The rules for allocations. Pure. A client address that has an allocation keeps it until the relay ends it. A new allocation
//! requires a live grant, an unspent budget, and fewer than [`ALLOCATIONS_PER_GRANT_MAX`] allocations of the grant. The TURN
//! library checks passwords in addition to these rules.

use turn_ledger::grants::GrantEnd;
use turn_ledger::token::GrantId;
use turn_ledger::units::Timestamp;

/// Concurrent allocations of one grant: enough for a small mesh, which has twice as many during a renewal.
pub const ALLOCATIONS_PER_GRANT_MAX: usize = 8;

/// A parsed user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Username {
    /// From this time on, new allocations are refused.
    pub expires_at: Timestamp,
    /// The grant that the credential belongs to.
    pub grant: GrantId,
}

impl Username {
    /// Reads `<expiry>:<grant id>`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (expiry, grant) = text.split_once(':')?;
        let digits_only = !expiry.is_empty() && expiry.bytes().all(|b| b.is_ascii_digit());
        let seconds: i64 = expiry.parse().ok().filter(|_| digits_only)?;
        Some(Self {
            expires_at: Timestamp::from_millis(seconds.saturating_mul(1_000)),
            grant: grant.parse().ok()?,
        })
    }
}

/// Why an allocation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The user name is not one of ours.
    Unknown,
    /// The grant has ended, or the budget is spent.
    Ended(GrantEnd),
    /// The grant has [`ALLOCATIONS_PER_GRANT_MAX`] allocations.
    GrantFull,
    /// The relay has its maximum number of allocations.
    Full,
}

impl Refused {
    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ended(end) => end.name(),
            Self::GrantFull => "grant_full",
            Self::Full => "full",
        }
    }
}

/// Whether a client may use its allocation, or get a new one. `has_one`: its address has an allocation with this user
/// name. `of_grant`: the number of allocations of its grant.
pub fn judge(has_one: bool, end: Option<GrantEnd>, of_grant: usize) -> Result<(), Refused> {
    match end {
        _ if has_one => Ok(()),
        Some(end) => Err(Refused::Ended(end)),
        None if of_grant >= ALLOCATIONS_PER_GRANT_MAX => Err(Refused::GrantFull),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_user_name_is_an_expiry_and_a_grant() {
        let grant = GrantId::new([7; 16]);
        let parsed = Username::parse(&format!("1795153944:{grant}")).unwrap();
        let expires_at = Timestamp::from_millis(1_795_153_944_000);
        assert_eq!(parsed, Username { expires_at, grant });
    }

    #[test]
    fn any_other_text_is_not_a_user_name() {
        let grant = GrantId::new([7; 16]);
        let huge = format!("99999999999999999999:{grant}");
        let signed = format!("+1:{grant}");
        for text in ["", ":", "1795153944", "1795153944:", "1795153944:alice", &huge, &signed] {
            assert_eq!(Username::parse(text), None, "{text}");
        }
        assert_eq!(Username::parse(&format!(":{grant}")), None);
        assert_eq!(Username::parse(&format!("1:{grant}x")), None);
        assert_eq!(Username::parse(&format!("1:{grant}:2")), None);
    }

    #[test]
    fn an_ended_grant_gets_no_new_allocation_and_keeps_its_old_ones() {
        for end in [GrantEnd::Expired, GrantEnd::Revoked, GrantEnd::Spent] {
            assert_eq!(judge(false, Some(end), 0), Err(Refused::Ended(end)));
            assert_eq!(judge(true, Some(end), 1), Ok(()));
        }
    }

    #[test]
    fn one_grant_has_a_bounded_number_of_allocations() {
        assert_eq!(judge(false, None, ALLOCATIONS_PER_GRANT_MAX - 1), Ok(()));
        assert_eq!(judge(false, None, ALLOCATIONS_PER_GRANT_MAX), Err(Refused::GrantFull));
        assert_eq!(judge(true, None, ALLOCATIONS_PER_GRANT_MAX), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = Username::parse(&text);
        }
    }
}

//! Who may have an allocation. A client address that has one keeps it until its grant's end is enforced; for a new one
//! the grant has to be alive, the budget unspent, and there is a bound for each grant. Passwords are checked elsewhere:
//! what is refused here is refused whatever the password. Pure.

use turn_ledger::grants::GrantEnd;
use turn_ledger::token::GrantId;
use turn_ledger::units::Timestamp;

/// Allocations of one grant at once: a mesh of some peers, twice while it renews.
pub const ALLOCATIONS_PER_GRANT_MAX: usize = 8;

/// What a user name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Username {
    /// Until when it is good for new allocations.
    pub expires_at: Timestamp,
    /// Whose it is.
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

/// Why somebody gets no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No user name of ours.
    Unknown,
    /// Its grant has ended, or the budget is spent.
    Ended(GrantEnd),
    /// Its grant has as many as it may.
    GrantFull,
    /// There are as many as there may be.
    Full,
}

impl Refused {
    /// The name in metrics.
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

/// Whether a client may go on, or have an allocation. `has_one`: its address has one under this user name already.
/// `of_grant`: how many its grant has.
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
    fn everything_else_is_nobody() {
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
    fn a_grant_that_is_over_gets_nothing_new_and_keeps_what_it_has() {
        for end in [GrantEnd::Expired, GrantEnd::Revoked, GrantEnd::Spent] {
            assert_eq!(judge(false, Some(end), 0), Err(Refused::Ended(end)));
            assert_eq!(judge(true, Some(end), 1), Ok(()));
        }
    }

    #[test]
    fn one_grant_has_so_many_and_no_more() {
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

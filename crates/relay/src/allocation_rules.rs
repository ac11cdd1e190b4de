//! The rules for allocations. Pure. A client address that has an allocation keeps it until the relay ends it. A new allocation
//! requires a live grant, an unspent budget and fewer than [`ALLOCATIONS_PER_GRANT_MAX`] allocations of the grant. The TURN library checks
//! passwords in addition to these rules.

use turn_ledger::{GrantEnd, GrantId, Timestamp};

/// Concurrent allocations.
pub(crate) const ALLOCATIONS_MAX: usize = 1_280;
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
pub(crate) enum Refused {
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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ended(end) => end.into(),
            Self::GrantFull => "grant_full",
            Self::Full => "full",
        }
    }
}

/// The allocations that exist, before one more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExistingAllocations {
    /// The client's address and port have an allocation with this user name.
    pub(crate) is_its_own: bool,
    /// Allocations of its grant.
    pub(crate) of_grant: usize,
}

/// Whether a client may use its allocation, or get a new one.
pub(crate) fn judge(existing: ExistingAllocations, end: Option<GrantEnd>) -> Result<(), Refused> {
    match end {
        _ if existing.is_its_own => Ok(()),
        Some(end) => Err(Refused::Ended(end)),
        None if existing.of_grant >= ALLOCATIONS_PER_GRANT_MAX => Err(Refused::GrantFull),
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

    const NEW: ExistingAllocations = ExistingAllocations { is_its_own: false, of_grant: 0 };

    #[test]
    fn a_new_allocation_needs_a_live_grant_and_room_and_an_old_one_stays() {
        let of_grant = ALLOCATIONS_PER_GRANT_MAX;
        for (existing, refused) in [
            (ExistingAllocations { of_grant: of_grant - 1, ..NEW }, None),
            (ExistingAllocations { of_grant, ..NEW }, Some(Refused::GrantFull)),
            (ExistingAllocations { is_its_own: true, of_grant }, None),
        ] {
            assert_eq!(judge(existing, None), refused.map_or(Ok(()), Err), "{existing:?}");
            for end in [GrantEnd::Expired, GrantEnd::Revoked, GrantEnd::Spent] {
                let refused = (!existing.is_its_own).then_some(Refused::Ended(end));
                assert_eq!(judge(existing, Some(end)), refused.map_or(Ok(()), Err), "{existing:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = Username::parse(&text);
        }
    }
}

//! User names, and the bounds of allocations.

use crate::prelude::*;

/// The most concurrent allocations.
pub(crate) const ALLOCATIONS_MAX: usize = 1_280;
/// The most concurrent allocations of one grant: enough for a small mesh, which has twice as many as usual during a renewal.
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
        let seconds: i64 = if digits_only { expiry.parse().ok() } else { None }?;
        Some(Self {
            expires_at: Timestamp::from_millis(seconds.saturating_mul(1_000)),
            grant: grant.parse().ok()?,
        })
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

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = Username::parse(&text);
        }
    }
}

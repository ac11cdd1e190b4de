//! The settings of the sums: the limits, how many sums there are, and what they keep. Tests: `src/books/spending/tests/listing.rs`.

use turn_budget::ByteCount;

/// The least limit of an address that follows from the limit of all.
pub const ADDRESS_LIMIT_MIN: ByteCount = ByteCount::new(5_000_000_000);
/// The limit of an address is one part in this many of the limit of all.
pub(crate) const ADDRESS_LIMIT_PART: u64 = 10;
/// Most users with a limit.
pub const USERS_MAX: usize = 100_000;
/// Most sums of what left the table of grants.
pub const LEFT_SUMS_MAX: usize = 50_000;
/// Most ended grants that are kept after their last bytes are counted.
pub const ENDED_GRANTS_MAX: usize = 50_000;

/// What of a client's address is kept with a grant for the sums. The limits of a client do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeptAddresses {
    /// The whole address.
    Full,
    /// An IPv4 address, or the first 64 bits of an IPv6 address.
    #[default]
    Prefix,
    /// Nothing.
    None,
}

/// How the sums are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpenderTerms {
    /// Bytes that one user may use in a period; `None`: no limit.
    pub user_limit: Option<ByteCount>,
    /// Bytes that one chain of renewals may relay in a period; `None`: no limit.
    pub grant_limit: Option<ByteCount>,
    /// Bytes that one address may use on a UTC day with credentials of nobody. Zero: no limit. `None`: a tenth of the limit, at least
    /// [`ADDRESS_LIMIT_MIN`].
    pub address_limit: Option<ByteCount>,
    /// What of a client's address is kept.
    pub addresses: KeptAddresses,
    /// Most users with a limit.
    pub users_max: usize,
    /// Most sums of what left the table of grants.
    pub left_max: usize,
    /// How many ended grants are kept after their last bytes are counted.
    pub ended_max: usize,
}

impl Default for SpenderTerms {
    fn default() -> Self {
        Self {
            user_limit: None,
            grant_limit: None,
            address_limit: None,
            addresses: KeptAddresses::default(),
            users_max: USERS_MAX,
            left_max: LEFT_SUMS_MAX,
            ended_max: ENDED_GRANTS_MAX,
        }
    }
}

//! What the mint gives: a credential with all that is known of it, public STUN servers with a reason, or neither.

use std::time::Duration;

use crate::ice::server::IceServerList;
use turn_ledger::source::IceSource;
use turn_ledger::token::{GrantId, GrantToken};
use turn_ledger::units::Timestamp;
use turn_ledger::verdict::Refusal;

/// Why an answer does not come from the first source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DegradedReason {
    /// The first source has no settings.
    NotConfigured,
    /// The kill switch is on, or the grant that renews was revoked meanwhile.
    Disabled,
    /// The source failed, or its breaker is open.
    ProviderUnavailable,
    /// The budget is spent.
    BudgetExhausted,
    /// The ledger cannot be written.
    LedgerUnavailable,
}

impl DegradedReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NotConfigured,
        Self::Disabled,
        Self::ProviderUnavailable,
        Self::BudgetExhausted,
        Self::LedgerUnavailable,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "NOT_CONFIGURED",
            Self::Disabled => "DISABLED",
            Self::ProviderUnavailable => "PROVIDER_UNAVAILABLE",
            Self::BudgetExhausted => "BUDGET_EXHAUSTED",
            Self::LedgerUnavailable => "LEDGER_UNAVAILABLE",
        }
    }
}

/// Why there is no answer with ICE servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The budget has no room.
    Refused(Refusal),
    /// The ledger cannot be written.
    NotRecorded,
}

/// A credential, for one caller.
#[derive(Clone, Debug)]
pub struct IssuedCredential {
    /// The servers, credential included.
    pub ice_servers: IceServerList,
    /// Who made it.
    pub source: IceSource,
    /// Life, whole seconds.
    pub ttl: Duration,
    /// When it was asked for: the earliest that its life can have begun. Of one that lay ready: when it was handed out.
    pub issued_at: Timestamp,
    /// `issued_at + ttl`.
    pub expires_at: Timestamp,
    /// From when on a renewal makes sense: three quarters of its life.
    pub refresh_after: Timestamp,
    /// The grant's id, for logs.
    pub grant: GrantId,
    /// The signed token.
    pub token: GrantToken,
    /// Why the first source did not serve, if it did not.
    pub degraded: Option<DegradedReason>,
}

/// An answer with ICE servers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A credential.
    Minted(Box<IssuedCredential>),
    /// Public STUN servers; degraded unless STUN is the first source.
    Stun(Option<DegradedReason>),
}

//! The result of a mint: an issued credential, or public STUN servers with a reason.

use std::time::Duration;

use super::token::GrantToken;
use crate::ice::server::IceServerList;
use turn_ledger::{GrantId, IceSource, Timestamp};

/// Why the first source was skipped, or why the relay is in another region than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum DegradedReason {
    /// The first source has no settings.
    NotConfigured,
    /// Minting is stopped, or the grant to renew was revoked during the mint.
    Disabled,
    /// The source failed, its breaker is open, or no relay serves in the region that was asked for.
    ProviderUnavailable,
    /// The budget has no room, or the relays have used what they may relay.
    BudgetExhausted,
    /// The ledger cannot be written, its time is in doubt, its table of grants is full, or the credential came later than its hold covers.
    LedgerUnavailable,
}

impl DegradedReason {
    /// The name on the wire.
    pub fn code(self) -> &'static str {
        self.into()
    }
}

/// A credential issued to one caller.
#[derive(Clone, Debug)]
pub struct IssuedCredential {
    /// The servers, with the credential.
    pub ice_servers: IceServerList,
    /// The source that minted it.
    pub source: IceSource,
    /// Life in whole seconds.
    pub ttl: Duration,
    /// When the request to the source began: the earliest start of the credential's life. For a credential minted ahead, when
    /// it was handed out. The earlier of wall time and the books' time.
    pub issued_at: Timestamp,
    /// `issued_at + ttl`.
    pub expires_at: Timestamp,
    /// When the grant may be renewed: after three quarters of its life.
    pub refresh_after: Timestamp,
    /// The grant's id, for logs.
    pub grant: GrantId,
    /// The signed grant token.
    pub token: GrantToken,
    /// Why the first source was skipped, or why the relay is in another region than asked for; `None` if neither.
    pub degraded: Option<DegradedReason>,
}

/// The ICE servers for one caller.
#[derive(Clone, Debug)]
pub enum IceResponse {
    /// A credential.
    Minted(Box<IssuedCredential>),
    /// Public STUN servers. Without a reason, STUN is the first source.
    Stun(Option<DegradedReason>),
}

impl IceResponse {
    /// The servers of the response. `stun`: the STUN servers of the settings.
    pub fn servers<'a>(&'a self, stun: &'a IceServerList) -> &'a IceServerList {
        match self {
            Self::Minted(minted) => &minted.ice_servers,
            Self::Stun(_) => stun,
        }
    }
}

//! The result of a mint: an issued credential, or public STUN servers with a reason.

use std::time::Duration;

use super::token::GrantToken;
use crate::alert::StopCode;
use crate::ice::server::IceServerList;
use turn_ledger::{GrantId, IceSource, Timestamp};

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
    /// Why the first source was skipped, or why its relay is in another region than asked for or fails the probes; `None` if neither.
    pub degraded: Option<StopCode>,
}

/// The ICE servers for one caller.
#[derive(Clone, Debug)]
pub enum IceResponse {
    /// A credential.
    Minted(Box<IssuedCredential>),
    /// Public STUN servers. Without a reason, STUN is the first source.
    Stun(Option<StopCode>),
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

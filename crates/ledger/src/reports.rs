//! The requests and results of the table of connections. Tests: `src/connections/tests`.

use crate::connection::{Name, Owner};
use crate::prelude::*;

/// Most open connections of one grant. A mesh call has one connection for each peer.
pub const CONNECTIONS_PER_GRANT_MAX: u32 = 64;

/// Who makes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// A client with this grant.
    Grant(Grant),
    /// The broker's own signaling, for a member of a call. The member has this grant, and its connections belong to the grant. Only the
    /// member itself says that it is in a call, so these reports are claims.
    Member(Grant),
    /// The app server with the reporter token.
    Reporter,
    /// An app server with the server key of this name.
    Server(&'a Label),
}

impl Caller<'_> {
    /// The grant that the connections of this caller belong to.
    pub fn grant(self) -> Option<Grant> {
        match self {
            Self::Grant(grant) | Self::Member(grant) => Some(grant),
            Self::Reporter | Self::Server(_) => None,
        }
    }

    /// Whether this caller may report on and close connections of the grant `id`, and end the grant's credential. Every route that does one
    /// of these asks this function. `minted_by`: the server key that minted the grant; `None` if none did.
    pub fn acts_for(self, id: GrantId, minted_by: Option<&Label>) -> bool {
        match self {
            Self::Grant(grant) | Self::Member(grant) => grant.id == id,
            Self::Reporter => true,
            Self::Server(key) => minted_by == Some(key),
        }
    }

    /// Whether this caller may report on a connection of this name, which somebody else may have opened. `minted_by`: returns the server
    /// key that minted a grant; `None` if none did.
    pub(crate) fn reports_on<'g>(
        self,
        name: &Name,
        minted_by: impl FnOnce(GrantId) -> Option<&'g Label>,
    ) -> bool {
        match (self, name.owner()) {
            (_, Owner::Grant(id)) => self.acts_for(*id, minted_by(*id)),
            (Self::Reporter, _) => true,
            (Self::Server(key), Owner::Server(owner)) => key == owner,
            (Self::Server(_), Owner::Reporter) | (Self::Grant(_) | Self::Member(_), _) => false,
        }
    }

    /// The name of a connection that this caller opens under this id.
    pub(crate) fn names(self, id: &str) -> Name {
        let owner = match self {
            Self::Grant(grant) | Self::Member(grant) => Owner::Grant(grant.id),
            Self::Reporter => Owner::Reporter,
            Self::Server(key) => Owner::Server(key.clone()),
        };
        Name::new(id, owner)
    }

    /// Whether its reports are believed: the allowances for claims do not clamp them.
    pub fn is_vouched(self) -> bool {
        matches!(self, Self::Reporter | Self::Server(_))
    }
}

/// The result of `open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A new connection.
    New,
    /// The connection was open already. The request counts as a heartbeat.
    Already,
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The grant has expired.
    #[error("the grant has expired")]
    GrantExpired,
    /// The grant was renewed, and its client has the next grant.
    #[error("the grant was renewed")]
    GrantRenewed,
    /// The grant has [`CONNECTIONS_PER_GRANT_MAX`] open connections.
    #[error("{CONNECTIONS_PER_GRANT_MAX} connections are open on this grant")]
    TooManyOnGrant,
    /// The client, its group, the user or the server key has as many open connections as it may have.
    #[error("too many connections of this address, user or server key are open")]
    TooManyOnClient,
    /// The limit of the server key has no room for another connection.
    #[error("the limit of the server key is used up")]
    KeyLimitReached,
    /// The grant was revoked.
    #[error("the grant was revoked")]
    GrantRevoked,
    /// The app server names a user that is blocked.
    #[error("the user is blocked")]
    UserBlocked,
    /// The table is full.
    #[error("the table of connections is full")]
    TableFull,
}

/// Why a report is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// No open connection with this id is one on which the caller may report, or it is not clear which one is meant.
    #[error("no such connection")]
    Unknown,
    /// The limit of the server key is used up.
    #[error("the limit of the server key is used up")]
    KeyLimitReached,
    /// The caller's grant was revoked.
    #[error("the grant was revoked")]
    GrantRevoked,
}

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its id, without its owner.
    pub id: Arc<str>,
    /// Bytes that it was charged in total.
    pub charged: ByteCount,
    /// Whether it was closed because it stopped reporting.
    pub given_up: bool,
}

/// The result of a report, and whether an allowance clamped it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome<T> {
    /// The result.
    pub value: T,
    /// Whether less was charged than claimed.
    pub clamped: bool,
}

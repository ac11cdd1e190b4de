//! The requests and results of the table of connections. Tests: `src/connections/tests`.

use std::sync::Arc;

use crate::connection::Name;
use crate::token::Grant;
use crate::units::ByteCount;

/// Most open connections of one grant. A mesh call has one connection for each peer.
pub const CONNECTIONS_PER_GRANT_MAX: u32 = 64;

/// Who makes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client with this grant.
    Grant(Grant),
    /// The broker's own signaling, for a member of a call that has this grant. The connection belongs to the grant. That it is in a
    /// call is only what the member says, so its reports are claims.
    Member(Grant),
    /// The app server.
    Reporter,
}

impl Caller {
    /// The grant that the connections of this caller belong to.
    pub fn grant(self) -> Option<Grant> {
        match self {
            Self::Grant(grant) | Self::Member(grant) => Some(grant),
            Self::Reporter => None,
        }
    }

    /// The name of a connection that it opens under this id.
    pub(crate) fn names(self, id: &str) -> Name {
        Name::new(id, self.grant().map(|grant| grant.id))
    }

    /// Whether its reports are not clamped to the allowances.
    pub fn is_vouched(self) -> bool {
        self == Self::Reporter
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
    /// The grant was renewed, and its client has the next one.
    #[error("the grant was renewed")]
    GrantRenewed,
    /// The grant has [`CONNECTIONS_PER_GRANT_MAX`] open connections.
    #[error("{CONNECTIONS_PER_GRANT_MAX} connections are open on this grant")]
    TooManyOnGrant,
    /// The client has as many open connections as one client may have.
    #[error("too many connections of this address or user are open")]
    TooManyOnClient,
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
    /// The caller has no open connection of that name.
    #[error("no such connection")]
    Unknown,
    /// The caller's grant was revoked.
    #[error("the grant was revoked")]
    GrantRevoked,
}

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its name.
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

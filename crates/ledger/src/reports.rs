//! What is said to the table of connections and what it answers: the words between it and its callers.

use std::sync::Arc;

use crate::connection::Owner;
use crate::token::Grant;
use crate::units::ByteCount;
use crate::usage_change::UsageChange;

/// Open connections of one grant: a mesh of that many peers.
pub const CONNECTIONS_PER_GRANT_MAX: u32 = 64;

/// Who is speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client with this grant.
    Grant(Grant),
    /// The app server.
    Reporter,
}

impl Caller {
    /// As whose owner it speaks.
    #[must_use]
    pub fn owner(self) -> Owner {
        match self {
            Self::Grant(grant) => Owner::Grant(grant.id),
            Self::Reporter => Owner::Reporter,
        }
    }
}

/// What `open` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A new connection.
    New,
    /// It was open already; this was a sign of life.
    Already,
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The grant's life is over.
    #[error("the grant has expired")]
    GrantExpired,
    /// Too many for one grant.
    #[error("{CONNECTIONS_PER_GRANT_MAX} connections are open on this grant")]
    TooManyOnGrant,
    /// The table is full.
    #[error("the table of connections is full")]
    TableFull,
}

/// No connection of that name that the caller may speak for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such connection")]
pub struct UnknownConnection;

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its name.
    pub id: Arc<str>,
    /// What it was charged in all.
    pub charged: ByteCount,
    /// Whether it was given up because nobody spoke for it.
    pub given_up: bool,
}

/// What a call came to: a value for the caller, and changes for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The answer.
    pub value: T,
    /// To be applied in order, at the time of the call.
    pub changes: Vec<UsageChange>,
    /// Whether a claim was cut.
    pub clamped: bool,
}

impl<T> Entry<T> {
    pub(crate) fn with<U>(self, value: U) -> Entry<U> {
        Entry { value, changes: self.changes, clamped: self.clamped }
    }
}

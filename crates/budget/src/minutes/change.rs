//! The changes that reported connections make to the ledger. Tests: `../ledger/src/connection_tests.rs`.
//! A change names the owner of the count that replaces it. To apply one, the ledger needs nothing else but its time.

use crate::evidence::CountOwner;
use crate::minutes::Basis;
use crate::units::{Interval, Spread};

/// One change of what an owner of counts is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageChange {
    /// Whose count replaces it.
    pub owner: CountOwner,
    /// Whether the connection has a grant, and so its bytes were promised.
    pub basis: Basis,
    /// What changes.
    pub kind: ChangeKind,
}

/// What a [`UsageChange`] changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The number of running clocks of one connection or session changes. A connection has one clock, a session of the SFU one for each
    /// kbit/s.
    Clocks {
        /// How many of them ran.
        before: u64,
        /// How many of them run from now on.
        after: u64,
    },
    /// A past span of a connection is charged by time.
    AddTime(Interval),
    /// The charge for a past span is reversed, because its bytes are known now.
    RemoveTime(Interval),
    /// A connection reported billed bytes over a past span, at least one.
    AddBytes(Spread),
    /// An app server vouched for bytes under a grant. [`Self::AddBytes`] charges them.
    Vouch(Spread),
}

impl ChangeKind {
    /// One more connection is charged by time from now on.
    pub const START_CLOCK: Self = Self::Clocks { before: 0, after: 1 };
    /// One connection fewer is charged by time from now on.
    pub const STOP_CLOCK: Self = Self::Clocks { before: 1, after: 0 };
}

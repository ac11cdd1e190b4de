//! How reported connections change the ledger. Each change names the source that is charged. Applying one needs nothing
//! else but the time.

use crate::minute::Minute;
use crate::minute_usage::Basis;
use crate::source::IceSource;
use crate::units::{ByteCount, Timestamp};

/// One change of what a source is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageChange {
    /// The source that is charged.
    pub source: IceSource,
    /// Whether the bytes were promised.
    pub basis: Basis,
    /// What changes.
    pub kind: ChangeKind,
}

/// See [`UsageChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// One more connection is charged by time from now on.
    StartClock,
    /// One connection less is charged by time from now on.
    StopClock,
    /// A past stretch of a connection is charged by time.
    AddTime {
        /// Its start.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// A past stretch that was charged by time is taken back: its bytes are known now.
    RemoveTime {
        /// Its start.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// A connection reported that it received bytes over a past stretch.
    AddBytes {
        /// How many.
        bytes: ByteCount,
        /// Start of the stretch.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// A connection reports although its grant and the tail are over. The grant counts as alive for longer.
    ExtendGrant {
        /// The first minute in which it did not count as alive.
        from: Minute,
        /// The first minute in which it does not count as alive now.
        until: Minute,
    },
    /// A connection reports although its grant and the tail are over, and nothing more is promised for it: the bound is in
    /// doubt.
    Outlived {
        /// Until when the connection counts as relaying.
        until: Timestamp,
    },
    /// The client of a grant with this expiry has reported its first connection.
    GrantReported {
        /// When its credential expires.
        expires_at: Timestamp,
    },
}

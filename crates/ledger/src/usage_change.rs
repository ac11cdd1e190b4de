//! What the usage estimator may do to the ledger: the whole vocabulary between the two. Each charge names the source
//! whose bytes it is about; applying one needs nothing else but the time.

use crate::minute_usage::Basis;
use crate::source::IceSource;
use crate::units::{ByteCount, Timestamp};

/// One change of what is charged to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageChange {
    /// Whose bytes.
    pub source: IceSource,
    /// Whether they were promised.
    pub basis: Basis,
    /// Which change.
    pub change: ChangeKind,
}

/// See [`UsageChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// From now on one more connection is charged by time.
    StartClock,
    /// From now on one connection less is charged by time.
    StopClock,
    /// A past stretch of a connection is charged by time.
    AddTime {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// A past stretch that was charged by time is taken back: its bytes are known now.
    RemoveTime {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// Bytes that a connection says to have received over a past stretch.
    AddBytes {
        /// How many.
        bytes: ByteCount,
        /// Begin of the stretch.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// A connection is heard from although its grant and its tail are over: the grant counts as alive for longer.
    ExtendGrant {
        /// Up to where it was counted as alive; a whole minute.
        from: Timestamp,
        /// Up to where it is now; a whole minute.
        until: Timestamp,
    },
    /// A connection is heard from although its grant and its tail are over, and nothing more is promised for it: what
    /// the bound assumes does not hold.
    Outlived {
        /// Up to where it counts as relaying.
        until: Timestamp,
    },
    /// A grant with this expiry has reported its first connection.
    GrantReported {
        /// When its credential ends.
        expires_at: Timestamp,
    },
}

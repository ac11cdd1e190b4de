//! What is said of a source minute by minute, and how it is stored: plain values between the timeline and the disk.

use std::collections::BTreeMap;

use crate::period::Period;
use crate::reading::StoredReading;
use crate::units::Timestamp;

/// Under what a connection was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A grant: its bytes were promised.
    Granted,
    /// Nothing but an app server's word: nobody promised them.
    Ungranted,
}

/// What was said of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimedUsage {
    /// Milliseconds of connections that are charged by time.
    pub connection_millis: u64,
    /// Bytes.
    pub claimed: u64,
}

/// What was said in one minute, as it is stored; it replaces what was stored for that minute before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteUsage {
    /// Under grants.
    pub granted: ClaimedUsage,
    /// Without one.
    pub ungranted: ClaimedUsage,
}

/// A change of how many grants are alive, or will be charged as unreported, from one minute on; stored as a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveDelta {
    /// Alive from here on, more or fewer.
    pub live: i64,
    /// Ending in this minute without a report, more or fewer.
    pub unreported: i64,
}

/// A lane as it was stored: marks and flows by the number of the minute since 1970.
#[derive(Clone, Debug, Default)]
pub struct StoredSource {
    /// Changes of the number of grants.
    pub marks: BTreeMap<i64, LiveDelta>,
    /// What was said.
    pub flows: BTreeMap<i64, MinuteUsage>,
    /// What the period before came to.
    pub previous: Option<PeriodTotal>,
    /// The provider's own count.
    pub reading: Option<StoredReading>,
}

/// What a period came to. Late claims for its last minutes still find their place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PeriodTotal {
    /// Which period.
    pub period: Period,
    /// Its bytes.
    pub used: u128,
    /// Up to where the provider itself counted them: claims for that time change nothing.
    #[serde(default)]
    pub as_of: Timestamp,
}

impl PeriodTotal {
    /// From where on claims still count.
    pub(crate) fn unread_from(&self) -> Timestamp {
        self.period.start.max(self.as_of)
    }
}

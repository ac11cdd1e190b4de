//! What is known of one source by the minute, and how it is stored: plain values between the timeline and the disk.

use std::collections::BTreeMap;

use crate::minute::Minute;
use crate::period::Period;
use crate::reading::StoredReading;
use crate::units::Timestamp;

/// Under what a connection was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A grant: its bytes were promised.
    Granted,
    /// An app server's report without a grant: its bytes were not promised.
    Ungranted,
}

/// Usage that connections reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimedUsage {
    /// Milliseconds of connections that are charged by time.
    pub connection_millis: u64,
    /// Bytes.
    pub claimed: u64,
}

/// Usage of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteUsage {
    /// Under grants. Includes the charges for unreported grants.
    pub granted: ClaimedUsage,
    /// Without a grant.
    pub ungranted: ClaimedUsage,
}

/// How the number of grants changes in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveDelta {
    /// Grants alive from this minute on, more or fewer.
    pub live: i64,
    /// Unreported grants that end in this minute, more or fewer.
    pub unreported: i64,
}

impl LiveDelta {
    /// Sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            live: self.live.saturating_add(other.live),
            unreported: self.unreported.saturating_add(other.unreported),
        }
    }

    /// The change that undoes this one.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { live: self.live.saturating_neg(), unreported: self.unreported.saturating_neg() }
    }
}

/// The stored rows of one source, or changes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRows {
    /// How the number of grants changes. A change is added to what is stored.
    pub deltas: BTreeMap<Minute, LiveDelta>,
    /// Usage by the minute. A change replaces what is stored.
    pub usage: BTreeMap<Minute, MinuteUsage>,
    /// What the period before came to. A change replaces what is stored.
    pub previous: Option<PeriodTotal>,
    /// The provider's own count. A change replaces what is stored.
    pub reading: Option<StoredReading>,
}

impl SourceRows {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds later changes.
    pub fn apply(&mut self, later: Self) {
        for (minute, change) in later.deltas {
            let delta = self.deltas.entry(minute).or_default();
            *delta = delta.plus(change);
        }
        self.usage.extend(later.usage);
        self.previous = later.previous.or(self.previous);
        self.reading = later.reading.or(self.reading);
    }
}

/// What a period came to. Late claims for its last minutes are still added here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PeriodTotal {
    /// Which period.
    pub period: Period,
    /// Its bytes.
    pub used: u128,
    /// Up to where the provider itself counted them. Claims for that time change nothing.
    #[serde(default)]
    pub as_of: Timestamp,
}

impl PeriodTotal {
    /// From where on claims still count.
    pub(crate) fn uncounted_from(&self) -> Timestamp {
        self.period.start.max(self.as_of)
    }
}

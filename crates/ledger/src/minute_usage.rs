//! The stored form of one source, minute by minute: plain values between the timeline and the disk. Tests: `src/timeline/tests`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::day::DayCount;
use crate::dirty::Rows;
use crate::doubt::CountDoubt;
use crate::promise::LiveDelta;
use crate::proof::CountProof;
use crate::reading::LateCounts;
use crate::trial::{Assumption, Excess, TrialHours};
use crate::units::period::Period;
use crate::units::slot::{Day, Minute};
use crate::units::{ByteCount, Timestamp};

/// The basis on which a connection was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A grant: its bytes were promised.
    Granted,
    /// An app server's report without a grant: its bytes were not promised.
    Ungranted,
}

/// Usage that connections reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedUsage {
    /// Milliseconds of connections that are charged by time; of the SFU, kbit/s × ms.
    pub connection_millis: u64,
    /// Bytes that connections claimed.
    pub claimed: u64,
}

/// Usage of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteUsage {
    /// Under grants.
    pub granted: ClaimedUsage,
    /// Without a grant.
    pub ungranted: ClaimedUsage,
    /// The bytes of a count, spread over the minutes that it covers. For plots: no figure uses them.
    pub counted: u64,
}

/// The stored rows of one source, or changes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRows {
    /// Changes of the number of grants. They are added to the stored rows.
    pub deltas: BTreeMap<Minute, LiveDelta>,
    /// Usage by the minute. It replaces the stored row.
    pub usage: BTreeMap<Minute, MinuteUsage>,
    /// Counts by the day. They replace the stored rows.
    pub days: Rows<Day, DayCount>,
    /// What is known of the counts besides their days. It replaces the stored row.
    pub state: Option<SourceState>,
    /// The hourly points of the trial of the assumed rate. A change replaces what is stored.
    pub trial: Option<TrialHours>,
}

/// What is known of the counts of a source besides their days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The period of `flowed`.
    pub(crate) period: Period,
    /// Bytes under our credentials as the trial sees them.
    pub(crate) flowed: ByteCount,
    /// What the counts showed of the assumed rate.
    pub(crate) assumption: Assumption,
    /// What they showed above the assumed rate: of all grants together, and of chains of renewals.
    pub(crate) excess: [Excess; 2],
    /// How late the provider's counts settle.
    pub late: Option<LateCounts>,
    /// The absurd counts that wait for their confirmation.
    pub(crate) doubt: CountDoubt,
    /// The days whose latest count was lower than one before it, by more than the margin.
    pub(crate) fallen: BTreeSet<Day>,
    /// Until when sessions were cut whose grant was over.
    pub(crate) cut_until: Timestamp,
    /// What is known of the probes.
    pub(crate) proof: CountProof,
}

impl SourceRows {
    /// Whether there is nothing to store.
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
        self.days.extend(later.days);
        self.state = later.state.or(self.state.take());
        self.trial = later.trial.or(self.trial.take());
    }
}

//! The stored form of one owner of counts, minute by minute: plain values between the timeline and the disk. Tests: `src/timeline/tests`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::collections::Rows;
use crate::evidence::{CountProof, DayCount, IdDigest, RaisedRate, RateCheckState};
use crate::promise::{GrantMinutes, LiveDelta};
use crate::units::{ByteCount, Day, Minute, Period, Timestamp};

/// The basis on which usage is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A grant: its bytes were promised.
    Granted,
    /// An app server's report without a grant, or the broker's own probe: its bytes were not promised.
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

/// One minute of an owner of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteRow {
    /// Grants whose credential or its tail covers some part of this minute.
    pub live: u64,
    /// The bytes that the live grants may relay, at the rates that were assumed for each.
    pub per_minute: u64,
    /// What connections under grants have reported.
    pub granted: ClaimedUsage,
    /// What app servers have reported without a grant, and what the broker itself relays to test counts.
    pub ungranted: ClaimedUsage,
    /// The bytes that app servers vouched for under grants. They are in `granted`, too, as far as they were charged.
    pub vouched: u64,
    /// The bytes of a count, spread over the minutes that it covers. For plots, and for what was used lately: no other
    /// figure uses them.
    pub counted: u64,
}

impl MinuteRow {
    /// What is claimed on this basis.
    pub fn usage(&mut self, basis: Basis) -> &mut ClaimedUsage {
        match basis {
            Basis::Granted => &mut self.granted,
            Basis::Ungranted => &mut self.ungranted,
        }
    }

    /// The bytes that app servers vouched for, under grants or without one, and those of the broker itself.
    pub fn vouched(&self) -> ByteCount {
        ByteCount::new(self.ungranted.claimed).plus(ByteCount::new(self.vouched))
    }

    /// What its live grants may relay.
    pub fn promised(&self) -> GrantMinutes {
        GrantMinutes { count: self.live.into(), bytes: self.per_minute.into() }
    }

    /// The same, as a change from no live grant.
    pub fn level(&self) -> LiveDelta {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        LiveDelta { live: signed(self.live), per_minute: signed(self.per_minute) }
    }

    pub(crate) fn change_live(&mut self, by: LiveDelta) {
        self.live = self.live.saturating_add_signed(by.live);
        self.per_minute = self.per_minute.saturating_add_signed(by.per_minute);
    }
}

/// The stored rows of one owner of counts, or changes of them. A change replaces the stored row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRows {
    /// The minutes that have begun.
    pub minutes: BTreeMap<Minute, MinuteRow>,
    /// Counts by the day.
    pub days: Rows<Day, DayCount>,
    /// What is known of the counts besides their days.
    pub state: Option<SourceState>,
}

/// What is known of one owner's counts besides their days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The period of `flowed` and `rate_check`.
    pub period: Period,
    /// Bytes under our grants as the averages see them: those that only moved here from another key are left out.
    pub flowed: ByteCount,
    /// What the counts have shown of the assumed rate and tail.
    #[serde(rename = "trial")]
    pub(crate) rate_check: RateCheckState,
    /// The rate that is assumed because it was seen.
    pub raised: Option<RaisedRate>,
    /// When the count of a settled day was last found to have grown.
    pub late: Option<Timestamp>,
    /// A digest of what the provider has counted: the latest known `SourceTerms::counted_in`.
    pub counted_in: Option<IdDigest>,
    /// The id of the TURN key, so that its bytes are asked for when it has left the settings.
    pub turn_key: Option<Arc<str>>,
    /// When a complete listing last showed that sessions are cut: it had no session whose credential had long expired at the
    /// listing before. 1970 if none did.
    pub cut_until: Timestamp,
    /// What is known of the probes.
    pub proof: CountProof,
}

impl SourceRows {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds later changes.
    pub fn apply(&mut self, later: Self) {
        self.minutes.extend(later.minutes);
        self.days.extend(later.days);
        self.state = later.state.or(self.state.take());
    }
}

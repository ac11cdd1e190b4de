//! What the counts of all metered sources say together. Tests: `src/budget_tests.rs`.

use std::time::Duration;

use super::counts::STALE_AFTER;
use super::{CUT_FOR, ProofRule, Timeline};
use crate::evidence::{CountOwner, Excess};
use crate::source::IceSource;
use crate::units::{BitRate, ByteCount, Timestamp};

/// How long counts are said to be late after the count of a settled day has grown. With the default interval each day is
/// counted again within this time.
const LATE_FOR: Duration = Duration::from_secs(86_400);

/// A source for whose grants a rate is assumed that counts have shown, instead of the rate in the settings. The order is that of the rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenRate {
    /// The rate of one grant.
    pub rate: BitRate,
    /// The source.
    pub source: IceSource,
}

/// The readings of all metered sources, combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct MeasuredUsage {
    /// The instant up to which every owner with a reading in this period is counted; `None` if no owner has one.
    pub as_of: Option<Timestamp>,
    /// The sum of the readings.
    pub bytes: ByteCount,
    /// What coturn's sessions may have relayed beyond their last figures: a claim.
    pub hidden: ByteCount,
    /// The highest of the owners' average rates of one live grant in the last hour or two.
    pub observed: Option<BitRate>,
    /// The highest average rate of one live grant in an hour of this period.
    pub highest_hour: Option<BitRate>,
    /// The highest rate that is assumed because it was seen, if there is one.
    pub raised: Option<SeenRate>,
    /// What the counts of this period have shown above the assumed rates and after the assumed tails, of all sources together.
    pub excess: Excess,
    /// The most that app servers vouched for on one day beyond what its count can really be.
    pub vouched_above: ByteCount,
    /// Whether sessions that should be cut may continue. Then the long tail is promised.
    pub uncut: bool,
    /// Whether the count of a settled day has grown in the last [`LATE_FOR`].
    pub late_counts: bool,
    /// An owner whose counts are not believed: of a time in which credentials were live, they have shown neither bytes nor a probe for about
    /// an hour.
    pub disbelieved: Option<CountOwner>,
    /// Whether counts without bytes are believed although no probe shows that bytes are counted.
    pub unprobed: bool,
    /// Whether bytes were seen after a tail that is shorter than the source's default, and live promises still rely on this tail.
    pub short_tail: bool,
    /// The longest time after an expiry at which such bytes were seen since the start, and their source. Promises rely on the default again.
    pub restored_tail: Option<(Duration, IceSource)>,
    /// The longest time since the last good reading of an owner whose readings are taken; zero if there is no such owner.
    pub unread_for: Duration,
}

impl MeasuredUsage {
    /// Whether no owner's counts contradict what the bound assumes of rates and tails, and all sessions that should be cut are cut.
    pub fn agrees(&self) -> bool {
        self.excess.bytes == ByteCount::ZERO && !self.uncut
    }

    /// Whether some owner whose readings are taken has had no good reading for more than 600 s.
    pub fn is_stale(&self) -> bool {
        self.unread_for > STALE_AFTER
    }
}

impl Timeline {
    /// Marks the start of reading. The time in which no process ran does not make the count stale. The next count is compared with the
    /// present one.
    pub fn begin_readings(&mut self) {
        (self.read_at, self.began_at) = (self.now, self.now);
        if self.counted().is_some() {
            self.add_point();
        }
    }

    /// Adds what this owner's counts and listings say to `measured`.
    pub fn add_to(&self, measured: &mut MeasuredUsage) {
        let now = self.now;
        // Just after the start, no listing can have shown yet whether sessions are cut.
        let has_begun = now.since(self.began_at) > CUT_FOR;
        measured.uncut |= has_begun && self.terms.cut_tail.is_some() && !self.is_cut(now);
        measured.vouched_above = measured.vouched_above.max(self.minutes.counted.vouched_above_day);
        measured.hidden = measured.hidden.plus(self.minutes.hidden);
        let source = self.terms.owner.source;
        measured.excess = measured.excess.plus(self.rate_check.excess());
        let raised = self.state.raised.map(|raised| SeenRate { rate: raised.rate, source });
        measured.raised = measured.raised.max(raised);
        measured.short_tail |= self.is_tail_too_short();
        measured.restored_tail = measured.restored_tail.max(self.after_tail.map(|seen| (seen, source)));
        measured.late_counts |=
            self.terms.is_read && self.state.late.is_some_and(|at| now.since(at) < LATE_FOR);
        measured.observed = measured.observed.max(self.rate_check.state.observed);
        if self.terms.is_read {
            measured.unread_for = measured.unread_for.max(now.since(self.read_at));
        }
        let is_expected = matches!(self.terms.proof, ProofRule::Bytes | ProofRule::Probe);
        let disbelieved = (is_expected && self.state.proof.is_missing(now)).then_some(self.terms.owner);
        measured.disbelieved = measured.disbelieved.or(disbelieved);
        measured.unprobed |= self.terms.is_read && self.terms.proof == ProofRule::Missing;
        if let Some((as_of, bytes)) = self.counted() {
            measured.highest_hour = measured.highest_hour.max(self.rate_check.highest_hour());
            measured.as_of = Some(measured.as_of.map_or(as_of, |before| before.min(as_of)));
            measured.bytes = measured.bytes.plus(bytes);
        }
    }
}

//! One source in the ledger: its timeline, its terms, and what of it is to be stored. Grants are stored as changes of how
//! many are alive, which add up; so writing one again and again costs one row a minute.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::minute_usage::{LiveDelta, MinuteUsage, PeriodTotal, StoredSource};
use crate::period::BillingDay;
use crate::reading::{Assumption, Reading, ReadingOutcome, StoredReading};
use crate::source::IceSource;
use crate::timeline::{Rates, Timeline};
use crate::units::{ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};

/// Without a good reading for so long, a provider's own count is stale.
const STALE_AFTER: Duration = Duration::from_secs(600);
/// A count that ends longer ago is no good reading: whoever asked for it has a clock that is behind. No less than the
/// longest `ANALYTICS_LAG_SECONDS`.
const GOOD_FOR: Duration = Duration::from_secs(3_600 + STALE_AFTER.as_secs());
/// How long a source whose sessions could not be ended just now casts doubt.
const UNCUT_DOUBT: Duration = Duration::from_secs(30);

/// A source that hands out credentials, and how long relaying may outlive one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTerms {
    /// The source.
    pub source: IceSource,
    /// Time after a credential's expiry in which a running allocation may go on.
    pub tail: Duration,
    /// The same while sessions whose grant is over are ended by us; `None` where they cannot be.
    pub cut_tail: Option<Duration>,
    /// How far the provider's own count may lie off the truth, in percent.
    pub sampling: u32,
    /// Whether that count is read from time to time.
    pub is_read: bool,
}

impl SourceTerms {
    /// A source that is configured no more.
    pub(crate) fn of_one_that_is_gone(source: IceSource) -> Self {
        Self { source, tail: source.expiry_tail(), cut_tail: None, sampling: 0, is_read: false }
    }
}

/// What has changed in one lane since the last time.
#[derive(Clone, Debug)]
pub struct SourceChanges {
    /// Whose lane.
    pub source: IceSource,
    /// To be added to what is stored.
    pub marks: BTreeMap<i64, LiveDelta>,
    /// To replace what is stored.
    pub flows: Vec<(i64, MinuteUsage)>,
    /// To replace what is stored.
    pub previous: Option<PeriodTotal>,
    /// To replace what is stored.
    pub reading: Option<StoredReading>,
}

/// What the providers' own counts say, over all metered sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeasuredUsage {
    /// Up to when every source that is read has been counted; `None` without a reading in this period.
    pub as_of: Option<Timestamp>,
    /// Their counts together.
    pub bytes: ByteCount,
    /// How the assumed rate stands against them, at worst.
    pub assumption: Assumption,
    /// For how long one that is to be read has not been, at worst; zero where none is.
    pub unread_for: Duration,
}

impl MeasuredUsage {
    /// Whether a count that is to be read is older than it should be.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.unread_for > STALE_AFTER
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct SourceLedger {
    pub(crate) terms: SourceTerms,
    pub(crate) timeline: Timeline,
    /// Changes of the number of grants since they were last taken to be stored; `None` where nothing is stored.
    marks: Option<BTreeMap<i64, LiveDelta>>,
    /// Whether sessions whose grant is over are ended by us now.
    is_cutting: bool,
    /// Until then a connection counts as relaying although its grant and its tail are over.
    outlived_until: Timestamp,
    /// When the provider's own count was last read, or reading began.
    read_at: Timestamp,
}

impl SourceLedger {
    pub(crate) fn new(terms: SourceTerms, billing_day: BillingDay, rates: Rates, now: Timestamp) -> Self {
        Self {
            terms,
            timeline: Timeline::new(billing_day, rates, terms.sampling, now),
            marks: None,
            is_cutting: false,
            outlived_until: Timestamp::default(),
            read_at: now,
        }
    }

    /// As it was stored, and with changes remembered to be stored again.
    pub(crate) fn restore(
        terms: SourceTerms,
        billing_day: BillingDay,
        rates: Rates,
        now: Timestamp,
        stored: Option<&StoredSource>,
    ) -> Self {
        let mut lane = Self::new(terms, billing_day, rates, now);
        lane.marks = Some(BTreeMap::new());
        if let Some(stored) = stored {
            lane.timeline = Timeline::restore(billing_day, rates, terms.sampling, now, stored);
        }
        lane
    }

    /// All that is to be stored.
    pub(crate) fn take_unstored(&mut self) -> SourceChanges {
        let (flows, previous) = self.timeline.take_unstored();
        let marks = self.marks.as_mut().map(std::mem::take).unwrap_or_default();
        let reading = self.timeline.stored_reading();
        SourceChanges { source: self.terms.source, marks, flows, previous, reading }
    }

    /// How long a grant that is made now counts as alive after its expiry.
    pub(crate) fn tail(&self) -> Duration {
        self.terms.cut_tail.filter(|_| self.is_cutting).unwrap_or(self.terms.tail)
    }

    /// Applies what the usage estimator found out.
    pub(crate) fn apply(&mut self, UsageChange { basis, change, .. }: UsageChange) {
        let timeline = &mut self.timeline;
        match change {
            ChangeKind::StartClock => timeline.start_clock(basis),
            ChangeKind::StopClock => timeline.stop_clock(basis),
            ChangeKind::AddTime { from, to } => timeline.add_time(basis, from, to),
            ChangeKind::RemoveTime { from, to } => timeline.remove_time(basis, from, to),
            ChangeKind::AddBytes { bytes, from, to } => timeline.add_bytes(basis, bytes, from, to),
            ChangeKind::ExtendGrant { from, until } => {
                timeline.add_grant(from.max(timeline.period().start), until);
                if let Some(marks) = &mut self.marks {
                    mark_alive(marks, from, until);
                }
            }
            ChangeKind::Outlived { until } => self.outlived_until = self.outlived_until.max(until),
            ChangeKind::GrantReported { expires_at } => {
                let was_expected = timeline.mark_reported(expires_at);
                if let Some(marks) = self.marks.as_mut().filter(|_| was_expected) {
                    mark(marks, expires_at, LiveDelta { live: 0, unreported: -1 });
                }
            }
        }
    }

    /// Takes the source's own count.
    pub(crate) fn take_reading(&mut self, reading: &Reading, now: Timestamp) -> ReadingOutcome {
        let taken = self.timeline.take_reading(reading);
        if taken != ReadingOutcome::Fell && now.since(reading.as_of) <= GOOD_FOR {
            self.read_at = now;
        }
        taken
    }

    /// Reading begins: what was not read while no process ran is nobody's failure.
    pub(crate) fn begin_readings(&mut self, now: Timestamp) {
        self.read_at = now;
    }

    /// Whether sessions whose grant is over are ended by us from now on. When that stops, grants that were admitted with
    /// a short tail may outlive it.
    pub(crate) fn set_cutting(&mut self, is_cutting: bool, now: Timestamp) {
        self.is_cutting = is_cutting;
        if !is_cutting && self.terms.cut_tail.is_some() {
            self.outlived_until = self.outlived_until.max(now.plus(UNCUT_DOUBT));
        }
    }

    /// What this source's own count adds to what is known.
    pub(crate) fn add_to(&self, measured: &mut MeasuredUsage, now: Timestamp) {
        let Assumption { holds, observed } = self.timeline.assumption();
        measured.assumption.holds &= holds && self.outlived_until <= now;
        measured.assumption.observed = measured.assumption.observed.max(observed);
        if self.terms.is_read {
            measured.unread_for = measured.unread_for.max(now.since(self.read_at));
        }
        if let Some(reading) = self.timeline.reading() {
            let as_of = measured.as_of.map_or(reading.as_of, |as_of| as_of.min(reading.as_of));
            measured.as_of = Some(as_of);
            measured.bytes = measured.bytes.plus(reading.granted).plus(reading.other);
        }
    }
}

/// Alive over these minutes, outward.
pub(crate) fn mark_alive(marks: &mut BTreeMap<i64, LiveDelta>, from: Timestamp, until: Timestamp) {
    mark(marks, from, LiveDelta { live: 1, unreported: 0 });
    mark(marks, until.minute_end(), LiveDelta { live: -1, unreported: 0 });
}

pub(crate) fn mark(marks: &mut BTreeMap<i64, LiveDelta>, at: Timestamp, change: LiveDelta) {
    let mark = marks.entry(at.as_millis().div_euclid(60_000)).or_default();
    mark.live = mark.live.saturating_add(change.live);
    mark.unreported = mark.unreported.saturating_add(change.unreported);
}

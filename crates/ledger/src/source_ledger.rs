//! One metered source: its timeline, its terms, and what of it must be stored. The number of live grants is stored as
//! differences, which add up: a thousand grants that begin in one minute cost one row.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::ops::Range;
use std::time::Duration;

use crate::dirty::Dirty;
use crate::minute::Minute;
use crate::minute_usage::{LiveDelta, PeriodTotal, SourceRows};
use crate::period::BillingDay;
use crate::reading::{Reading, ReadingOutcome, StoredReading};
use crate::source::IceSource;
use crate::timeline::{Rates, Timeline};
use crate::trial::Assumption;
use crate::units::{ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};

/// Without a good reading for so long, a provider's own count is stale.
const STALE_AFTER: Duration = Duration::from_secs(600);
/// A count that ends longer ago is no good reading: the clock of this machine is behind. No less than the longest
/// `ANALYTICS_LAG_SECONDS`.
const GOOD_FOR: Duration = Duration::from_secs(3_600 + STALE_AFTER.as_secs());
/// How long the bound is in doubt after sessions could not be cut.
const UNCUT_DOUBT: Duration = Duration::from_secs(30);

/// A source that issues credentials, and how long relaying may outlive one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTerms {
    /// The source.
    pub source: IceSource,
    /// How long a running allocation may go on after its credential's expiry.
    pub tail: Duration,
    /// The same while we cut sessions whose grant is over; `None` where we cannot.
    pub cut_tail: Option<Duration>,
    /// How far the provider's own count may be from the truth, in percent.
    pub sampling: u32,
    /// Whether that count is read from time to time.
    pub is_read: bool,
}

impl SourceTerms {
    /// A source that is stored and no longer configured.
    pub(crate) fn of_a_removed(source: IceSource) -> Self {
        Self { source, tail: source.expiry_tail(), cut_tail: None, sampling: 0, is_read: false }
    }
}

/// What the providers' own counts say, over all metered sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeasuredUsage {
    /// Up to when every source that is read has been counted; `None` without a reading in this period.
    pub as_of: Option<Timestamp>,
    /// Their counts together.
    pub bytes: ByteCount,
    /// How the assumed rate compares with them, at worst.
    pub assumption: Assumption,
    /// Whether sessions whose grant is over are not cut although they should be. The assumption does not hold then.
    pub uncut: bool,
    /// How long the last good reading is ago, at worst; zero where no source is read.
    pub unread_for: Duration,
}

impl MeasuredUsage {
    /// Whether a count that is read is older than it should be.
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
    /// Differences that must be stored.
    deltas: Dirty<Minute, LiveDelta>,
    /// What was last stored as a whole.
    stored: (Option<PeriodTotal>, Option<StoredReading>),
    /// Whether we cut sessions whose grant is over.
    is_cutting: bool,
    /// Until then the bound is in doubt: a connection relays although its grant and its tail are over.
    outlived_until: Timestamp,
    /// Until then the bound is in doubt: sessions whose grant is over are not cut.
    uncut_until: Timestamp,
    /// When the provider's own count was last read, or reading began.
    read_at: Timestamp,
}

impl SourceLedger {
    pub(crate) fn new(terms: SourceTerms, billing_day: BillingDay, rates: Rates, now: Timestamp) -> Self {
        Self {
            terms,
            timeline: Timeline::new(billing_day, rates, terms.sampling, now),
            deltas: Dirty::default(),
            stored: (None, None),
            is_cutting: false,
            outlived_until: Timestamp::default(),
            uncut_until: Timestamp::default(),
            read_at: now,
        }
    }

    /// As stored. From here on, changes are recorded.
    pub(crate) fn restore(
        terms: SourceTerms,
        billing_day: BillingDay,
        rates: Rates,
        now: Timestamp,
        rows: &SourceRows,
    ) -> Self {
        Self {
            timeline: Timeline::restore(billing_day, rates, terms.sampling, now, rows),
            deltas: Dirty::tracking(),
            stored: (rows.previous, rows.reading),
            ..Self::new(terms, billing_day, rates, now)
        }
    }

    /// What must be stored.
    pub(crate) fn take_changes(&mut self) -> SourceRows {
        let totals = (self.timeline.stored_previous(), self.timeline.stored_reading());
        let (previous, reading) = if totals == self.stored { (None, None) } else { totals };
        self.stored = totals;
        SourceRows { deltas: self.deltas.take(), usage: self.timeline.take_changes(), previous, reading }
    }

    /// How long a grant that is issued now counts as alive after its expiry.
    pub(crate) fn tail(&self) -> Duration {
        self.terms.cut_tail.filter(|_| self.is_cutting).unwrap_or(self.terms.tail)
    }

    /// A grant is alive over these minutes, and is charged at `unreported_at` unless its client reports a connection.
    /// Its minutes count already, since they were held for it.
    pub(crate) fn commit(&mut self, alive: &Range<Minute>, unreported_at: Option<Timestamp>) {
        if let Some(at) = unreported_at {
            self.timeline.expect_report(at);
        }
        self.record(alive, unreported_at, LiveDelta::plus);
    }

    /// Takes a commit back, and the minutes with it.
    pub(crate) fn undo(&mut self, alive: &Range<Minute>, unreported_at: Option<Timestamp>) {
        if let Some(at) = unreported_at {
            self.timeline.mark_reported(at);
        }
        self.timeline.remove_grant(alive.clone());
        self.record(alive, unreported_at, |sum, change| sum.plus(change.negated()));
    }

    /// Applies one change of the reported usage.
    pub(crate) fn apply(&mut self, UsageChange { basis, kind, .. }: UsageChange) {
        let timeline = &mut self.timeline;
        match kind {
            ChangeKind::StartClock => timeline.start_clock(basis),
            ChangeKind::StopClock => timeline.stop_clock(basis),
            ChangeKind::AddTime { from, to } => timeline.add_time(basis, from, to),
            ChangeKind::RemoveTime { from, to } => timeline.remove_time(basis, from, to),
            ChangeKind::AddBytes { bytes, from, to } => timeline.add_bytes(basis, bytes, from, to),
            ChangeKind::ExtendGrant { from, until } => {
                timeline.add_grant(from..until);
                self.record(&(from..until), None, LiveDelta::plus);
            }
            ChangeKind::Outlived { until } => self.outlived_until = self.outlived_until.max(until),
            ChangeKind::GrantReported { expires_at } => {
                if timeline.mark_reported(expires_at) {
                    let change = LiveDelta { live: 0, unreported: -1 };
                    self.deltas.change(Minute::of(expires_at), |delta| *delta = delta.plus(change));
                }
            }
        }
    }

    /// Takes the source's own count.
    pub(crate) fn take_reading(&mut self, reading: &Reading, now: Timestamp) -> ReadingOutcome {
        let outcome = self.timeline.take_reading(reading);
        if outcome != ReadingOutcome::Fell && now.since(reading.as_of) <= GOOD_FOR {
            self.read_at = now;
        }
        outcome
    }

    /// Reading begins. Time without a running process does not make a count stale.
    pub(crate) fn begin_readings(&mut self, now: Timestamp) {
        self.read_at = now;
    }

    /// Sets whether we cut sessions whose grant is over. When that stops, grants that were admitted with a short tail may
    /// outlive it.
    pub(crate) fn set_cutting(&mut self, is_cutting: bool, now: Timestamp) {
        self.is_cutting = is_cutting;
        if !is_cutting && self.terms.cut_tail.is_some() {
            self.uncut_until = self.uncut_until.max(now.plus(UNCUT_DOUBT));
        }
    }

    /// Adds what this source's own count says.
    pub(crate) fn add_to(&self, measured: &mut MeasuredUsage, now: Timestamp) {
        let Assumption { holds, observed } = self.timeline.assumption();
        let uncut = self.uncut_until > now;
        measured.uncut |= uncut;
        measured.assumption.holds &= holds && self.outlived_until <= now && !uncut;
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

    fn record(
        &mut self,
        alive: &Range<Minute>,
        unreported_at: Option<Timestamp>,
        combine: impl Fn(LiveDelta, LiveDelta) -> LiveDelta,
    ) {
        let mut record = |minute, change| {
            self.deltas.change(minute, |delta| *delta = combine(*delta, change));
        };
        record(alive.start, LiveDelta { live: 1, unreported: 0 });
        record(alive.end, LiveDelta { live: -1, unreported: 0 });
        if let Some(at) = unreported_at {
            record(Minute::of(at), LiveDelta { live: 0, unreported: 1 });
        }
    }
}

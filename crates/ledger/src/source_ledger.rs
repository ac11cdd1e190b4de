//! The ledger of one metered source: its timeline, its terms and its unsaved changes. The number of live grants is
//! stored as differences per minute, which are added up. A thousand grants that begin in one minute need one row.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use crate::dirty::Dirty;
use crate::doubt::CountDoubt;
use crate::minute::Minute;
use crate::minute_usage::{LiveDelta, SourceRows};
use crate::period::BillingDay;
use crate::promise::PromisedTime;
use crate::reading::{Carried, LateCounts, Reading, ReadingOutcome};
use crate::source::IceSource;
use crate::timeline::{Rates, Timeline};
use crate::trial::{Assumption, TrialState};
use crate::units::{BitRate, ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};

/// After this time without a good reading, the provider's count is stale.
const STALE_AFTER: Duration = Duration::from_secs(600);
/// A reading is good if its `as_of` is at most this long ago. An older one shows that the wall clock is behind the
/// books. At least the longest `ANALYTICS_LAG_SECONDS`.
const GOOD_FOR: Duration = Duration::from_secs(3_600 + STALE_AFTER.as_secs());
/// Sessions count as cut for this long after the listing that showed it.
const CUT_FOR: Duration = Duration::from_secs(15);

/// The terms of one source that issues credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTerms {
    /// The source.
    pub source: IceSource,
    /// How long an allocation may continue after its credential's expiry.
    pub tail: Duration,
    /// The tail while we cut sessions whose grant is over; `None` if we cannot cut this source's sessions.
    pub cut_tail: Option<Duration>,
    /// The margin of error of the provider's count, in percent.
    pub sampling: u32,
    /// Whether readings of this source are taken.
    pub is_read: bool,
}

impl SourceTerms {
    /// The terms of a source that is stored but no longer configured.
    pub(crate) fn of_a_removed(source: IceSource) -> Self {
        Self { source, tail: source.expiry_tail(), cut_tail: None, sampling: 0, is_read: false }
    }
}

/// The readings of all metered sources, combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeasuredUsage {
    /// The instant up to which every source with readings is counted; `None` without a reading in this period.
    pub as_of: Option<Timestamp>,
    /// The sum of the readings.
    pub bytes: ByteCount,
    /// The worst of the sources' comparisons with the assumed rate, and the highest of their observed rates.
    pub assumption: Assumption,
    /// The average rate of one live grant over all sources, weighted by grant-minutes; `None` if no source shows one.
    pub observed: Option<BitRate>,
    /// Whether sessions that should be cut may continue. Then the long tail is promised.
    pub uncut: bool,
    /// How late counts settle; `None` while they settle within the configured lag.
    pub late_counts: Option<LateCounts>,
    /// Whether an absurd count waits for its confirmation. If it is right, the bound is wrong.
    pub doubted: bool,
    /// Whether an operator has dropped the reading, and none was taken since. Bytes of others are not in the bound then.
    pub dropped: bool,
    /// The longest time since a source's last good reading; zero if no source has readings.
    pub unread_for: Duration,
}

impl MeasuredUsage {
    /// Whether some source has had no good reading for more than 600 s.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.unread_for > STALE_AFTER
    }
}

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct SourceLedger {
    pub(crate) terms: SourceTerms,
    pub(crate) timeline: Timeline,
    /// Differences that must be stored.
    deltas: Dirty<Minute, LiveDelta>,
    /// What the counts have shown of the assumed rate, as stored.
    stored_state: Option<TrialState>,
    /// How late counts settle, as stored.
    stored_late: Option<LateCounts>,
    /// The doubt, as stored.
    stored_doubt: CountDoubt,
    /// How many hourly points of the trial are stored.
    stored_hours: usize,
    /// Until when sessions were cut whose grant was over.
    cut_until: Timestamp,
    /// When this process began.
    began_at: Timestamp,
    /// The bound does not hold before this instant: a connection relayed although its grant and its tail were over.
    outlived_until: Timestamp,
    /// When the last good reading was taken, or when reading began.
    read_at: Timestamp,
    /// The absurd count that waits for its confirmation.
    doubt: CountDoubt,
    /// How late counts settle; `None` while they settle within the configured lag.
    pub(crate) late_counts: Option<LateCounts>,
}

impl SourceLedger {
    pub(crate) fn new(terms: SourceTerms, billing_day: BillingDay, rates: Rates, now: Timestamp) -> Self {
        Self {
            terms,
            timeline: Timeline::new(billing_day, rates, terms.sampling, now),
            deltas: Dirty::default(),
            stored_state: None,
            stored_late: None,
            stored_doubt: CountDoubt::default(),
            stored_hours: 0,
            cut_until: Timestamp::default(),
            began_at: now,
            outlived_until: Timestamp::default(),
            read_at: now,
            doubt: CountDoubt::default(),
            late_counts: None,
        }
    }

    /// The ledger of a source as stored. From here on, changes are recorded.
    pub(crate) fn restore(
        terms: SourceTerms,
        billing_day: BillingDay,
        rates: Rates,
        now: Timestamp,
        rows: &SourceRows,
    ) -> Self {
        let timeline = Timeline::restore(billing_day, rates, terms.sampling, now, rows);
        Self {
            stored_hours: timeline.trial_hours(),
            timeline,
            deltas: Dirty::tracking(),
            stored_state: rows.state,
            late_counts: rows.late,
            stored_late: rows.late,
            doubt: rows.doubt.clone().unwrap_or_default(),
            stored_doubt: rows.doubt.clone().unwrap_or_default(),
            ..Self::new(terms, billing_day, rates, now)
        }
    }

    /// Takes the changes that must be stored.
    pub(crate) fn take_changes(&mut self) -> SourceRows {
        let state = self.timeline.stored_state();
        let state = (self.stored_state.replace(state) != Some(state)).then_some(state);
        let hours = self.timeline.trial_hours();
        let trial = (hours != self.stored_hours).then(|| self.timeline.stored_trial());
        self.stored_hours = hours;
        let late = self.late_counts.filter(|late| self.stored_late.replace(*late) != Some(*late));
        let doubt = (self.stored_doubt != self.doubt).then(|| self.doubt.clone());
        self.stored_doubt.clone_from(&self.doubt);
        SourceRows {
            deltas: self.deltas.take(),
            usage: self.timeline.take_changes(),
            days: self.timeline.take_days(),
            state,
            trial,
            late,
            doubt,
        }
    }

    /// How long a grant that is issued at `now` counts as alive after its expiry.
    pub(crate) fn tail(&self, now: Timestamp) -> Duration {
        self.terms.cut_tail.filter(|_| self.is_cut(now)).unwrap_or(self.terms.tail)
    }

    /// Whether sessions whose grant is over are cut at `now`.
    pub(crate) fn is_cut(&self, now: Timestamp) -> bool {
        self.terms.cut_tail.is_some() && now.since(self.cut_until) <= CUT_FOR
    }

    /// Sets until when sessions were cut whose grant was over.
    pub(crate) fn set_cut_until(&mut self, until: Timestamp) {
        self.cut_until = until;
    }

    /// Replaces a promise by another one. The cost of a longer or shorter one does not depend on the minutes that stay.
    fn replace(&mut self, before: Option<PromisedTime>, after: Option<PromisedTime>) {
        let key = |time: PromisedTime| (time.reserved_from, time.per_minute);
        match (before, after) {
            (Some(before), Some(after)) if key(before) == key(after) => {
                let end = |time: PromisedTime| time.until.max(time.reserved_from);
                self.timeline.change_live(end(before)..end(after), after.level());
                self.timeline.change_live(end(after)..end(before), before.level().negated());
            }
            _ => {
                for (time, level) in signed(before, after) {
                    self.timeline.change_live(time.reserved(), level);
                }
            }
        }
        for (time, level) in signed(before, after).filter(|(time, _)| !time.is_held) {
            self.record(time.reserved().start, level);
            self.record(time.reserved().end, level.negated());
        }
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
            ChangeKind::Promise { before, after } => self.replace(before, after),
            ChangeKind::Outlived { until } => self.outlived_until = self.outlived_until.max(until),
            ChangeKind::GrantReported => {}
        }
    }

    /// Takes a reading of this source. An absurd one of a provider must be confirmed first. `is_test`: it tests the assumed
    /// rate.
    pub(crate) fn take_reading(
        &mut self,
        reading: &Reading,
        is_test: bool,
        limit: ByteCount,
        now: Timestamp,
    ) -> ReadingOutcome {
        if self.terms.source.is_counted_by_provider()
            && let Some((growth, promised)) = self.timeline.growth_by(reading)
            && !self.doubt.accepts(reading, growth, promised, limit, self.terms.sampling)
        {
            return ReadingOutcome::Doubted;
        }
        let outcome = self.timeline.take_reading(reading, is_test);
        if outcome != ReadingOutcome::Fell && now.since(reading.as_of) <= GOOD_FOR {
            self.read_at = now;
        }
        outcome
    }

    /// Takes what a source that is watched here has carried. `is_test`: it tests the assumed rate.
    pub(crate) fn carry(&mut self, carried: &Carried, is_test: bool, now: Timestamp) {
        self.timeline.carry(carried, is_test);
        if now.since(carried.as_of) <= GOOD_FOR {
            self.read_at = now;
        }
    }

    /// Drops the counts of this period. `false` without one.
    pub(crate) fn drop_counts(&mut self, assumed: BitRate) -> bool {
        self.doubt = CountDoubt::default();
        // The points of the trial have changed, even if their number has not.
        self.stored_hours = usize::MAX;
        self.timeline.drop_counts(assumed)
    }

    /// Marks the start of reading. The time in which no process ran does not make the count stale.
    pub(crate) fn begin_readings(&mut self, now: Timestamp) {
        self.read_at = now;
        self.began_at = now;
    }

    /// Adds this source's reading to `measured`.
    pub(crate) fn add_to(&self, measured: &mut MeasuredUsage, now: Timestamp) {
        let Assumption { holds, observed } = self.timeline.assumption();
        let has_begun = now.since(self.began_at) > CUT_FOR;
        let uncut = has_begun && self.terms.cut_tail.is_some() && !self.is_cut(now);
        measured.uncut |= uncut;
        measured.late_counts = measured.late_counts.or(self.late_counts.filter(|_| self.terms.is_read));
        measured.assumption.holds &= holds && self.outlived_until <= now && !uncut;
        measured.assumption.observed = measured.assumption.observed.max(observed);
        if self.terms.is_read {
            measured.unread_for = measured.unread_for.max(now.since(self.read_at));
        }
        measured.doubted |= self.doubt.is_open(self.timeline.period());
        measured.dropped |= self.timeline.has_dropped();
        if let Some((as_of, bytes)) = self.timeline.counted() {
            measured.as_of = Some(measured.as_of.map_or(as_of, |before| before.min(as_of)));
            measured.bytes = measured.bytes.plus(bytes);
        }
    }

    /// The average rate of one live grant of this source, and the grant-minutes that it is the average of.
    pub(crate) fn observed(&self) -> Option<(BitRate, u128)> {
        Some((self.timeline.assumption().observed?, self.timeline.observed_grant_minutes()))
    }

    fn record(&mut self, minute: Minute, change: LiveDelta) {
        self.deltas.change(minute, |delta| *delta = delta.plus(change));
    }
}

/// The promises that are taken back and added, each with its change of the level.
fn signed(
    before: Option<PromisedTime>,
    after: Option<PromisedTime>,
) -> impl Iterator<Item = (PromisedTime, LiveDelta)> {
    let before = before.map(|time| (time, time.level().negated()));
    before.into_iter().chain(after.map(|time| (time, time.level())))
}

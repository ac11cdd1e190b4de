//! The ledger: one timeline for each source, one limit over the metered ones together. Every call says what time it
//! is; time never runs back here, so no figure falls because a clock did. Pure: no clock, no lock, no disk.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::time::Duration;

use super::charge::{Change, Charge};
use super::flow::{Finished, Flows, Mark, StoredLane};
use super::history::{Counted, ReadingHistory};
use super::period::{BillingDay, Period};
use super::reading::{Assumption, Reading, StoredReading, Taken};
use super::timeline::{Rates, Slice, Timeline};
use super::verdict::{BudgetMode, Figures, Refusal, Wish, decide};
use crate::ice::IceSource;
use crate::units::{BitRate, ByteCount, Timestamp};

/// The terms of the budget. All but the limit are fixed for the life of the process.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What may be used in a period.
    pub limit: ByteCount,
    /// When a period begins.
    pub billing_day: BillingDay,
    /// How time becomes bytes.
    pub rates: Rates,
    /// How the limit is held.
    pub mode: BudgetMode,
}

/// A source that hands out credentials, and how long relaying may outlive one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneTerms {
    /// The source.
    pub source: IceSource,
    /// Time after a credential's expiry in which a running allocation may go on.
    pub tail: Duration,
    /// How far the provider's own count may lie off the truth, in percent.
    pub sampling: u32,
    /// Whether that count is read from time to time.
    pub is_read: bool,
}

#[derive(Clone, Debug)]
struct Lane {
    terms: LaneTerms,
    timeline: Timeline,
    /// Changes of the number of grants since they were last taken to be stored.
    marks: BTreeMap<i64, Mark>,
    /// Until then a connection counts as relaying although its grant and its tail are over, in strict mode.
    outlived_until: Timestamp,
    /// When the provider's own count was last read, or reading began.
    read_at: Timestamp,
}

/// What has changed in one lane since the last time.
#[derive(Clone, Debug)]
pub struct LaneChanges {
    /// Whose lane.
    pub source: IceSource,
    /// To be added to what is stored.
    pub marks: BTreeMap<i64, Mark>,
    /// To replace what is stored.
    pub flows: Vec<(i64, Flows)>,
    /// To replace what is stored.
    pub previous: Option<Finished>,
    /// To replace what is stored.
    pub reading: Option<StoredReading>,
}

/// Without a good reading for so long, a provider's own count is stale.
const STALE_AFTER: Duration = Duration::from_secs(600);

/// What the providers' own counts say, over all metered sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Up to when every source that is read has been counted; `None` without a reading in this period.
    pub as_of: Option<Timestamp>,
    /// Their counts together.
    pub bytes: ByteCount,
    /// How the assumed rate stands against them, at worst.
    pub assumption: Assumption,
    /// For how long one that is to be read has not been, at worst; zero where none is.
    pub unread_for: Duration,
}

impl Measured {
    /// Whether a count that is to be read is older than it should be.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.unread_for > STALE_AFTER
    }
}

/// Room that is held for one credential from before the provider is asked. Given back by [`Ledger::release`], made
/// final by [`Ledger::commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    source: IceSource,
    from: Timestamp,
    until: Timestamp,
    life: Duration,
}

impl Hold {
    /// The life that the credential may have: as asked for, or shorter where there is room for no more.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }
}

/// A grant that was made, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    hold: Hold,
    silent_at: Option<Timestamp>,
}

impl Commit {
    /// What is to be stored of it.
    #[must_use]
    pub fn changes(&self) -> LaneChanges {
        let mut marks = BTreeMap::new();
        mark_alive(&mut marks, self.hold.from, self.hold.until);
        if let Some(silent_at) = self.silent_at {
            mark(&mut marks, silent_at, Mark { live: 0, silent: 1 });
        }
        LaneChanges { source: self.hold.source, marks, flows: vec![], previous: None, reading: None }
    }
}

/// What happened in the current period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PeriodCounts {
    /// Credentials issued.
    pub issued: u64,
    /// Grants that reported their first connection.
    pub reported: u64,
    /// Connections opened, with a grant or by a reporter.
    pub connections: u64,
}

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Ledger {
    terms: Terms,
    lanes: Vec<Lane>,
    now: Timestamp,
    period: Period,
    counts: PeriodCounts,
    history: ReadingHistory,
    /// Whether changes are remembered to be stored.
    is_stored: bool,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(terms: Terms, lanes: &[LaneTerms], now: Timestamp) -> Self {
        let open = |lane: &LaneTerms| Lane {
            terms: *lane,
            timeline: Timeline::new(terms.billing_day, terms.rates, lane.sampling, now),
            marks: BTreeMap::new(),
            outlived_until: Timestamp::default(),
            read_at: now,
        };
        Self {
            terms,
            lanes: lanes.iter().map(open).collect(),
            now,
            period: terms.billing_day.period_at(now),
            counts: PeriodCounts::default(),
            history: ReadingHistory::default(),
            is_stored: false,
        }
    }

    /// As it was stored at `now`. Lanes that were stored are kept even where no source of theirs is configured any more:
    /// what they used was used.
    #[must_use]
    pub fn restore(
        terms: Terms,
        lanes: &[LaneTerms],
        now: Timestamp,
        counts: PeriodCounts,
        stored: &BTreeMap<IceSource, StoredLane>,
    ) -> Self {
        let mut ledger = Self::new(terms, lanes, now);
        let gone = stored.keys().filter(|source| lanes.iter().all(|lane| lane.source != **source));
        let gone: Vec<_> = gone
            .map(|source| LaneTerms {
                source: *source,
                tail: source.expiry_tail(),
                sampling: 0,
                is_read: false,
            })
            .collect();
        ledger.lanes.extend(Self::new(terms, &gone, now).lanes);
        for lane in &mut ledger.lanes {
            if let Some(stored) = stored.get(&lane.terms.source) {
                let sampling = lane.terms.sampling;
                lane.timeline = Timeline::restore(terms.billing_day, terms.rates, sampling, now, stored);
            }
        }
        ledger.counts = counts;
        ledger.is_stored = true;
        ledger.remember_reading();
        ledger
    }

    /// All that is to be stored, in every lane.
    pub fn take_unstored(&mut self) -> Vec<LaneChanges> {
        let changes = self.lanes.iter_mut().map(|lane| {
            let (flows, previous) = lane.timeline.take_unstored();
            let marks = std::mem::take(&mut lane.marks);
            let reading = lane.timeline.stored_reading();
            LaneChanges { source: lane.terms.source, marks, flows, previous, reading }
        });
        changes.collect()
    }

    /// Moves to `now`. An earlier instant changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for lane in &mut self.lanes {
            lane.timeline.advance(self.now);
        }
        if !self.period.contains(self.now) {
            self.period = self.terms.billing_day.period_at(self.now);
            self.counts = PeriodCounts::default();
            self.history.clear();
        }
    }

    /// Checks and takes in one step: room for a credential of that life, which may be made up to `slack` from now, and
    /// for its tail. Unmetered sources are always admitted.
    pub fn try_admit(
        &mut self,
        source: IceSource,
        asked: Duration,
        slack: Duration,
    ) -> Result<Hold, Refusal> {
        let now = self.now;
        let (tail, liability) = match self.lane(source) {
            Some(lane) => (lane.terms.tail, lane.timeline.liability()),
            None => (Duration::ZERO, self.terms.rates.liability),
        };
        let overhead = slack.saturating_add(tail);
        let per_minute = liability.over_millis(60_000);
        let wish = Wish { life: asked, overhead, per_minute };
        let metered = source.is_metered();
        let life = if metered { decide(self.terms.mode, self.figures(), wish)? } else { asked };
        let hold = Hold { source, from: now, until: now.plus(life).plus(overhead), life };
        if let Some(lane) = self.lane(source) {
            lane.timeline.add_grant(hold.from, hold.until);
        }
        Ok(hold)
    }

    /// The credential exists: from here on only time ends the hold. It is charged as silent at `silent_at`, unless it is
    /// heard from before.
    pub fn commit(&mut self, hold: Hold, silent_at: Option<Timestamp>) -> Commit {
        self.counts.issued = self.counts.issued.saturating_add(1);
        if let (Some(lane), Some(silent_at)) = (self.lane(hold.source), silent_at) {
            lane.timeline.expect_report(silent_at);
        }
        Commit { hold, silent_at }
    }

    /// Undoes a commit that could not be stored: the credential was not handed out.
    pub fn undo(&mut self, commit: &Commit) {
        self.counts.issued = self.counts.issued.saturating_sub(1);
        if let (Some(lane), Some(silent_at)) = (self.lane(commit.hold.source), commit.silent_at) {
            lane.timeline.heard_from_grant(silent_at);
        }
        self.release(commit.hold);
    }

    /// Gives a hold back: nobody has the credential.
    pub fn release(&mut self, hold: Hold) {
        if let Some(lane) = self.lane(hold.source) {
            lane.timeline.remove_grant(hold.from, hold.until);
        }
    }

    /// A connection was opened.
    pub fn count_connection(&mut self) {
        self.counts.connections = self.counts.connections.saturating_add(1);
    }

    /// Applies what the usage estimator found out.
    pub fn apply(&mut self, charge: Charge) {
        if let Change::HeardFromGrant { .. } = charge.change {
            self.counts.reported = self.counts.reported.saturating_add(1);
        }
        let is_stored = self.is_stored;
        let Some(lane) = self.lane(charge.source) else { return };
        let timeline = &mut lane.timeline;
        let basis = charge.basis;
        match charge.change {
            Change::StartClock => timeline.start_clock(basis),
            Change::StopClock => timeline.stop_clock(basis),
            Change::AddTime { from, to } => timeline.add_time(basis, from, to),
            Change::RemoveTime { from, to } => timeline.remove_time(basis, from, to),
            Change::AddBytes { bytes, from, to } => timeline.add_bytes(basis, bytes, from, to),
            Change::KeepGrant { from, until } => {
                timeline.add_grant(from.max(timeline.period().start), until);
                if is_stored {
                    mark_alive(&mut lane.marks, from, until);
                }
            }
            Change::Outlived { until } => lane.outlived_until = lane.outlived_until.max(until),
            Change::HeardFromGrant { expires_at } => {
                if timeline.heard_from_grant(expires_at) && is_stored {
                    mark(&mut lane.marks, expires_at, Mark { live: 0, silent: -1 });
                }
            }
        }
    }

    /// Takes a source's own count.
    pub fn take_reading(&mut self, source: IceSource, reading: &Reading) -> Taken {
        let now = self.now;
        let Some(lane) = self.lane(source) else { return Taken::OtherPeriod };
        let taken = lane.timeline.take_reading(reading);
        if taken != Taken::Fell {
            lane.read_at = now;
        }
        if taken == Taken::Yes {
            self.remember_reading();
        }
        taken
    }

    fn remember_reading(&mut self) {
        let Measured { as_of, bytes, .. } = self.measured();
        if let Some(as_of) = as_of {
            self.history.hear(Counted { as_of, bytes });
        }
    }

    /// What the providers' own counts said in the course of this period, since the process began.
    #[must_use]
    pub fn history(&self) -> &ReadingHistory {
        &self.history
    }

    /// What the providers' own counts say.
    #[must_use]
    pub fn measured(&self) -> Measured {
        let mut measured = Measured {
            as_of: None,
            bytes: ByteCount::ZERO,
            assumption: Assumption::default(),
            unread_for: Duration::ZERO,
        };
        for lane in self.lanes.iter().filter(|lane| lane.terms.source.is_metered()) {
            let Assumption { holds, observed } = lane.timeline.assumption();
            measured.assumption.holds &= holds && lane.outlived_until <= self.now;
            if lane.terms.is_read {
                measured.unread_for = measured.unread_for.max(self.now.since(lane.read_at));
            }
            measured.assumption.observed = measured.assumption.observed.max(observed);
            if let Some(reading) = lane.timeline.reading() {
                measured.as_of = Some(measured.as_of.map_or(reading.as_of, |as_of| as_of.min(reading.as_of)));
                measured.bytes = measured.bytes.plus(reading.granted).plus(reading.other);
            }
        }
        measured
    }

    /// The most that a grant is assumed to relay.
    #[must_use]
    pub fn assumed_rate(&self) -> BitRate {
        self.terms.rates.liability
    }

    /// Another limit counts from now on.
    pub fn set_limit(&mut self, limit: ByteCount) {
        self.terms.limit = limit;
    }

    /// The sums over the metered sources.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            now: self.now,
            period: self.period,
            used: self.sum(Timeline::used),
            committed: self.sum(Timeline::committed),
            committed_next: self.sum(Timeline::committed_next),
            limit: self.terms.limit,
        }
    }

    /// Grants alive now, tail included, over all sources.
    #[must_use]
    pub fn live_grants(&self) -> u64 {
        self.lanes.iter().map(|lane| u64::from(lane.timeline.live())).fold(0, u64::saturating_add)
    }

    /// What happened in this period.
    #[must_use]
    pub fn counts(&self) -> PeriodCounts {
        self.counts
    }

    /// What the period before this one came to; `None` when this process did not see it.
    #[must_use]
    pub fn previous(&self) -> Option<(Period, ByteCount)> {
        let metered = self.lanes.iter().filter(|lane| lane.terms.source.is_metered());
        metered.filter_map(|lane| lane.timeline.previous()).reduce(|a, b| (a.0, a.1.plus(b.1)))
    }

    /// Bytes of the metered sources and most live grants in `[from, to)`, outward to whole minutes.
    #[must_use]
    pub fn slice(&self, from: Timestamp, to: Timestamp) -> Slice {
        let mut total = Slice { used: ByteCount::ZERO, live: 0 };
        for lane in self.lanes.iter().filter(|lane| lane.terms.source.is_metered()) {
            let slice = lane.timeline.slice(from, to);
            total.used = total.used.plus(slice.used);
            total.live = total.live.saturating_add(slice.live);
        }
        total
    }

    fn sum(&self, figure: impl Fn(&Timeline) -> ByteCount) -> ByteCount {
        let metered = self.lanes.iter().filter(|lane| lane.terms.source.is_metered());
        metered.map(|lane| figure(&lane.timeline)).fold(ByteCount::ZERO, ByteCount::plus)
    }

    fn lane(&mut self, source: IceSource) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.terms.source == source)
    }
}

/// Alive over these minutes, outward.
fn mark_alive(marks: &mut BTreeMap<i64, Mark>, from: Timestamp, until: Timestamp) {
    mark(marks, from, Mark { live: 1, silent: 0 });
    mark(marks, until.minute_end(), Mark { live: -1, silent: 0 });
}

fn mark(marks: &mut BTreeMap<i64, Mark>, at: Timestamp, change: Mark) {
    let mark = marks.entry(at.as_millis().div_euclid(60_000)).or_default();
    mark.live = mark.live.saturating_add(change.live);
    mark.silent = mark.silent.saturating_add(change.silent);
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

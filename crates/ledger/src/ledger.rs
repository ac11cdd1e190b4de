//! The ledger: one timeline for each source, one limit over the metered ones together. Every call says what time it
//! is; time never runs back here, so no figure falls because a clock did. Pure: no clock, no lock, no disk.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::minute_usage::{LiveDelta, StoredSource};
use crate::period::{BillingDay, Period};
use crate::reading::{Reading, ReadingOutcome};
use crate::reading_history::{ReadingHistory, ReadingPoint};
use crate::source::IceSource;
pub use crate::source_ledger::{MeasuredUsage, SourceChanges, SourceTerms};
use crate::source_ledger::{SourceLedger, mark, mark_alive};
use crate::timeline::{Rates, Slice, Timeline};
use crate::units::{BitRate, ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};
use crate::verdict::{BudgetMode, Figures, Refusal, STRICT_LIFE_MIN, Wish, decide};

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
    unreported_at: Option<Timestamp>,
}

impl Commit {
    /// What is to be stored of it.
    #[must_use]
    pub fn changes(&self) -> SourceChanges {
        let mut marks = BTreeMap::new();
        mark_alive(&mut marks, self.hold.from, self.hold.until);
        if let Some(unreported_at) = self.unreported_at {
            mark(&mut marks, unreported_at, LiveDelta { live: 0, unreported: 1 });
        }
        SourceChanges { source: self.hold.source, marks, flows: vec![], previous: None, reading: None }
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
    lanes: Vec<SourceLedger>,
    now: Timestamp,
    period: Period,
    counts: PeriodCounts,
    history: ReadingHistory,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(terms: Terms, lanes: &[SourceTerms], now: Timestamp) -> Self {
        let open = |lane: &SourceTerms| SourceLedger::new(*lane, terms.billing_day, terms.rates, now);
        Self {
            terms,
            lanes: lanes.iter().map(open).collect(),
            now,
            period: terms.billing_day.period_at(now),
            counts: PeriodCounts::default(),
            history: ReadingHistory::default(),
        }
    }

    /// As it was stored at `now`. Lanes that were stored are kept even where no source of theirs is configured any more:
    /// what they used was used.
    #[must_use]
    pub fn restore(
        terms: Terms,
        lanes: &[SourceTerms],
        now: Timestamp,
        counts: PeriodCounts,
        stored: &BTreeMap<IceSource, StoredSource>,
    ) -> Self {
        let gone = stored.keys().filter(|source| lanes.iter().all(|lane| lane.source != **source));
        let gone = gone.map(|source| SourceTerms::of_one_that_is_gone(*source));
        let open = |lane: SourceTerms| {
            SourceLedger::restore(lane, terms.billing_day, terms.rates, now, stored.get(&lane.source))
        };
        let lanes = lanes.iter().copied().chain(gone).map(open).collect();
        let mut ledger = Self { lanes, counts, ..Self::new(terms, &[], now) };
        ledger.remember_reading();
        ledger
    }

    /// All that is to be stored, in every lane.
    pub fn take_unstored(&mut self) -> Vec<SourceChanges> {
        self.lanes.iter_mut().map(SourceLedger::take_unstored).collect()
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
            Some(lane) => (lane.tail(), lane.timeline.liability()),
            None => (Duration::ZERO, self.terms.rates.liability),
        };
        let wish = Wish::new(asked, slack, tail, liability);
        let metered = source.is_metered();
        let life = if metered {
            let awaits_reading = self.lanes.iter().any(|lane| lane.terms.is_read);
            decide(self.terms.mode, self.figures(), wish)
                .map_err(|refusal| Refusal { awaits_reading, ..refusal })?
        } else {
            asked
        };
        let hold = Hold { source, from: now, until: now.plus(life).plus(wish.overhead), life };
        if let Some(lane) = self.lane(source) {
            lane.timeline.add_grant(hold.from, hold.until);
        }
        Ok(hold)
    }

    /// Whether strict mode has no room for a credential of any metered source, though the budget is not spent.
    #[must_use]
    pub fn is_promised_in_full(&self, slack: Duration) -> bool {
        let figures = self.figures();
        let fits = |lane: &SourceLedger| {
            let wish = Wish::new(STRICT_LIFE_MIN, slack, lane.tail(), lane.timeline.liability());
            decide(self.terms.mode, figures, wish).is_ok()
        };
        let mut metered = self.lanes.iter().filter(|lane| lane.terms.source.is_metered()).peekable();
        !figures.is_spent() && metered.peek().is_some() && !metered.any(fits)
    }

    /// The credential exists: from here on only time ends the hold. It is charged as unreported at `unreported_at`, unless it is
    /// heard from before.
    pub fn commit(&mut self, hold: Hold, unreported_at: Option<Timestamp>) -> Commit {
        self.counts.issued = self.counts.issued.saturating_add(1);
        if let (Some(lane), Some(unreported_at)) = (self.lane(hold.source), unreported_at) {
            lane.timeline.expect_report(unreported_at);
        }
        Commit { hold, unreported_at }
    }

    /// Undoes a commit that could not be stored: the credential was not handed out.
    pub fn undo(&mut self, commit: &Commit) {
        self.counts.issued = self.counts.issued.saturating_sub(1);
        if let (Some(lane), Some(unreported_at)) = (self.lane(commit.hold.source), commit.unreported_at) {
            lane.timeline.mark_reported(unreported_at);
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
    pub fn apply(&mut self, charge: UsageChange) {
        if let ChangeKind::GrantReported { .. } = charge.change {
            self.counts.reported = self.counts.reported.saturating_add(1);
        }
        if let Some(lane) = self.lane(charge.source) {
            lane.apply(charge);
        }
    }

    /// Takes a source's own count.
    pub fn take_reading(&mut self, source: IceSource, reading: &Reading) -> ReadingOutcome {
        let now = self.now;
        let taken =
            self.lane(source).map_or(ReadingOutcome::OtherPeriod, |lane| lane.take_reading(reading, now));
        if taken == ReadingOutcome::Taken {
            self.remember_reading();
        }
        taken
    }

    /// The best figure of one source.
    #[must_use]
    pub fn used_of(&self, source: IceSource) -> ByteCount {
        let lane = self.lanes.iter().find(|lane| lane.terms.source == source);
        lane.map_or(ByteCount::ZERO, |lane| lane.timeline.used())
    }

    /// Whether sessions of this source whose grant is over are ended by us from now on.
    pub fn set_cutting(&mut self, source: IceSource, is_cutting: bool) {
        let now = self.now;
        if let Some(lane) = self.lane(source) {
            lane.set_cutting(is_cutting, now);
        }
    }

    /// Reading begins: what was not read while no process ran is nobody's failure.
    pub fn begin_readings(&mut self) {
        for lane in &mut self.lanes {
            lane.begin_readings(self.now);
        }
    }

    /// A source's latest count of this period.
    #[must_use]
    pub fn reading(&self, source: IceSource) -> Option<Reading> {
        let lane = self.lanes.iter().find(|lane| lane.terms.source == source)?;
        lane.timeline.reading().copied()
    }

    fn remember_reading(&mut self) {
        let MeasuredUsage { as_of, bytes, .. } = self.measured();
        if let Some(as_of) = as_of {
            self.history.hear(ReadingPoint { as_of, bytes });
        }
    }

    /// What the providers' own counts said in the course of this period, since the process began.
    #[must_use]
    pub fn history(&self) -> &ReadingHistory {
        &self.history
    }

    /// What the providers' own counts say.
    #[must_use]
    pub fn measured(&self) -> MeasuredUsage {
        let mut measured = MeasuredUsage::default();
        for lane in self.lanes.iter().filter(|lane| lane.terms.source.is_metered()) {
            lane.add_to(&mut measured, self.now);
        }
        measured
    }

    /// Whether the limit is held in the worst case.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.terms.mode == BudgetMode::Strict
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

    fn lane(&mut self, source: IceSource) -> Option<&mut SourceLedger> {
        self.lanes.iter_mut().find(|lane| lane.terms.source == source)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

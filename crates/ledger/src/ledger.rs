//! The ledger: one [`Timeline`] for each source, and one limit over the metered sources together. Its time never
//! decreases, so a clock that steps back lowers no figure.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::client::ClientKey;
use crate::minute::Minute;
use crate::minute_usage::SourceRows;
use crate::period::{BillingDay, Period};
pub use crate::reading::LateCounts;
use crate::reading::{Reading, ReadingOutcome};
use crate::reading_history::{ReadingHistory, ReadingPoint};
use crate::source::IceSource;
use crate::source_ledger::SourceLedger;
pub use crate::source_ledger::{MeasuredUsage, SourceTerms};
use crate::timeline::{Rates, Slice, Timeline};
use crate::units::{BitRate, ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};
use crate::verdict::{BudgetMode, ClientShare, Figures, Refusal, STRICT_LIFE_MIN, Wish, decide};

/// The terms of the budget. All but the limit are fixed for the life of the process.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bytes that may be used in a period.
    pub limit: ByteCount,
    /// When a period begins.
    pub billing_day: BillingDay,
    /// How time becomes bytes.
    pub rates: Rates,
    /// How the limit is enforced.
    pub mode: BudgetMode,
}

/// Room that is reserved for one credential before the provider is asked. [`Ledger::release`] returns it,
/// [`Ledger::commit`] makes it final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    source: IceSource,
    alive: Range<Minute>,
    life: Duration,
    /// The client that reserves its minutes, in strict mode.
    pub(crate) client: Option<ClientKey>,
    /// How far the wall clock was ahead of the books' time. The hold covers the credential by both clocks.
    pub(crate) clock_ahead: Duration,
}

impl Hold {
    /// The lifetime that the credential gets: as requested, or shorter if strict mode has less room.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// The first minute in which the grant no longer counts as alive; `None` if it costs nothing.
    #[must_use]
    pub fn alive_until(&self) -> Option<Minute> {
        self.source.is_metered().then_some(self.alive.end)
    }

    /// Minutes that it reserves.
    #[must_use]
    pub fn minutes(&self) -> u64 {
        self.alive.end.since(self.alive.start)
    }
}

/// Event counts of the current period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PeriodCounts {
    /// Credentials issued.
    pub issued: u64,
    /// Grants that reported their first connection.
    pub reported: u64,
    /// Connections opened, with a grant or by a reporter.
    pub connections: u64,
    /// Reports of clients that were clamped to an allowance.
    #[serde(default)]
    pub clamped: u64,
    /// When that last happened.
    #[serde(default)]
    pub clamped_at: Option<Timestamp>,
}

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Ledger {
    terms: Terms,
    sources: Vec<SourceLedger>,
    now: Timestamp,
    period: Period,
    counts: PeriodCounts,
    history: ReadingHistory,
    /// Whether more time may have passed than the books know.
    is_doubtful: bool,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(terms: Terms, sources: &[SourceTerms], now: Timestamp) -> Self {
        let open = |source: &SourceTerms| SourceLedger::new(*source, terms.billing_day, terms.rates, now);
        Self {
            terms,
            sources: sources.iter().map(open).collect(),
            now,
            period: terms.billing_day.period_at(now),
            counts: PeriodCounts::default(),
            history: ReadingHistory::default(),
            is_doubtful: false,
        }
    }

    /// The ledger as stored, at `now`. A source that is stored but no longer configured is kept, because its usage
    /// counts. From here on, changes are recorded.
    #[must_use]
    pub fn restore(
        terms: Terms,
        sources: &[SourceTerms],
        now: Timestamp,
        counts: PeriodCounts,
        stored: &BTreeMap<IceSource, SourceRows>,
    ) -> Self {
        let removed = stored.keys().filter(|name| sources.iter().all(|source| source.source != **name));
        let removed = removed.map(|name| SourceTerms::of_a_removed(*name));
        let nothing = SourceRows::default();
        let open = |source: SourceTerms| {
            let rows = stored.get(&source.source).unwrap_or(&nothing);
            SourceLedger::restore(source, terms.billing_day, terms.rates, now, rows)
        };
        let sources = sources.iter().copied().chain(removed).map(open).collect();
        let mut ledger = Self { sources, counts, ..Self::new(terms, &[], now) };
        ledger.remember_reading();
        ledger
    }

    /// Takes the changes of each source that must be stored.
    pub fn take_changes(&mut self) -> BTreeMap<IceSource, SourceRows> {
        let changes = self.sources.iter_mut().map(|source| (source.terms.source, source.take_changes()));
        changes.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// The ledger's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves to `now`. An earlier instant changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for source in &mut self.sources {
            source.timeline.advance(self.now);
        }
        if !self.period.contains(self.now) {
            self.period = self.terms.billing_day.period_at(self.now);
            self.counts = PeriodCounts::default();
            self.history.clear();
        }
    }

    /// Sets whether more time may have passed than the books know. Readings do not test the assumed rate then.
    pub fn set_doubtful(&mut self, is_doubtful: bool) {
        self.is_doubtful = is_doubtful;
    }

    /// Reserves room for a credential with the lifetime `asked` and for its tail, or refuses. The provider may make it
    /// up to `slack` from now. The check and the reservation are one step. Unmetered sources are always admitted.
    /// The minutes before `promised_until` are promised already, to the grant that this one renews.
    pub fn try_admit(
        &mut self,
        source: IceSource,
        asked: Duration,
        slack: Duration,
        promised_until: Option<Minute>,
    ) -> Result<Hold, Refusal> {
        self.try_admit_client(source, asked, slack, promised_until, [None; 2])
    }

    /// The same for a client that has reserved these shares, and its group.
    pub fn try_admit_client(
        &mut self,
        source: IceSource,
        asked: Duration,
        slack: Duration,
        promised_until: Option<Minute>,
        clients: [Option<ClientShare>; 2],
    ) -> Result<Hold, Refusal> {
        let now = self.now;
        let promised_until = promised_until.unwrap_or_default().max(Minute::of(now));
        let (tail, liability) = match self.source_ledger(source) {
            Some(ledger) => (ledger.tail(), ledger.timeline.liability()),
            None => (Duration::ZERO, self.terms.rates.liability),
        };
        let covered = promised_until.since(Minute::of(now));
        let wish = Wish::new(asked, slack, tail, liability).renewing(covered.into()).of_client(clients);
        let life = if source.is_metered() {
            let awaits_reading = self.sources.iter().any(|source| source.terms.is_read);
            decide(self.terms.mode, self.figures(), wish)
                .map_err(|refusal| Refusal { awaits_reading, ..refusal })?
        } else {
            asked
        };
        let until = Minute::from_end(now.plus(life).plus(wish.overhead));
        let hold = Hold {
            source,
            alive: promised_until.min(until)..until,
            life,
            client: None,
            clock_ahead: Duration::ZERO,
        };
        if let Some(ledger) = self.source_ledger(source) {
            ledger.timeline.add_grant(hold.alive.clone());
        }
        Ok(hold)
    }

    /// Whether strict mode has no room for a credential of any metered source, though the budget is not spent.
    #[must_use]
    pub fn is_promised_in_full(&self, slack: Duration) -> bool {
        let figures = self.figures();
        let fits = |source: &SourceLedger| {
            let wish = Wish::new(STRICT_LIFE_MIN, slack, source.tail(), source.timeline.liability());
            decide(self.terms.mode, figures, wish).is_ok()
        };
        let mut metered = self.sources.iter().filter(|source| source.terms.source.is_metered()).peekable();
        !figures.is_spent() && metered.peek().is_some() && !metered.any(fits)
    }

    /// Makes a hold final, because the credential exists. From here on only time ends it. The grant is charged at
    /// `unreported_at`, unless its client reports a connection before.
    pub fn commit(&mut self, hold: &Hold, unreported_at: Option<Timestamp>) {
        self.counts.issued = self.counts.issued.saturating_add(1);
        if let Some(ledger) = self.source_ledger(hold.source) {
            ledger.commit(&hold.alive, unreported_at);
        }
    }

    /// Undoes a commit whose credential was not handed out.
    pub fn undo(&mut self, hold: &Hold, unreported_at: Option<Timestamp>) {
        self.counts.issued = self.counts.issued.saturating_sub(1);
        if let Some(ledger) = self.source_ledger(hold.source) {
            ledger.undo(&hold.alive, unreported_at);
        }
    }

    /// Returns a hold, because nobody has the credential.
    pub fn release(&mut self, hold: &Hold) {
        if let Some(ledger) = self.source_ledger(hold.source) {
            ledger.timeline.remove_grant(hold.alive.clone());
        }
    }

    /// Counts an opened connection.
    pub fn count_connection(&mut self) {
        self.counts.connections = self.counts.connections.saturating_add(1);
    }

    /// Counts a report that was clamped to an allowance.
    pub fn count_clamped(&mut self) {
        self.counts.clamped = self.counts.clamped.saturating_add(1);
        self.counts.clamped_at = Some(self.now);
    }

    /// Applies one change of the reported usage.
    pub fn apply(&mut self, change: UsageChange) {
        if let ChangeKind::GrantReported { .. } = change.kind {
            self.counts.reported = self.counts.reported.saturating_add(1);
        }
        if let Some(ledger) = self.source_ledger(change.source) {
            ledger.apply(change);
        }
    }

    /// Takes a reading of a source.
    pub fn take_reading(&mut self, source: IceSource, reading: &Reading) -> ReadingOutcome {
        let (now, limit, is_test) = (self.now, self.terms.limit, !self.is_doubtful);
        let taken = self
            .source_ledger(source)
            .map_or(ReadingOutcome::OtherPeriod, |ledger| ledger.take_reading(reading, is_test, limit, now));
        if taken == ReadingOutcome::Taken {
            self.remember_reading();
        }
        taken
    }

    /// Drops the readings of this period that come from providers. `false` if there are none.
    pub fn drop_readings(&mut self) -> bool {
        let assumed = self.terms.rates.liability;
        let mut dropped = false;
        for source in &mut self.sources {
            dropped |= source.terms.source.is_counted_by_provider() && source.drop_reading(assumed);
        }
        if dropped {
            self.history.clear();
        }
        dropped
    }

    /// The best figure of one source in this period; zero for an unknown source.
    #[must_use]
    pub fn used_of(&self, source: IceSource) -> ByteCount {
        let ledger = self.sources.iter().find(|ledger| ledger.terms.source == source);
        ledger.map_or(ByteCount::ZERO, |ledger| ledger.timeline.used())
    }

    /// Sets whether we cut sessions of this source whose grant is over.
    pub fn set_cutting(&mut self, source: IceSource, is_cutting: bool) {
        let now = self.now;
        if let Some(ledger) = self.source_ledger(source) {
            ledger.set_cutting(is_cutting, now);
        }
    }

    /// Sets how late this source's counts settle.
    pub fn set_late_counts(&mut self, source: IceSource, late: LateCounts) {
        if let Some(ledger) = self.source_ledger(source) {
            ledger.late_counts = Some(late);
        }
    }

    /// Notes that grants of a source may relay until then, beyond what is promised, because the time has jumped.
    pub fn note_jump(&mut self, source: IceSource, until: Timestamp) {
        if let Some(ledger) = self.source_ledger(source) {
            ledger.jumped_until = ledger.jumped_until.max(until);
        }
    }

    /// Forgets how late this source's counts settle if the configured lag is as long as the measured one.
    pub fn settle_late_counts(&mut self, source: IceSource, configured: Duration) {
        if let Some(ledger) = self.source_ledger(source) {
            ledger.late_counts = ledger.late_counts.filter(|late| late.lag > configured);
        }
    }

    /// Marks the start of reading. The time in which no process ran does not make a count stale.
    pub fn begin_readings(&mut self) {
        for source in &mut self.sources {
            source.begin_readings(self.now);
        }
    }

    /// Keeps what is promised from a source's latest reading up to now: nobody watched that stretch.
    pub fn keep_unseen(&mut self, source: IceSource) {
        if let Some(ledger) = self.source_ledger(source) {
            ledger.timeline.keep_unseen();
        }
    }

    /// How long a grant of each metered source counts as alive after its expiry, as of now.
    #[must_use]
    pub fn tails(&self) -> Vec<(IceSource, Duration)> {
        let metered = self.sources.iter().filter(|source| source.terms.source.is_metered());
        metered.map(|source| (source.terms.source, source.tail())).collect()
    }

    /// The tail of a source while nobody cuts its sessions; zero for an unknown source.
    #[must_use]
    pub fn long_tail(&self, source: IceSource) -> Duration {
        let ledger = self.sources.iter().find(|ledger| ledger.terms.source == source);
        ledger.map_or(Duration::ZERO, |ledger| ledger.terms.tail)
    }

    /// The tail of a source while we cut its sessions; `None` if we cannot.
    #[must_use]
    pub fn cut_tail(&self, source: IceSource) -> Option<Duration> {
        self.sources.iter().find(|ledger| ledger.terms.source == source)?.terms.cut_tail
    }

    /// Whether we cut sessions of this source whose grant is over.
    #[must_use]
    pub fn is_cutting(&self, source: IceSource) -> bool {
        self.sources.iter().any(|ledger| ledger.terms.source == source && ledger.is_cutting())
    }

    /// A source's latest reading of this period, or of one that overlaps it.
    #[must_use]
    pub fn overlapping_reading(&self, source: IceSource) -> Option<Reading> {
        let ledger = self.sources.iter().find(|ledger| ledger.terms.source == source)?;
        ledger.timeline.overlapping_reading().copied()
    }

    fn remember_reading(&mut self) {
        let MeasuredUsage { as_of, bytes, .. } = self.measured();
        if let Some(as_of) = as_of {
            self.history.add(ReadingPoint { as_of, bytes });
        }
    }

    /// The readings of this period that this process has seen.
    #[must_use]
    pub fn history(&self) -> &ReadingHistory {
        &self.history
    }

    /// The readings of all metered sources, combined.
    #[must_use]
    pub fn measured(&self) -> MeasuredUsage {
        let mut measured = MeasuredUsage::default();
        for source in self.sources.iter().filter(|source| source.terms.source.is_metered()) {
            source.add_to(&mut measured, self.now);
        }
        measured.observed = self.observed_rate();
        measured
    }

    /// The bits of all sources divided by their grant-minutes, rounded up. Without grant-minutes in the last hour the highest
    /// rate.
    fn observed_rate(&self) -> Option<BitRate> {
        let metered = self.sources.iter().filter(|source| source.terms.source.is_metered());
        let rates: Vec<_> = metered.filter_map(SourceLedger::observed).collect();
        let minutes = rates.iter().map(|(_, minutes)| *minutes).fold(0, u128::saturating_add);
        let weighted = rates.iter().map(|(rate, minutes)| minutes.saturating_mul(rate.get().into()));
        let weighted = weighted.fold(0, u128::saturating_add);
        if minutes == 0 {
            return rates.into_iter().map(|(rate, _)| rate).max();
        }
        Some(BitRate::new(u64::try_from(weighted.div_ceil(minutes)).unwrap_or(u64::MAX)))
    }

    /// Whether strict mode is on.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.terms.mode == BudgetMode::Strict
    }

    /// The highest rate that a grant is assumed to relay at.
    #[must_use]
    pub fn assumed_rate(&self) -> BitRate {
        self.terms.rates.liability
    }

    /// Sets the limit. It counts from now on.
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
            margin: self.sum(Timeline::margin),
            committed_next: self.sum(Timeline::committed_next),
            limit: self.terms.limit,
        }
    }

    /// Grants alive now, tail included, over all sources.
    #[must_use]
    pub fn live_grants(&self) -> u64 {
        self.sources.iter().map(|source| u64::from(source.timeline.live())).fold(0, u64::saturating_add)
    }

    /// The event counts of this period.
    #[must_use]
    pub fn counts(&self) -> PeriodCounts {
        self.counts
    }

    /// The previous period and its bytes; `None` if they are not known.
    #[must_use]
    pub fn previous(&self) -> Option<(Period, ByteCount)> {
        let metered = self.sources.iter().filter(|source| source.terms.source.is_metered());
        metered.filter_map(|source| source.timeline.previous()).reduce(|a, b| (a.0, a.1.plus(b.1)))
    }

    /// Bytes of the metered sources and the most live grants in `[from, to)`, extended to whole minutes.
    #[must_use]
    pub fn slice(&self, from: Timestamp, to: Timestamp) -> Slice {
        let mut total = Slice { used: ByteCount::ZERO, live: 0 };
        for source in self.sources.iter().filter(|source| source.terms.source.is_metered()) {
            let slice = source.timeline.slice(from, to);
            total.used = total.used.plus(slice.used);
            total.live = total.live.saturating_add(slice.live);
        }
        total
    }

    fn sum(&self, figure: impl Fn(&Timeline) -> ByteCount) -> ByteCount {
        let metered = self.sources.iter().filter(|source| source.terms.source.is_metered());
        metered.map(|source| figure(&source.timeline)).fold(ByteCount::ZERO, ByteCount::plus)
    }

    fn source_ledger(&mut self, source: IceSource) -> Option<&mut SourceLedger> {
        self.sources.iter_mut().find(|ledger| ledger.terms.source == source)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

//! The budget: one [`Timeline`] for each owner of counts, and one limit over the metered sources together. Tests: `src/budget_tests.rs`.
//! Its time never decreases, so a clock that steps back lowers no figure.

mod readings;
mod tails;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::evidence::{CountOwner, Excess, IdDigest};
use crate::minutes::{Minutes, SourceRows, UsageChange};
use crate::promise::{Effect, GrantMinutes, OwnedTime, PromisedTime, Rates};
use crate::source::IceSource;
use crate::timeline::{Slice, SourceTerms, Timeline};
use crate::units::{BillingDay, BitRate, ByteCount, Interval, Minute, Period, Timestamp};
use crate::verdict::{BudgetMode, Figures, PeriodBytes, Refusal, Request, STRICT_LIFE_MIN, decide};

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
    /// Whether running calls are ended at the limit, wherever that is possible.
    pub ends_calls: bool,
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
    pub clamped: u64,
}

/// The longest time for which the bytes of the last minutes are known: the 15 that may be asked for, and the
/// age of a count with a lag of 10 minutes.
pub const RECENT_MAX: Duration = Duration::from_secs(30 * 60);
/// How many periods before the current one are shown.
const PAST_PERIODS: usize = 12;

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Its terms. A new limit applies from now on.
    pub terms: Terms,
    timelines: Vec<Timeline>,
    /// The ledger's time.
    pub now: Timestamp,
    /// The period that contains the ledger's time.
    pub period: Period,
    /// The event counts of this period.
    pub counts: PeriodCounts,
    /// That of a wall clock that is ahead and not accepted: see [`Self::latest`].
    latest: Timestamp,
}

impl Budget {
    /// The ledger as stored, at `now`. An owner that is stored but no longer configured is kept, because its usage
    /// counts. From here on, changes are recorded.
    pub fn open(
        terms: Terms,
        sources: &[SourceTerms],
        now: Timestamp,
        counts: PeriodCounts,
        stored: &BTreeMap<CountOwner, SourceRows>,
    ) -> Self {
        let others = stored.iter().filter(|(owner, _)| sources.iter().all(|source| source.owner != **owner));
        let removed = others.map(|(owner, rows)| SourceTerms::of_removed(*owner, rows, sources));
        let nothing = SourceRows::default();
        let open = |source: SourceTerms| {
            let rows = stored.get(&source.owner).unwrap_or(&nothing);
            Timeline::open(source, terms.billing_day, terms.rates.of(source.owner.source), now, rows)
        };
        let mut ledger = Self {
            terms,
            timelines: sources.iter().copied().chain(removed).map(open).collect(),
            now,
            period: terms.billing_day.period_at(now),
            counts,
            latest: now,
        };
        // Opening has removed the stored counts of a key whose account has changed. So the counts are shared only after it.
        for owner in stored.keys().filter(|owner| owner.issuer.is_some()) {
            ledger.share_counts(*owner);
        }
        ledger
    }

    /// Takes the changes of each owner of counts that must be stored.
    pub fn take_changes(&mut self) -> BTreeMap<CountOwner, SourceRows> {
        let changes = self.timelines.iter_mut().map(|of| (of.terms.owner, of.take_changes()));
        changes.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Moves to `now`. An earlier instant changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for timeline in &mut self.timelines {
            timeline.advance(self.now);
        }
        if !self.period.contains(self.now) {
            self.period = self.terms.billing_day.period_at(self.now);
            self.counts = PeriodCounts::default();
        }
    }

    /// Adds a stored promise that so many grants have. The stored rows of minutes that are over have it already.
    pub fn restore_promises(&mut self, (owner, time): OwnedTime, grants: i64) {
        let rest = time.reserved().start.max(Minute::of(self.now))..time.until;
        self.promising(owner).minutes.change_live(rest, time.level().times(grants));
    }

    /// Replaces a promise by another one.
    pub fn replace_promise(&mut self, before: Option<OwnedTime>, after: Option<OwnedTime>) {
        match (before, after) {
            (Some((owner, before)), Some((same, after))) if owner == same => {
                self.promising(owner).replace_promise(Some(before), Some(after));
            }
            _ => {
                if let Some((owner, before)) = before {
                    self.promising(owner).replace_promise(Some(before), None);
                }
                if let Some((owner, after)) = after {
                    self.promising(owner).replace_promise(None, Some(after));
                }
            }
        }
    }

    /// The timeline of an owner for whom something is promised. An owner that is not in the settings any more gets one, too.
    fn promising(&mut self, owner: CountOwner) -> &mut Timeline {
        let found = self.timelines.iter().position(|timeline| timeline.terms.owner == owner);
        let index = found.unwrap_or_else(|| {
            let (nothing, rates) = (SourceRows::default(), self.terms.rates.of(owner.source));
            let terms = SourceTerms::of_unconfigured(owner);
            self.timelines.push(Timeline::open(terms, self.terms.billing_day, rates, self.now, &nothing));
            self.timelines.len().saturating_sub(1)
        });
        &mut self.timelines[index]
    }

    /// Applies what grants or connections have changed.
    pub fn apply(&mut self, effect: Effect) {
        let counts = &mut self.counts;
        match effect {
            Effect::Promise { before, after } => self.replace_promise(before, after),
            Effect::Usage(change) => self.charge(change),
            Effect::Excess(source, excesses) => self.note_excess(source, excesses),
            Effect::Reported => counts.reported = counts.reported.saturating_add(1),
            Effect::Clamped => counts.clamped = counts.clamped.saturating_add(1),
        }
    }

    /// Applies one change of the reported usage.
    pub fn charge(&mut self, change: UsageChange) {
        self.with(change.owner, |timeline| timeline.apply(change));
    }

    /// The sources of all timelines: those of the settings, and others with something stored or promised.
    pub fn sources(&self) -> impl Iterator<Item = IceSource> {
        self.timelines.iter().map(|timeline| timeline.terms.owner.source).collect::<BTreeSet<_>>().into_iter()
    }

    /// The owner of what is relayed at a source if its TURN key or relay is not known: the first one of this source in the settings.
    pub fn first_owner(&self, source: IceSource) -> CountOwner {
        self.all_of(source).next().map_or(source.into(), |timeline| timeline.terms.owner)
    }

    /// The owner of what is relayed at a source with this TURN key or relay; without one, [`Self::first_owner`].
    pub fn owner_with(&self, source: IceSource, issuer: Option<IdDigest>) -> CountOwner {
        issuer.map_or_else(|| self.first_owner(source), |_| CountOwner { source, issuer })
    }

    /// Whether no more than one TURN key or relay of a source is known.
    pub fn has_one_owner(&self, source: IceSource) -> bool {
        self.all_of(source).filter(|timeline| timeline.terms.owner.issuer.is_some()).count() <= 1
    }

    /// Whether counts of a source are taken; `false` for one that is not configured.
    pub fn is_read(&self, source: IceSource) -> bool {
        self.all_of(source).any(|timeline| timeline.terms.is_read)
    }

    /// The margin of error of each owner's count in this period, in percent, with the owner's source.
    pub fn margins(&self) -> Vec<(IceSource, u32)> {
        self.timelines.iter().map(|of| (of.terms.owner.source, of.minutes.sampling())).collect()
    }

    /// The most bytes that a grant of a source is assumed to relay in one minute. Zero for the SFU: each session has a rate of its own.
    pub fn bytes_per_minute(&self, source: IceSource) -> u64 {
        self.rate_at(source).per_minute()
    }

    /// The highest rate that a grant of a source is assumed to relay at: that of the settings, or one that was seen.
    pub fn rate_at(&self, source: IceSource) -> BitRate {
        self.all_of(source).map(Timeline::assumed_rate).max().unwrap_or(self.assumed_rate())
    }

    /// The rates that are assumed because they were seen, in bytes a minute.
    pub fn raised_rates(&self) -> BTreeMap<IceSource, u64> {
        let raised = self.timelines.iter().filter(|timeline| timeline.state.raised.is_some());
        raised.map(|timeline| (timeline.terms.owner.source, timeline.assumed_rate().per_minute())).collect()
    }

    /// What counts have shown in this period above the assumed rates and after the assumed tails.
    pub fn excess(&self) -> ByteCount {
        let of_each = self.metered().map(|timeline| timeline.rate_check.excess().bytes);
        of_each.fold(ByteCount::ZERO, ByteCount::plus)
    }

    /// Assumes a rate for the grants of a source, because counts have shown it. `faster`: by how much chains still exceed it. Chains belong
    /// to the whole source, so their excess counts at the owner without a TURN key.
    pub fn raise_rate(&mut self, source: IceSource, rate: BitRate, faster: Excess) {
        let of_source = self.timelines.iter_mut().filter(|timeline| timeline.terms.owner.source == source);
        for timeline in of_source {
            let is_rest = timeline.terms.owner == source.into();
            timeline.raise_rate(rate, if is_rest { faster } else { Excess::default() });
        }
    }

    /// The best figure of one source in this period; zero for an unknown source.
    pub fn used_of(&self, source: IceSource) -> ByteCount {
        self.all_of(source).map(|timeline| timeline.minutes.used()).fold(ByteCount::ZERO, ByteCount::plus)
    }

    /// The same of one owner; zero for an unknown one.
    pub fn used_by(&self, owner: CountOwner) -> ByteCount {
        self.owned_by(owner).map_or(ByteCount::ZERO, |timeline| timeline.minutes.used())
    }

    /// Whether an owner has used what it alone may in this period.
    pub fn is_used_up(&self, owner: CountOwner) -> bool {
        self.has_reached_limit_of(owner, Minutes::used)
    }

    /// Whether the calls of an owner end now, because it is proven that it has used what it alone may in this period.
    pub fn ends_calls_of(&self, owner: CountOwner) -> bool {
        self.terms.ends_calls && self.has_reached_limit_of(owner, Minutes::proven)
    }

    fn has_reached_limit_of(&self, owner: CountOwner, bytes: fn(&Minutes) -> ByteCount) -> bool {
        self.owned_by(owner).is_some_and(|of| of.terms.limit.is_some_and(|limit| bytes(&of.minutes) >= limit))
    }

    /// The highest rate that a grant is assumed to relay at, as set.
    pub fn assumed_rate(&self) -> BitRate {
        self.terms.rates.liability
    }

    /// The sums over the metered sources.
    pub fn figures(&self) -> Figures {
        Figures {
            now: self.now,
            period: self.period,
            used: self.sum(Minutes::used),
            committed: self.sum(Minutes::committed),
            margin: self.sum(Minutes::margin),
            committed_next: self.sum(Minutes::committed_next),
            limit: self.terms.limit,
        }
    }

    /// By how much usage passes the limit if each owner comes to have `used_later` in this period. An owner whose calls end at the limit
    /// adds nothing once the limit is [proven](Self::proven) to be reached. So the result is at most what is past the limit now or is not
    /// proven yet, plus what the other owners still add.
    pub fn overshoot(&self, used_later: impl Fn(&Minutes) -> ByteCount) -> ByteCount {
        let all = self.sum(&used_later);
        let ends = |timeline: &Timeline| self.terms.ends_calls && timeline.is_ended_at_limit(self.now);
        let goes_on = self.metered().filter(|timeline| !ends(timeline));
        let more = goes_on.map(|timeline| used_later(&timeline.minutes).minus(timeline.minutes.used()));
        let past = self.sum(Minutes::used).minus(self.proven().min(self.terms.limit));
        all.minus(self.terms.limit).min(more.fold(past, ByteCount::plus))
    }

    /// Whether running calls of a source end now, if that is possible: so much is proven that the limit is reached. For the SFU, what its
    /// sessions take is proof enough: the SFU itself says which tracks they have, but not at what rate.
    pub fn ends_calls(&self, source: IceSource) -> bool {
        let proven = |timeline: &Timeline| match timeline.terms.owner.source {
            IceSource::Sfu if source == IceSource::Sfu => timeline.minutes.proven_or_estimated(),
            _ => timeline.minutes.proven(),
        };
        let all = || self.metered().map(proven).fold(ByteCount::ZERO, ByteCount::plus);
        // Each session at a relay asks this, and nearly always nothing is spent: then nothing else is summed.
        self.terms.ends_calls && self.figures().is_spent() && all() >= self.terms.limit
    }

    /// Whether what is proven reaches the limit alone, without any claim of a page.
    pub fn is_limit_proven(&self) -> bool {
        self.figures().is_spent() && self.proven() >= self.terms.limit
    }

    /// The first instant of this period in which something was used or a grant was alive; the period's start if there is none.
    pub fn used_since(&self) -> Timestamp {
        let first = self.metered().filter_map(|timeline| timeline.minutes.used_since()).min();
        first.map_or(self.period.start, |first| first.max(self.period.start))
    }

    /// Grants alive now, tail included, over all sources.
    pub fn live_grants(&self) -> u64 {
        let live = self.timelines.iter().map(|timeline| timeline.minutes.current_cell().live);
        live.fold(0, u64::saturating_add)
    }

    /// The periods before this one with their bytes, the latest first: at most twelve, and none before the first that is known.
    pub fn past(&self) -> Vec<(Period, ByteCount)> {
        let mut past: Vec<_> = self.earlier_periods().map(|period| (period, self.used_in(period))).collect();
        // Removes the periods before the first that is known: they are last in the list.
        while past.pop_if(|(_, used)| used.is_none()).is_some() {}
        past.into_iter().map(|(period, used)| (period, used.unwrap_or_default())).collect()
    }

    /// The twelve periods before this one, the latest first, whether or not something is known of them.
    pub fn earlier_periods(&self) -> impl Iterator<Item = Period> {
        let before = |period: &Period| Some(self.terms.billing_day.period_until(period.start));
        std::iter::successors(before(&self.period), before).take(PAST_PERIODS)
    }

    /// What each metered source has used in a period: this one, or an earlier one.
    pub fn used_by_source(&self, period: Period) -> BTreeMap<IceSource, ByteCount> {
        let mut used = BTreeMap::new();
        for timeline in self.metered() {
            let minutes = &timeline.minutes;
            let is_present = period == self.period;
            let bytes =
                if is_present { minutes.used() } else { minutes.days.used(period).unwrap_or_default() };
            let sum = used.entry(timeline.terms.owner.source).or_insert(ByteCount::ZERO);
            *sum = sum.plus(bytes);
        }
        used
    }

    /// Bytes of an earlier period; `None` if nothing is known of it.
    fn used_in(&self, period: Period) -> Option<ByteCount> {
        self.metered().filter_map(|timeline| timeline.minutes.days.used(period)).reduce(ByteCount::plus)
    }

    /// The totals of the earlier period that began at `start`, to which the rows of its spenders add up.
    pub fn past_bytes(&self, start: Timestamp) -> PeriodBytes {
        let period = self.terms.billing_day.period_at(start);
        let used = self.used_in(period).unwrap_or_default();
        let days = self.metered().flat_map(|timeline| timeline.minutes.days.of(period));
        let measured = days.map(|(_, count)| count.total()).fold(ByteCount::ZERO, ByteCount::plus);
        PeriodBytes { used, measured: measured.min(used), seen: [period.start, period.end] }
    }

    /// Bytes of the metered sources in a span, extended to whole minutes, and the sum of the most grants that each owner had alive
    /// in one of these minutes.
    pub fn slice(&self, span: Interval) -> Slice {
        let mut total = Slice { used: ByteCount::ZERO, live: 0 };
        for timeline in self.metered() {
            let slice = timeline.slice(span);
            total.used = total.used.plus(slice.used);
            total.live = total.live.saturating_add(slice.live);
        }
        total
    }

    /// What two answers agree on, what the broker has watched, and what app servers vouched for since, without what pages claimed.
    pub fn proven(&self) -> ByteCount {
        self.sum(Minutes::proven)
    }

    /// The most that is promised to an owner in a minute of this period that has begun; zero in any other minute. Without a TURN key: to
    /// all owners of the source.
    pub fn promised_in(&self, owner: impl Into<CountOwner>, minute: Minute) -> ByteCount {
        let owner = owner.into();
        let is_included = |of: &&Timeline| owner.issuer.is_none() || of.terms.owner == owner;
        let included = self.all_of(owner.source).filter(is_included);
        let promised = included.map(|of| of.minutes.promised_in_whole(minute));
        ByteCount::saturating(promised.fold(0, u128::saturating_add))
    }

    fn sum(&self, figure: impl Fn(&Minutes) -> ByteCount) -> ByteCount {
        self.metered().map(|timeline| figure(&timeline.minutes)).fold(ByteCount::ZERO, ByteCount::plus)
    }

    fn metered(&self) -> impl Iterator<Item = &Timeline> {
        self.timelines.iter().filter(|timeline| timeline.terms.owner.source.is_metered())
    }

    /// The timeline of an owner; for one that is not known, the first of its source.
    fn of(&self, owner: impl Into<CountOwner>) -> Option<&Timeline> {
        let owner = owner.into();
        self.owned_by(owner).or_else(|| self.all_of(owner.source).next())
    }

    fn all_of(&self, source: IceSource) -> impl Iterator<Item = &Timeline> {
        self.timelines.iter().filter(move |timeline| timeline.terms.owner.source == source)
    }

    /// Changes the timeline of an owner; `None` for one that is not known.
    pub fn with<T>(&mut self, owner: CountOwner, change: impl FnOnce(&mut Timeline) -> T) -> Option<T> {
        self.timelines.iter_mut().find(|timeline| timeline.terms.owner == owner).map(change)
    }
}

impl Budget {
    /// A request for a credential of an owner, which the provider makes within `slack`. `renewed`: what is promised for the grant that it
    /// renews. The shares of clients and limits are left open.
    pub fn request(
        &self,
        owner: impl Into<CountOwner>,
        life: Duration,
        slack: Duration,
        renewed: Option<PromisedTime>,
    ) -> Request {
        let owner = owner.into();
        let source = owner.source;
        let from = self.counted_from(source);
        // Where the broker ends sessions, those of the grants before a renewal last until the renewal ends.
        let prolonged = renewed.filter(|_| source.refuses_revoked() || self.cut_tail(owner).is_some());
        Request {
            source,
            life,
            slack,
            tail: self.tail(owner),
            per_minute: self.bytes_per_minute(source),
            from,
            reserved_from: renewed.map_or(from, |time| time.chain_until().max(from)),
            chain_before: prolonged.map_or(0, |time| time.chain_before.saturating_add(1)),
            clients: [None; 3],
            limits: [None; 2],
        }
    }

    /// The first minute of this period in which a source may count what is relayed from now on: the clock of its provider may be behind.
    pub fn counted_from(&self, source: IceSource) -> Minute {
        Minute::of(self.now.minus(source.clocks_differ_by()).max(self.period.start))
    }

    /// Finds room for a credential and for its tail, or refuses. The request comes back with the life that the credential gets: as
    /// requested, or shorter or longer as strict mode needs it. Unmetered sources are always admitted.
    pub fn admit(&self, request: Request) -> Result<Request, Refusal> {
        if !request.source.is_metered() {
            return Ok(request);
        }
        let awaits_reading = self.timelines.iter().any(|timeline| timeline.terms.is_read);
        let life = decide(self.terms.mode, self.figures(), &request)
            .map_err(|refusal| Refusal { awaits_reading, ..refusal })?;
        Ok(Request { life, ..request })
    }

    /// Why no metered source has room for a credential: the budget is spent, or strict mode has promised the rest. `None` if one has
    /// room, and if no metered source issues credentials.
    pub fn refusal(&self, slack: Duration) -> Option<Refusal> {
        let mut last_refusal = None;
        for timeline in self.metered().filter(|of| of.terms.owner.source.issues_credentials()) {
            // Strict mode makes the life as long as the tail requires.
            match self.admit(self.request(timeline.terms.owner, STRICT_LIFE_MIN, slack, None)) {
                Ok(_) => return None,
                Err(refusal) => last_refusal = Some(refusal),
            }
        }
        last_refusal
    }

    /// The most bytes that grants of a source may relay in these minutes.
    pub fn promised(&self, source: IceSource, minutes: GrantMinutes) -> u128 {
        let promised = self.all_of(source).map(|timeline| timeline.minutes.rates.promised(minutes));
        promised.fold(minutes.bytes, u128::max)
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;

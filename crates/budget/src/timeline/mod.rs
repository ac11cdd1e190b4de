//! The bytes and live grants of one owner of counts, minute by minute, over this period and as far beyond it as a credential can live.
//! Tests: `src/timeline/tests`.
//!
//! Every figure is a sum over minutes. `used` never exceeds `committed`. A byte lies in exactly one minute and so in
//! exactly one period. Every addition can be reversed exactly.

mod counts;
mod measured;

use std::time::Duration;

use crate::evidence::{CountOwner, Excess, IdDigest, RaisedRate, RateCheck, RateCheckState};
use crate::minutes::{Basis, ChangeKind, MinuteRow, Minutes, SourceRows, SourceState, UsageChange};
use crate::promise::{PromisedTime, Rates};
use crate::source::EndedBy;
use crate::units::{BillingDay, BitRate, ByteCount, Interval, Minute, Period, Spread, Timestamp};

pub use measured::*;

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// What is assumed of the owner.
    pub terms: SourceTerms,
    billing_day: BillingDay,
    /// Promises and usage by the minute.
    pub minutes: Minutes,
    pub(crate) rate_check: RateCheck,
    /// What is known of the counts besides their days. Its period and what the check of the rate knows are filled in when it is stored.
    pub state: SourceState,
    /// Usage is charged up to here.
    pub now: Timestamp,
    /// What is charged by time at `now`: connections, or kbit/s of the SFU.
    running: Running,
    /// The state as stored.
    stored_state: Option<SourceState>,
    /// When this process began.
    began_at: Timestamp,
    /// Until when credentials without a promise may have been live: grants that the ledger lacks.
    pub lacks_until: Timestamp,
    /// When the last good reading was taken, or when reading began.
    read_at: Timestamp,
    /// The longest time after an expiry at which bytes were counted, if the tail of the settings is shorter than the default. Not stored.
    after_tail: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Running {
    granted: u64,
    ungranted: u64,
}

/// A point of the usage series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Bytes in this span: as counted, or estimated where no count reaches.
    pub used: ByteCount,
    /// Most grants alive in any of its minutes.
    pub live: u64,
}

impl Timeline {
    /// The timeline as stored, at `now`. No connection runs yet. From here on, changes are recorded.
    pub fn open(
        terms: SourceTerms,
        billing_day: BillingDay,
        rates: Rates,
        now: Timestamp,
        stored: &SourceRows,
    ) -> Self {
        let period = billing_day.period_at(now);
        let mut state = stored.state.clone().unwrap_or_default();
        let is_of_this_period = state.period == period;
        state.raised =
            state.raised.filter(|raised| is_of_this_period && raised.instead_of == rates.liability);
        let rates = Rates { liability: state.raised.map_or(rates.liability, |raised| raised.rate), ..rates };
        let mut minutes = Minutes::open(period, rates, terms.sampling, now, stored);
        let counts_another =
            matches!((terms.counted_in, state.counted_in), (Some(is), Some(was)) if is != was);
        if counts_another {
            minutes.forget_counts();
            // The provider counts something else now, such as another account, so what its counts have shown means nothing any more. The
            // raised rate and late counts stay, because they only make the books more careful. `cut_until` comes from listings. The
            // default period is no real one, so `flowed` and the check of the rate begin anew below.
            let SourceState { raised, late, cut_until, .. } = state;
            state = SourceState { raised, late, cut_until, ..SourceState::default() };
        }
        state.counted_in = terms.counted_in.or(state.counted_in);
        // Bytes and excesses of another period say nothing about this one.
        if state.period != period {
            state.flowed = ByteCount::saturating(minutes.counted.granted);
            state.rate_check = RateCheckState::default();
        }
        Self {
            terms,
            billing_day,
            rate_check: RateCheck::new(rates.liability, terms.tail, state.rate_check),
            minutes,
            state,
            now,
            running: Running::default(),
            stored_state: stored.state.clone(),
            began_at: now,
            lacks_until: Timestamp::default(),
            read_at: now,
            after_tail: None,
        }
    }

    /// Takes the changes that must be stored.
    pub fn take_changes(&mut self) -> SourceRows {
        let state = Some(self.state()).filter(|state| self.stored_state.as_ref() != Some(state));
        if state.is_some() {
            self.stored_state.clone_from(&state);
        }
        SourceRows { minutes: self.minutes.take_changes(), days: self.minutes.days.take_changes(), state }
    }

    /// Whether sessions whose grant is over are cut at `now`.
    pub fn is_cut(&self, now: Timestamp) -> bool {
        self.terms.cut_tail.is_some() && now.since(self.state.cut_until) <= CUT_FOR
    }

    /// Whether its calls are ended when the budget is spent.
    pub(crate) fn is_ended_at_limit(&self, now: Timestamp) -> bool {
        match self.terms.owner.source.facts().ended_by {
            EndedBy::Nobody => false,
            EndedBy::CommandLine => self.is_cut(now),
            EndedBy::ThisProcess | EndedBy::Api => true,
        }
    }

    /// Whether its bytes are of interest: its TURN key has not left the settings, or something of it was promised, reported or counted in
    /// this period, or is promised after it.
    pub(crate) fn is_awaited(&self) -> bool {
        let has_some = || self.minutes.used_since().is_some() || !self.minutes.differences.is_empty();
        self.terms.proof != ProofRule::Retired || has_some()
    }

    /// Whether the provider is asked for its counts.
    pub(crate) fn is_asked(&self) -> bool {
        self.terms.is_read && self.is_awaited()
    }

    /// Moves to `to` and charges time to the connections that run. Earlier instants change nothing.
    pub fn advance(&mut self, to: Timestamp) {
        while self.now < to {
            let is_quiet = (self.running.granted, self.running.ungranted) == (0, 0);
            if is_quiet && self.minutes.differences.is_empty() && to >= self.minutes.period.end {
                return self.leap(to);
            }
            let current = self.minutes.current();
            let until = current.end().min(to);
            self.run(current, until.millis_since(self.now));
            self.now = until;
            if until == current.end() {
                self.minutes.step();
                if until >= self.minutes.period.end {
                    self.begin(self.billing_day.period_at(until), until);
                }
            }
        }
    }

    /// The highest rate that one of its grants is assumed to relay at.
    pub fn assumed_rate(&self) -> BitRate {
        self.rate_check.assumed
    }

    /// Assumes a rate that counts have shown, until the reset, also after a restart with the same setting. `faster`: by how much chains
    /// still exceed it.
    pub fn raise_rate(&mut self, rate: BitRate, faster: Excess) {
        let instead_of = self.state.raised.map_or(self.rate_check.assumed, |raised| raised.instead_of);
        self.state.raised = Some(RaisedRate { instead_of, rate });
        self.rate_check.assume(rate, faster);
        self.minutes.set_liability(rate);
    }

    /// Notes bytes after the tail, if it is shorter than the source's default, or was.
    pub(crate) fn note_after_tail(&mut self, longest: Duration) {
        if self.after_tail.is_some() || self.terms.tail < self.terms.owner.source.expiry_tail() {
            self.after_tail = self.after_tail.max(Some(longest));
        }
    }

    /// Whether the tail is shorter than the source's default although bytes were counted after it.
    pub(crate) fn is_tail_too_short(&self) -> bool {
        self.after_tail.is_some() && self.terms.tail < self.terms.owner.source.expiry_tail()
    }

    /// Assumes the default tail from now on, until the next start. `None` if the tail is not too short.
    pub(crate) fn restore_tail(&mut self) -> Option<()> {
        self.is_tail_too_short().then(|| {
            self.terms.tail = self.terms.owner.source.expiry_tail();
            self.rate_check.assume_tail(self.long_tail());
        })
    }

    /// Replaces a promise by another one. The work for a longer or shorter one does not depend on the minutes that stay.
    pub fn replace_promise(&mut self, before: Option<PromisedTime>, after: Option<PromisedTime>) {
        let start_and_rate = |time: PromisedTime| (time.reserved_from, time.per_minute);
        match (before, after) {
            (Some(before), Some(after)) if start_and_rate(before) == start_and_rate(after) => {
                // Only the minutes between the two ends change: one of these ranges is empty.
                let (end_before, end) = (before.chain_until(), after.chain_until());
                self.minutes.change_live(end_before..end, after.level());
                self.minutes.change_live(end..end_before, before.level().negated());
            }
            _ => {
                if let Some(before) = before {
                    self.minutes.change_live(before.reserved(), before.level().negated());
                }
                if let Some(after) = after {
                    self.minutes.change_live(after.reserved(), after.level());
                }
            }
        }
    }

    /// Applies one change of the reported usage.
    pub fn apply(&mut self, UsageChange { basis, kind, .. }: UsageChange) {
        match kind {
            ChangeKind::Clocks { before, after } => self.change_clocks(basis, before, after),
            ChangeKind::AddTime(span) => self.change_time(basis, span, u64::saturating_add),
            ChangeKind::RemoveTime(span) => self.change_time(basis, span, u64::saturating_sub),
            ChangeKind::AddBytes(spread) => self.add_bytes(basis, spread),
            ChangeKind::Vouch(spread) => self.spread(|row| &mut row.vouched, spread),
        }
    }

    /// From now on `after` clocks run instead of `before`: each is charged by time.
    fn change_clocks(&mut self, basis: Basis, before: u64, after: u64) {
        let running = self.running.of(basis);
        debug_assert!(*running >= before, "every stop belongs to a start");
        *running = running.saturating_sub(before).saturating_add(after);
    }

    /// Changes what one connection is charged by time for a past span. `change` adds, or takes back what was added.
    fn change_time(&mut self, basis: Basis, span: Interval, change: fn(u64, u64) -> u64) {
        let rates = self.minutes.rates;
        self.minutes.change_past(span, |day, in_day| {
            let uncounted = ByteCount::saturating(rates.bytes_of_time(in_day.after(day.as_of).millis()));
            day.estimated =
                Some(ByteCount::new(change(day.estimated.unwrap_or_default().get(), uncounted.get())));
        });
        for minute in self.minutes.touched(span) {
            let millis = minute.interval().within(span).millis();
            self.minutes.amend(minute, |cell| {
                let usage = cell.usage(basis);
                usage.connection_millis = change(usage.connection_millis, millis);
            });
        }
    }

    /// Charges bytes over a past span. Those of an empty span count in the current minute.
    fn add_bytes(&mut self, basis: Basis, spread: Spread) {
        self.minutes.change_past(spread.over, |day, in_day| {
            let uncounted = spread.within(in_day.after(day.as_of));
            day.estimated = Some(day.estimated.unwrap_or_default().plus(uncounted));
        });
        // Without a grant only app servers and the broker itself report, so these bytes are vouched for.
        if basis == Basis::Ungranted {
            self.minutes.change_past(spread.over, |day, in_day| {
                day.vouched = day.vouched.plus(spread.within(in_day));
            });
        }
        self.spread(|row| &mut row.usage(basis).claimed, spread);
    }

    /// Adds bytes to one figure of the minutes in which they flowed. The part before this period is left out, and what rounding leaves
    /// goes to the current minute.
    fn spread(&mut self, figure: impl Fn(&mut MinuteRow) -> &mut u64, spread: Spread) {
        let mut placed = spread.before(self.minutes.period.start);
        for minute in self.minutes.touched(spread.over) {
            let bytes_by_its_end = spread.before(minute.end());
            self.minutes.raise(&figure, minute, bytes_by_its_end.minus(placed).get().into());
            placed = bytes_by_its_end.max(placed);
        }
        self.minutes.raise(figure, self.minutes.current(), spread.bytes.minus(placed).get().into());
    }

    /// Bytes and live grants of the minutes of this period that `span` touches. Where a reading covers a minute, nothing
    /// of what was claimed for it is left.
    pub fn slice(&self, span: Interval) -> Slice {
        let mut slice = Slice { used: ByteCount::ZERO, live: 0 };
        for minute in self.minutes.touched(span) {
            let cell = self.minutes.get(minute).unwrap_or_default();
            slice.used = slice.used.plus(ByteCount::saturating(self.minutes.best_of(minute, cell)));
            slice.live = slice.live.max(cell.live);
        }
        slice
    }

    /// Skips to `to`, a time after this period, while nothing is charged by time and no grant is alive: after a sleep of months, or when
    /// the clock was set.
    fn leap(&mut self, to: Timestamp) {
        // `begin` keeps the current row, as that of `to`. So `step` first makes it an empty one: the old bytes stay in the old period.
        self.minutes.step();
        self.begin(self.billing_day.period_at(to), to);
        self.now = to;
    }

    /// Begins another period at `now`.
    fn begin(&mut self, period: Period, now: Timestamp) {
        if let Some(raised) = self.state.raised.take() {
            self.rate_check.assume(raised.instead_of, Excess::default());
            self.minutes.rates.liability = raised.instead_of;
        }
        self.rate_check.begin_period();
        self.state.flowed = ByteCount::ZERO;
        self.state.proof.begin_period();
        self.minutes.begin(period, now);
    }

    /// Charges `millis` of the current minute to every connection that runs.
    fn run(&mut self, current: Minute, millis: u64) {
        for basis in [Basis::Granted, Basis::Ungranted] {
            let charged = millis.saturating_mul(*self.running.of(basis));
            if charged > 0 {
                self.minutes.amend(current, |cell| {
                    let usage = cell.usage(basis);
                    usage.connection_millis = usage.connection_millis.saturating_add(charged);
                });
            }
        }
    }
}

impl Running {
    fn of(&mut self, basis: Basis) -> &mut u64 {
        match basis {
            Basis::Granted => &mut self.granted,
            Basis::Ungranted => &mut self.ungranted,
        }
    }
}

// The terms of one owner of counts. Tests: `../ledger/src/open_tests.rs`.

/// Sessions count as cut for this long after a listing showed that they are.
const CUT_FOR: Duration = Duration::from_secs(30);

/// The terms of one owner of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTerms {
    /// Whose count it is.
    pub owner: CountOwner,
    /// How long an allocation may continue after its credential's expiry.
    pub tail: Duration,
    /// The tail while we cut sessions whose grant is over; `None` if we cannot cut this owner's sessions.
    pub cut_tail: Option<Duration>,
    /// What it alone may relay in a period, besides the limit of all together.
    pub limit: Option<ByteCount>,
    /// The margin of error of the provider's count, in percent.
    pub sampling: u32,
    /// Whether readings of this owner are taken.
    pub is_read: bool,
    /// What must show that a count without bytes is its own.
    pub proof: ProofRule,
    /// A digest of what a provider counts: the account, the billed directions, the app of the SFU. `None` if no provider counts.
    pub counted_in: Option<IdDigest>,
}

/// What must show that a count without bytes, of a time in which a credential was live, is this owner's. A provider that counts nothing, or
/// another account, answers zero too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofRule {
    /// Nothing: this broker itself counts, nothing is promised under this owner, or no count is taken.
    Unneeded,
    /// Nothing. A probe would show it, but the broker makes none.
    Missing,
    /// Bytes. No probe can be made.
    Bytes,
    /// Bytes, or the broker's own probe.
    Probe,
    /// Bytes. The TURN key has left the settings: no probe can be made, and nobody waits for its counts. What is promised stays.
    Retired,
}

impl ProofRule {
    /// Whether a count without bytes is believed only once something has shown that it is this owner's.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::Bytes | Self::Probe | Self::Retired)
    }
}

impl SourceTerms {
    /// The terms of an owner without settings, whose count nobody reads.
    pub fn of_unconfigured(owner: impl Into<CountOwner>) -> Self {
        let owner = owner.into();
        Self {
            owner,
            tail: owner.source.expiry_tail(),
            cut_tail: None,
            limit: None,
            sampling: 0,
            is_read: false,
            // No count is taken, so none needs a proof.
            proof: ProofRule::Unneeded,
            counted_in: None,
        }
    }

    /// The terms of an owner that has stored rows and has left the settings. A TURN key is still counted while its account is read.
    pub(crate) fn of_removed(owner: CountOwner, rows: &SourceRows, configured: &[Self]) -> Self {
        let counted_in = rows.state.as_ref().and_then(|state| state.counted_in);
        let is_of_account = |terms: &&Self| {
            terms.owner.source == owner.source && counted_in.is_some() && terms.counted_in == counted_in
        };
        let account = configured.iter().find(is_of_account).filter(|_| owner.issuer.is_some());
        match account {
            Some(terms) => Self { owner, proof: ProofRule::Retired, ..*terms },
            None => Self::of_unconfigured(owner),
        }
    }
}

#[cfg(test)]
mod tests;

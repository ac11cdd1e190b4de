//! What must be so once a disturbance is over, by the rules of docs/BUDGET.md: then the bound is said to hold again. And what no evidence may
//! do: outlast its period, or say more than was relayed.

use super::prelude::*;

/// The longest life and tail of a credential, in milliseconds.
const LONGEST: u64 = (2 * 86_400 + 20_000) * 1_000;
/// Bytes of a chain and of its grants are rounded up, in each count.
const ROUNDING: u64 = 1_000_000;
/// Before a clock in an earlier period is a reason, in milliseconds.
const CLOCK_TOLERATED: u64 = 10_000;

/// See [`Broker::note_disturbance`].
#[derive(Debug, Default)]
pub(super) struct Disturbed {
    /// By then all that disturbed is over.
    until: Timestamp,
    /// When the counts were read last.
    read_at: Timestamp,
    /// Whether something else than a higher assumed rate has disturbed.
    is_other: bool,
    /// Until when a restored copy lacks what a source relayed that nobody counts again.
    lacks_until: Timestamp,
}

/// A report that covers a time before the reset and after it: what was used before, and what it can add.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    used: u64,
    most: u64,
}

impl<D: Disk> Broker<D> {
    /// Applies an operation. The provider answers questions of the operations before it afterwards, or before it counts anew.
    pub(crate) fn apply_with_answers(&mut self, op: Op, world: &mut World) {
        self.due_answers = std::mem::take(&mut self.questions);
        if matches!(op, Op::Read { .. }) {
            let due = std::mem::take(&mut self.due_answers);
            self.answer(due, world);
        }
        let period = self.books.budget().period;
        self.apply(op, world);
        let due = std::mem::take(&mut self.due_answers);
        let is_silent = op.is_silent() && due.is_empty();
        self.answer(due, world);
        if let Some(longer) = op.disturbs() {
            self.note_disturbance(world, longer);
            self.disturbed.is_other |= !matches!(op, Op::Change(Change::Mbps(_)));
        }
        if matches!(op, Op::Read { .. }) {
            self.disturbed.read_at = self.present(world);
        }
        if is_silent && self.books.budget().period.start != period.start {
            self.expect_no_evidence();
        }
        self.expect_evidence(world);
    }

    /// Something has disturbed. It is over with the period in which the last credential of now can end, or a reset after `longer` milliseconds
    /// more.
    pub(super) fn note_disturbance(&mut self, world: &World, longer: u64) {
        let ended = self.present(world).plus_millis(self.step + LONGEST + longer);
        let until = self.settings.billing_day().period_at(ended).end;
        self.disturbed.until = self.disturbed.until.max(until);
    }

    /// Whether all that disturbed is over, nothing disturbs now, and counts were read since.
    pub(super) fn is_settled(&self, world: &World) -> bool {
        let Disturbed { until, read_at, .. } = self.disturbed;
        let is_time_right = self.step == 0 && !self.lags && !self.is_clock_in_earlier_period(world);
        let settings = &self.settings;
        let may_exceed = settings.is_fast || settings.relays_with_both || world.lateness > 0;
        let is_counted = !settings.leaves_out() && !settings.cli;
        let has_reporter = self.books.connections().iter().any(|it| it.name.grant().is_none());
        self.present(world) > until
            && read_at > until
            && is_time_right
            && is_counted
            && !may_exceed
            && !has_reporter
            && self.has_room()
    }

    /// Whether the wall clock is in an earlier period than the books.
    fn is_clock_in_earlier_period(&self, world: &World) -> bool {
        let (wall, start) = (self.wall(world), self.books.budget().period.start);
        wall < start && self.books.now().millis_since(wall) > CLOCK_TOLERATED
    }

    /// A copy was restored. What a source relayed since the copy, and nobody counts again, is missing until the period ends in which
    /// a credential of the longest life does.
    pub(super) fn note_lack(&mut self, world: &World) {
        let is_counted = |source: &IceSource| source.is_counted_by_provider();
        if !self.settings.sources.iter().all(is_counted) {
            let end = self.settings.billing_day().period_at(self.present(world).plus_millis(2 * DAY)).end;
            self.disturbed.lacks_until = self.disturbed.lacks_until.max(end);
        }
    }

    /// Why the bound must be said not to hold now, if it must.
    pub(super) fn must_not_hold(&self, world: &World) -> Option<&'static str> {
        if self.lags || self.step > 0 {
            return None;
        }
        let lacks = self.present(world) < self.disturbed.lacks_until;
        let is_earlier = self.is_clock_in_earlier_period(world);
        lacks
            .then_some("a restored copy lacks what nobody counts again")
            .or(is_earlier.then_some("the clock is in an earlier period"))
    }

    /// A period has begun, and nothing was counted in it yet.
    fn expect_no_evidence(&mut self) {
        let Snapshot { unknown_bytes, measured, .. } = self.books.snapshot();
        // What is counted here is counted at once.
        let is_watched = self.settings.sources != ONE || !self.pages.is_empty() || self.has_vouched;
        let is_none = unknown_bytes.get() == 0 && measured.excess.bytes.get() == 0;
        self.expect(is_none || is_watched, || {
            format!("a period begins with {unknown_bytes:?} unknown and {:?}", measured.excess)
        });
    }

    /// What exceeds the assumed rate was relayed in this period by those who relay faster.
    fn expect_evidence(&mut self, world: &World) {
        let is_known = self.settings.counts_by_grant()
            && self.settings.sources == ONE
            && !self.disturbed.is_other
            && !self.settings.relays_with_both
            && self.offset == 0
            && self.boot == 1;
        let excess = self.books.snapshot().measured.excess.bytes.get();
        if !is_known || excess == 0 {
            return;
        }
        let period = self.books.budget().period;
        let [start, end] = [period.start, period.end].map(|at| self.shown(SOURCE, at));
        let assumed = self.settings.assumed(SOURCE).rate;
        let fast = world.rates.iter().filter(|(_, rate)| **rate > assumed);
        let relayed: u64 = fast.map(|(id, _)| world.bytes_of_grant(*id, start, world.now.min(end))).sum();
        let most = relayed + self.probed.get() + ROUNDING;
        self.expect(excess <= most, || {
            format!("{excess} bytes are above what was assumed, and {relayed} were relayed by those who are faster")
        });
    }

    /// The provider has counted a chain alone. If that raises the promise of its first grant, it raises those of all its renewals.
    pub(super) fn judge_whole_chain(&mut self, suspect: &Suspect, by_grant: &BTreeMap<GrantId, Traffic>) {
        let Some(first) = suspect.grants.first().copied() else { return };
        let before = self.rate_promised(first);
        for seconds in [60, 0] {
            self.books.judge(SOURCE, suspect, by_grant, self.books.now().minus(Duration::from_secs(seconds)));
        }
        let raised = self.rate_promised(first);
        if raised <= before {
            return;
        }
        let of_source = |id: &GrantId| self.books.grants().get(*id).is_some_and(|row| row.source == SOURCE);
        let chain = self.books.grants().with_renewals(first).take_while(of_source);
        let lower = chain.map(|id| (id, self.rate_promised(id))).find(|(_, promised)| *promised < raised);
        self.expect(lower.is_none(), || {
            format!("{lower:?} is promised to a renewal in a minute, and {raised:?} to its chain")
        });
    }

    pub(super) fn rate_promised(&self, id: GrantId) -> Option<u64> {
        self.books.grants().get(id)?.promised.map(|time| time.per_minute)
    }

    /// A connection reports bytes for the first time, and its last report was before the reset: the part since the reset is of this period.
    pub(super) fn begun_before_reset(&self, caller: Caller, id: &str, report: Report) -> Option<Begun> {
        let (now, start) = (self.books.now(), self.books.budget().period.start);
        let grant = caller.grant().map(|grant| grant.id);
        let mut of_id = self.books.connections().iter().filter(|it| it.name.id() == id);
        let row = of_id.find(|it| it.name.grant() == grant)?;
        let is_first = row.bytes_received == 0 && row.bytes_sent == 0 && row.last_seen < start;
        let both = if self.settings.bills_both { report.bytes_sent.unwrap_or(0) } else { 0 };
        let bytes = u128::from(report.bytes_received?.saturating_add(both));
        let (since, all) = (now.millis_since(start), now.millis_since(row.last_seen).max(1));
        let part = u64::try_from(bytes * u128::from(since) / u128::from(all)).unwrap_or(u64::MAX);
        is_first.then(|| Begun {
            used: self.books.snapshot().figures.used.get(),
            most: part.saturating_add(1_000),
        })
    }

    pub(super) fn expect_part_of(&mut self, begun: Option<Begun>) {
        let Some(Begun { used, most }) = begun else { return };
        let after = self.books.snapshot().figures.used.get();
        self.expect(after <= used.saturating_add(most), || {
            format!("a report over the reset adds {} to this period, not {most}", after - used)
        });
    }
}

//! Counts by grant in this period: what a source has counted for each grant and under unknown identifiers, and until when.
//! Tests: `src/books/spending/tests/counts.rs`.
//! A source's final counts are taken once, in the order of time. In strict mode with a limit of users or server keys, time that nobody
//! counted is charged to the user and server key at the promised rate.

use std::collections::btree_map::Entry;
use std::ops::Bound;

use super::{EndedPlace, GrantRow, Grants};
use crate::prelude::*;
use crate::spending::Spent;

/// A final count that waits for a second answer. It is not stored: after a start the source is asked twice again.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstAnswer {
    span: [Timestamp; 2],
    at: Timestamp,
    total: ByteCount,
}

impl Grants {
    /// Until when the grants of a [group](CountOwner::group) are counted for good; at least the start of this period.
    pub fn counted_until(&self, group: impl Into<CountOwner>) -> Timestamp {
        let until = self.counted.get(&group.into()).map_or(Timestamp::default(), |counted| counted.until);
        until.max(self.period.start)
    }

    /// Bytes of this period that sources counted under identifiers that are not those of a grant in the table.
    pub fn unknown_bytes(&self) -> ByteCount {
        self.counted.values().map(|counted| counted.unknown.measured).fold(ByteCount::ZERO, ByteCount::plus)
    }

    /// Takes what a source counted for its grants since [`Self::counted_until`]. If the span of `counts` begins later, nobody counted the
    /// time before the span. In the span, nobody counted the grants of the owners in `uncounted`.
    /// Refuses a span that begins earlier, a count that is not final while a final one is taken in part, and a final count that no earlier
    /// answer [agrees](Self::is_agreed) with. The next count replaces one that is not final. Of many counts, one call takes the next part.
    pub(crate) fn take_counts(
        &mut self,
        source: IceSource,
        counts: &GrantCounts,
        billed: BilledDirections,
        uncounted: &[CountOwner],
    ) -> CountsTaken {
        let counted_until = self.counted_until(source);
        let taking = self.counted.get(&source.into()).and_then(|counted| counted.taking);
        let waits = !counts.is_final && taking.is_some_and(|taking| taking.is_final);
        if waits || counts.from < counted_until || counts.until < counts.from {
            return CountsTaken::Refused;
        }
        let is_begun = taking.is_some_and(|taking| taking.is_of(counts));
        if counts.is_final && !is_begun && !self.is_agreed(source, counts, billed) {
            return CountsTaken::Refused;
        }
        let Some(unknown) = self.take_part(source, counts, billed, uncounted) else {
            return CountsTaken::InPart;
        };
        if counts.is_final && counts.from > counted_until {
            // Nobody counted the time before the span.
            self.assume(source, counted_until, counts.from, |_, _| None);
        }
        if counts.is_final && !(counts.is_complete && uncounted.is_empty()) {
            self.assume(source, counts.from, counts.until, |id, owner| {
                // Nothing is missing of a grant that was counted: `u128::MAX` is more than any promise.
                let is_counted = counts.is_complete && !uncounted.contains(&owner);
                (is_counted || counts.by_grant.contains_key(&id)).then_some(u128::MAX)
            });
        }
        let from = counts.from.max(self.counted.entry(source.into()).or_default().seen_until);
        self.count_unknown(source, unknown, counts.is_final, [from, counts.until]);
        let counted = self.counted.entry(source.into()).or_default();
        counted.taking = None;
        if counts.is_complete {
            counted.seen_until = counted.seen_until.max(counts.until);
        }
        if counts.is_final {
            counted.until = counts.until;
        }
        CountsTaken::Whole
    }

    /// Whether an earlier answer about the same span has the same bytes within the margin, and was given at least [`APART`] before. A final
    /// count is never corrected: a wrong one would use up the limit of a user or server key until the reset.
    fn is_agreed(&mut self, source: IceSource, counts: &GrantCounts, billed: BilledDirections) -> bool {
        let by_grant = counts.by_grant.values().copied().fold(counts.other, Traffic::plus);
        let now =
            FirstAnswer { span: [counts.from, counts.until], at: counts.at, total: by_grant.billed(billed) };
        let sampling = self.terms.sampling(source);
        let agrees = |first: &FirstAnswer| {
            let (least, most) = (first.total.min(now.total), first.total.max(now.total));
            first.span == now.span && at_most(least.get().into(), sampling) >= most.get().into()
        };
        let first = self.answered_first.filter(agrees).unwrap_or(now);
        self.answered_first = Some(first);
        now.at.since(first.at) >= APART
    }

    /// Takes the counts of the next `rows_at_once` grants in the order of their ids, and drops the claims of these grants for the counted
    /// time. A complete count covers also grants that it does not name, except those of the owners in `uncounted`: it replaces their claims
    /// and earlier counts. Returns `None` if there may be more grants, and after the last one the bytes under unknown identifiers.
    fn take_part(
        &mut self,
        source: IceSource,
        counts: &GrantCounts,
        billed: BilledDirections,
        uncounted: &[CountOwner],
    ) -> Option<ByteCount> {
        let CountedSource { seen_until, taking, .. } =
            self.counted.get(&source.into()).copied().unwrap_or_default();
        let most = self.terms.bounds.rows_at_once;
        let anew = Taking { unknown: counts.other.billed(billed), ..Taking::of(counts) };
        let mut taking = taking.filter(|taking| taking.is_of(counts)).unwrap_or(anew);
        let after = taking.last.map_or(Bound::Unbounded, Bound::Excluded);
        let has_counted_owner = |id| self.any(id).is_none_or(|row| !uncounted.contains(&row.owner()));
        let is_counted =
            |id: &GrantId| counts.is_complete && has_counted_owner(*id) || counts.by_grant.contains_key(id);
        let unsettled = self.unsettled_after(source, taking.last).filter(is_counted).take(most);
        let ids = counts.by_grant.range((after, Bound::Unbounded)).take(most).map(|(id, _)| *id);
        // Each of the two lists has its first `most` ids, so the first `most` of both together are the next ones of all.
        let ids: BTreeSet<_> = ids.chain(unsettled).collect();
        let is_last = ids.len() < most;
        let ids: Vec<_> = ids.into_iter().take(most).collect();
        // A complete count that does not name a grant has nothing of it.
        let bytes_of = |id| counts.by_grant.get(id).map_or(ByteCount::ZERO, |bytes| bytes.billed(billed));
        let by_grant = ids.iter().map(|id| (*id, bytes_of(id)));
        let (is_final, until) = (counts.is_final, counts.until);
        let unknown = self.count_grants(source, by_grant, is_final, [seen_until.max(counts.from), until]);
        taking.unknown = taking.unknown.plus(unknown);
        for id in &ids {
            self.drop_claim(source, *id, seen_until, until);
        }
        taking.last = ids.last().copied().or(taking.last);
        self.counted.entry(source.into()).or_default().taking = Some(taking);
        is_last.then_some(taking.unknown)
    }

    /// The most of `relayed` that can be of this period, if a grant relayed it in `[from, until)`. That time may begin long before the
    /// period, because a relay is not counted while the clock is in doubt. Then the most is what is promised for the grant since the
    /// reset. Without a promise, the most is all of `relayed`.
    pub(crate) fn of_this_period(
        &self,
        id: GrantId,
        relayed: ByteCount,
        from: Timestamp,
        until: Timestamp,
    ) -> ByteCount {
        let promising = self.any(id).filter(|row| row.promised.is_some() && from < self.period.start);
        let [reset, until] = [Minute::of(self.period.start), Minute::from_end(until)];
        promising.map_or(relayed, |row| relayed.min(row.promised_between(reset, until)))
    }

    /// Takes what the broker itself has counted for the grants of a group since the last call. Everything before `until` is counted for
    /// good, so the claims for that time are dropped. `until`: now, and for coturn the time at which the listing was asked for.
    pub(crate) fn add_counts(
        &mut self,
        group: impl Into<CountOwner>,
        added: &BTreeMap<GrantId, ByteCount>,
        until: Timestamp,
    ) {
        let group = group.into();
        let source = group.source;
        let by_grant = added.iter().map(|(id, bytes)| (*id, *bytes));
        let from = self.seen_until(group);
        let unknown = self.count_grants(source, by_grant, true, [from, until]);
        self.count_unknown(group, unknown, true, [from, until]);
        let is_of_group = |id: &GrantId| self.any(*id).is_some_and(|row| row.owner().group() == group);
        for id in self.unsettled_after(source, None).filter(is_of_group).collect::<Vec<_>>() {
            self.drop_claim(source, id, from, until);
        }
        let counted = self.counted.entry(group).or_default();
        (counted.until, counted.seen_until) = (counted.until.max(until), counted.seen_until.max(until));
    }

    /// The grants of a source whose bytes the next count can replace, in the order of their ids, after `last`.
    fn unsettled_after(&self, source: IceSource, last: Option<GrantId>) -> impl Iterator<Item = GrantId> {
        let begin = last.map_or(Bound::Included(GrantId::new([0; 16])), Bound::Excluded);
        let of_source =
            (begin.map(|id| (source, id)), Bound::Included((source, GrantId::new([u8::MAX; 16]))));
        self.indexes.unsettled.range(of_source).map(|(_, id)| *id)
    }

    /// The source has counted a grant in `[from, until)`, so the claims for that time are dropped.
    fn drop_claim(&mut self, source: IceSource, id: GrantId, from: Timestamp, until: Timestamp) {
        if !self.indexes.unsettled.contains(&(source, id)) {
            return;
        }
        let issued_at = self.any(id).map_or(from, |row| row.issued_at);
        let mut seen_at = until;
        self.change_spent(id, |spent| {
            seen_at = spent.seen_at;
            spent.drop_claims(from.max(issued_at), until);
        });
        self.recent.drop_claims(id, until, seen_at);
    }

    /// Nobody counted a group's grants in `[from, until)`, apart from the bytes that `counted` returns for a grant; `None`: no bytes. In
    /// strict mode the limits of users and server keys are charged what was promised beyond these bytes.
    pub(crate) fn assume(
        &mut self,
        group: impl Into<CountOwner>,
        from: Timestamp,
        until: Timestamp,
        counted: impl Fn(GrantId, CountOwner) -> Option<u128>,
    ) {
        let (group, mut walk) = (group.into(), Walk::default());
        let mut is_over = !self.terms.counts_promises();
        while !is_over {
            let ids;
            (ids, is_over) = self.next_promised(group, &mut walk);
            for id in ids {
                self.assume_of(id, from, until, |owner| counted(id, owner));
            }
        }
    }

    /// The same for one grant.
    pub(crate) fn assume_of(
        &mut self,
        id: GrantId,
        from: Timestamp,
        until: Timestamp,
        counted: impl Fn(CountOwner) -> Option<u128>,
    ) {
        let Some(row) = self.any(id).filter(|row| !self.is_past(row)) else { return };
        let (from, until) = (Minute::of(from.max(self.period.start)), Minute::from_end(until));
        let promised = u128::from(row.promised_between(from, until).get());
        let bytes = ByteCount::saturating(promised.saturating_sub(counted(row.owner()).unwrap_or(0)));
        if bytes > ByteCount::ZERO {
            self.change_spent(id, |spent| spent.assumed = spent.assumed.plus(bytes));
        }
    }

    /// Restores the stored counts, and finds the suspected chains again. A group without a stored state is counted from `now` on, and
    /// nobody counted the time before. `relayed_until`: the latest instant at which the relay in the last process may have relayed, if that
    /// process crashed.
    pub(crate) fn restore_counts(
        &mut self,
        counted: CountedSources,
        groups: impl Iterator<Item = CountOwner>,
        now: Timestamp,
        relayed_until: Option<Timestamp>,
    ) {
        self.counted = counted;
        for group in groups.collect::<BTreeSet<_>>() {
            // The clock of the provider may be behind.
            let begin = Minute::of(now.minus(group.source.clocks_differ_by())).start();
            if let Entry::Vacant(vacant) = self.counted.entry(group) {
                vacant.insert(CountedSource { until: begin, ..CountedSource::default() });
                self.assume(group, Timestamp::default(), begin, |_, _| None);
            } else if let Some(until) = relayed_until
                && group.source.facts().charged == Charged::Here
            {
                // What the relay counted after its counts were last written is lost. What was promised for that time takes the place of
                // claims.
                self.assume(group, self.counted_until(group), until, |_, _| None);
                self.add_counts(group, &BTreeMap::new(), now);
            }
        }
        self.suspect_again();
    }

    /// Takes counts by grant, each from the last final count until `at`. What a count adds to the last one of its grant was relayed in
    /// `[from, at)`. Notes suspected chains. Returns the bytes under identifiers that are not those of a grant of this
    /// source.
    fn count_grants(
        &mut self,
        source: IceSource,
        by_grant: impl Iterator<Item = (GrantId, ByteCount)>,
        is_final: bool,
        [from, at]: [Timestamp; 2],
    ) -> ByteCount {
        let sampling = self.terms.sampling(source);
        let mut unknown = ByteCount::ZERO;
        for (id, bytes) in by_grant {
            let Some(row) = self.any_of(source, id) else {
                unknown = unknown.plus(bytes);
                continue;
            };
            let (before, from) = (self.spent_of(row), from.max(row.issued_at));
            self.change_spent(id, |spent| spent.count(bytes, is_final, sampling, at));
            let after = self.any(id).map(GrantRow::spent).unwrap_or_default();
            if after != before {
                self.recent.count(id, after.measured.minus(before.measured), from, at);
                self.suspect(id, source, at);
            }
        }
        unknown
    }

    /// Takes a count of bytes under identifiers that the ledger does not know. What this count adds to the last one was relayed in
    /// `[from, at)`.
    fn count_unknown(
        &mut self,
        group: impl Into<CountOwner>,
        unknown: ByteCount,
        is_final: bool,
        [from, at]: [Timestamp; 2],
    ) {
        let group = group.into();
        let sampling = self.terms.sampling(group.source);
        let of_group = &mut self.counted.entry(group).or_default().unknown;
        let before = of_group.measured;
        of_group.count(unknown, is_final, sampling, at);
        self.recent.count_unknown(of_group.measured.minus(before), from, at);
    }
}

/// The state of the counts by grant of each [group](CountOwner::group).
pub type CountedSources = BTreeMap<CountOwner, CountedSource>;

/// The state of one group's counts by grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedSource {
    /// Everything before this instant is counted for good.
    pub until: Timestamp,
    /// Everything before this instant is counted, but perhaps not for good. Claims count only for the time from this instant on.
    pub(crate) seen_until: Timestamp,
    /// Bytes of this period under identifiers that the ledger does not know.
    pub(super) unknown: Spent,
    /// How far a count is taken that has been taken in part; `None` without such a count.
    pub(super) taking: Option<Taking>,
    /// The excess, in this period, of chains of renewals that have left the table.
    pub(super) excess_of_left: Excess,
    /// The tails of all ended grants up to this place were looked at; `None` for none.
    pub(super) looked_at: Option<EndedPlace>,
}

/// How far a count by grant is taken. This is stored in one write with the parts that were taken, so that no part counts twice after a
/// crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taking {
    /// The span of the count.
    pub(super) span: (Timestamp, Timestamp),
    /// Whether it is final.
    pub(super) is_final: bool,
    /// The last grant that was taken; `None` for none.
    pub(super) last: Option<GrantId>,
    /// Bytes so far under identifiers that the ledger does not know.
    pub(super) unknown: ByteCount,
}

impl Taking {
    /// A count of which nothing is taken yet.
    pub(super) fn of(counts: &GrantCounts) -> Self {
        let span = (counts.from, counts.until);
        Self { span, is_final: counts.is_final, last: None, unknown: ByteCount::ZERO }
    }

    /// Whether `counts` is the count that is being taken.
    pub(super) fn is_of(&self, counts: &GrantCounts) -> bool {
        let Self { span, is_final, .. } = Self::of(counts);
        (self.span, self.is_final) == (span, is_final)
    }
}

//! Which grant renewed which, and what counts and app servers show of a chain of renewals above its promise.
//! Tests: `src/books/spending/tests/chains.rs`.
//! The promises of a chain are those of one client, of which one credential relays at a time. The sum over all grants of a source hides one
//! chain that relays more beside idle ones. Its promises are raised to the rate that is shown, and no others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::time::Duration;

use super::Grants;
use super::row::{GrantRow, GrantState};
use crate::allowance::RELAY_RATE_MAX;
use crate::effects::Effect;
use crate::promise::PromisedTime;
use crate::source::IceSource;
use crate::source::facts::{CountsOfGrants, GrantsAre};
use crate::token::GrantId;
use crate::trial::{Excess, Excesses};
use crate::units::slot::Minute;
use crate::units::{BitRate, ByteCount, Timestamp};

/// The most grants of a chain that are looked at, from one that was counted. Earlier ones have ended.
const MEMBERS_MAX: usize = 500;
/// The most chains that wait to be asked for, and the most of which it is remembered how much they exceed.
pub(super) const CHAINS_MAX: usize = 1_000;
/// Nearly all chains are asked for within this time after their last count.
const JUDGED_WITHIN: Duration = Duration::from_secs(3_600);
/// Promises are raised to the average of at least so many minutes. A file that is sent within one of them would reserve hundreds of GB.
const RAISED_OVER: u64 = 60;
/// A limit is near when so much of it is used, in percent. Beside others, sampling may show less.
const NEAR_PERCENT: u32 = 80;
/// A provider whose clock is two minutes behind counts so many minutes more.
const EDGES: u64 = 2;

/// Chains of renewals, by the first grant that was looked at.
#[derive(Debug, Default)]
pub(super) struct Chains {
    /// Those that are to be asked for alone.
    suspects: BTreeMap<(IceSource, GrantId), Waiting>,
    /// The grants of those that have relayed more than one may since somebody looked, and how much.
    pub(super) over_limit: Vec<(Vec<GrantId>, ByteCount)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// The end of the count.
    until: Timestamp,
    /// What was counted of it, if it is near a limit.
    near_limit: Option<ByteCount>,
}

/// A chain of renewals of which more was counted than promised, or that is near a limit. Counts of many grants are sampled, so its grants are
/// asked for alone before they are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its grants in this period, in the order of their renewals.
    pub grants: Vec<GrantId>,
    /// When its first one was issued, by a clock that may be behind, or when the period began.
    pub from: Timestamp,
    /// The end of the count.
    pub until: Timestamp,
}

/// What a chain shows above the assumed rate.
struct Shown {
    excess: Excess,
    /// What its promises are raised to, in bytes a minute.
    per_minute: u64,
}

impl Chains {
    /// A grant leaves the table.
    pub(super) fn forget(&mut self, source: IceSource, id: GrantId) {
        self.suspects.remove(&(source, id));
    }

    /// Counts of another period say nothing about these.
    pub(super) fn begin_period(&mut self) {
        self.suspects.clear();
    }
}

impl Grants {
    /// The grants of the chain of this one at its source, as far as they are looked at.
    pub(super) fn chain_of(&self, id: GrantId, source: IceSource) -> Vec<GrantId> {
        self.chain_from(self.before(id, source).last().unwrap_or(id), source)
    }

    /// The same from the first one that is looked at.
    fn chain_from(&self, first: GrantId, source: IceSource) -> Vec<GrantId> {
        let of_source = self.with_renewals(first).take_while(|id| self.any_of(source, *id).is_some());
        of_source.take(MEMBERS_MAX).collect()
    }

    /// A grant, the one that it renews, and so on, as far as they are looked at.
    fn before(&self, id: GrantId, source: IceSource) -> impl Iterator<Item = GrantId> {
        let is_of_it = move |id: &GrantId| self.any_of(source, *id).is_some();
        let before = move |id: &GrantId| self.indexes.renewed.get(id).copied().filter(is_of_it);
        iter::successors(Some(id), before).take(MEMBERS_MAX)
    }

    /// A grant was counted until an instant: notes its chain if that is more than is promised, or near a limit.
    pub(super) fn suspect(&mut self, id: GrantId, source: IceSource, until: Timestamp) {
        // Late counts test only the limit of a credential.
        let is_judged = match source.facts().counts_of_grants {
            CountsOfGrants::Unknown => false,
            CountsOfGrants::Late => self.has_grant_limit(),
            CountsOfGrants::Exact => true,
        };
        if !is_judged {
            return;
        }
        let grants = self.chain_of(id, source);
        let counted = self.counted_of(&grants);
        let Some(first) = grants.first().copied() else { return };
        let is_near = source.is_counted_by_provider() && self.is_near_limit(&grants, counted);
        let is_above = self.is_over_limit(&grants, counted)
            || self.counted_excess(&grants, source, counted, until).is_some();
        // Those that are only near a limit leave room for the others.
        let most = if is_above { CHAINS_MAX } else { CHAINS_MAX / 2 };
        if (is_above || is_near) && self.chains.suspects.len() < most {
            let waiting = self.chains.suspects.entry((source, first)).or_default();
            waiting.until = until.max(waiting.until);
            waiting.near_limit = is_near.then_some(counted);
        }
    }

    /// Whether so much was counted of a chain, or of its user or server key, that their limit is near.
    fn is_near_limit(&self, grants: &[GrantId], counted: ByteCount) -> bool {
        let is_near =
            |used: ByteCount, limit: ByteCount| u128::from(used.get()) > limit.share_up(NEAR_PERCENT);
        let spender = grants.last().and_then(|id| self.any(*id)?.spender.as_deref());
        let mut of_limited =
            self.with_limit(spender).filter_map(|of| Some((self.used(&of), self.limit_of(&of)?)));
        self.grant_limit().is_some_and(|limit| is_near(counted, limit))
            || of_limited.any(|(used, limit)| is_near(used, limit))
    }

    /// Finds the suspected chains again after a restart. A chain that is over gets no further count that would show it.
    pub(super) fn suspect_again(&mut self) {
        let counted_lately = |(id, row): (&GrantId, &GrantRow)| {
            let (spent, source) = (self.spent_of(row), row.source);
            let is_late = spent.seen_at().plus(JUDGED_WITHIN) >= self.counted_until(row.owner().group());
            (spent.measured() > ByteCount::ZERO && is_late).then_some((*id, source))
        };
        let counted: Vec<_> = self.iter().filter_map(counted_lately).collect();
        self.note_vouched_over_limit();
        for (id, source) in counted {
            let seen_at = |id: &GrantId| Some(self.spent_of(self.any(*id)?).seen_at());
            let until = self.chain_of(id, source).iter().filter_map(seen_at).max();
            self.suspect(id, source, until.unwrap_or_default());
        }
    }

    /// A limit of a credential that is new, or lower than before, holds for what app servers have said already.
    fn note_vouched_over_limit(&mut self) {
        if !self.has_grant_limit() {
            return;
        }
        let vouched = self.iter().filter(|(_, row)| self.spent_of(row).vouched > ByteCount::ZERO);
        let chains: BTreeSet<_> = vouched.map(|(id, row)| self.chain_of(*id, row.source)).collect();
        for chain in chains {
            self.note_over_limit(&chain, self.vouched_of(&chain));
        }
    }

    /// What was counted for these grants in this period.
    pub(crate) fn counted_of(&self, grants: &[GrantId]) -> ByteCount {
        let rows = grants.iter().filter_map(|id| self.any(*id));
        rows.map(|row| self.spent_of(row).measured()).fold(ByteCount::ZERO, ByteCount::plus)
    }

    /// Chains of a source that are to be asked for alone, at most `most`: in turn one that is near a limit and one of which more was counted
    /// than promised, so neither waits for the other. Of those near a limit, first those of which most was counted; of the others, first
    /// those that were not judged before.
    pub fn suspects(&self, source: IceSource, most: usize) -> Vec<Suspect> {
        let of_source = self.chains.suspects.iter().filter(|((of, _), _)| *of == source);
        let (mut near, mut fast): (Vec<_>, Vec<_>) = of_source
            .map(|((_, first), waiting)| (*first, *waiting))
            .partition(|(_, waiting)| waiting.near_limit.is_some());
        near.sort_by_key(|(_, waiting)| Reverse(waiting.near_limit));
        fast.sort_by_key(|(first, _)| self.indexes.judged.contains(&(source, *first)));
        let mut in_turn: Vec<_> = near.into_iter().enumerate().chain(fast.into_iter().enumerate()).collect();
        in_turn.sort_by_key(|(turn, _)| *turn);
        let of_chain = |(_, (first, Waiting { until, .. })): (usize, (GrantId, Waiting))| {
            // The clock of its provider may be behind.
            let issued_at = self.any(first)?.issued_at.minus(source.clocks_differ_by());
            let from = issued_at.max(self.period.start);
            Some(Suspect { grants: self.chain_from(first, source), from, until })
        };
        in_turn.into_iter().take(most).filter_map(of_chain).collect()
    }

    /// So many bytes of each grant of a chain were counted when it was asked for alone: what exceeds the assumed rate raises its promises.
    pub(crate) fn judge(
        &mut self,
        source: IceSource,
        suspect: &Suspect,
        by_grant: &BTreeMap<GrantId, ByteCount>,
    ) {
        let Some(first) = suspect.grants.first().copied() else { return };
        if self.chains.suspects.remove(&(source, first)).is_none() {
            return;
        }
        for (id, bytes) in by_grant {
            self.change_spent(*id, |spent| spent.count_alone(*bytes, suspect.until));
        }
        let counted = by_grant.values().copied().fold(ByteCount::ZERO, ByteCount::plus);
        self.note_over_limit(&suspect.grants, counted);
        if let Some(shown) = self.counted_excess(&suspect.grants, source, counted, suspect.until) {
            // It may have been renewed since it was asked for.
            self.raise(source, &self.chain_from(first, source), &shown);
        }
    }

    /// An app server has reported bytes for a chain: what exceeds the assumed rate raises its promises. `after_tail`: bytes of this report
    /// that came after the tail. A session of the SFU is promised by its tracks, not at the assumed rate.
    pub(super) fn judge_vouched(
        &mut self,
        source: IceSource,
        grants: &[GrantId],
        after_tail: ByteCount,
        now: Timestamp,
    ) {
        if source.facts().grants == GrantsAre::Sessions {
            return;
        }
        if let Some(shown) = self.excess(grants, source, self.vouched_of(grants), 0, now) {
            self.raise(source, grants, &shown);
        }
        // Where tails are read, the provider's count shows these bytes.
        if after_tail > ByteCount::ZERO && !self.are_tails_read(source) {
            let expiries = grants.iter().filter_map(|id| Some(self.any(*id)?.expires_at));
            let tail = now.since(expiries.max().unwrap_or(now));
            let after_tails = Excess { bytes: after_tail, tail, ..Excess::default() };
            self.effects.note(Effect::Excess(source, Excesses { after_tails, ..Excesses::default() }));
        }
    }

    /// Raises the promises of a chain to the rate that was seen, and records by how much all chains of the source exceed the assumed rate.
    fn raise(&mut self, source: IceSource, grants: &[GrantId], shown: &Shown) {
        if let Some(first) = grants.first().copied() {
            // Of a long chain, another grant was the first one that was looked at before.
            let of_chain = self.before(first, source).chain(grants.iter().copied());
            for other in of_chain.filter(|other| *other != first).collect::<Vec<_>>() {
                self.move_excess(source, other, first);
            }
            if self.indexes.judged.len() < CHAINS_MAX || self.indexes.judged.contains(&(source, first)) {
                self.note_excess(first, shown.excess);
            }
        }
        let per_minute = shown.per_minute;
        let raise = |row: &mut GrantRow| {
            let raised = |time: PromisedTime| time.per_minute.max(per_minute);
            row.promised = row.promised.map(|time| PromisedTime { per_minute: raised(time), ..time });
        };
        for id in grants {
            let promised = self.any(*id).and_then(|row| row.promised);
            if promised.is_some_and(|time| time.per_minute < per_minute) {
                self.edit(*id, raise);
            }
        }
        let of_chains = self.excess_of_chains(source);
        self.effects.note(Effect::Excess(source, Excesses { of_chains, ..Excesses::default() }));
    }

    /// What the chains of a source exceed the assumed rate by.
    pub(crate) fn excess_of_chains(&self, source: IceSource) -> Excess {
        // One that was seen when less was assumed may be within the present rate.
        let is_above = |excess: &Excess| excess.rate.per_minute() > self.per_minute(source);
        self.excesses(source).filter(is_above).fold(Excess::default(), Excess::plus)
    }

    /// The lowest rate above which the chains of a source have relayed no more than `spared`; zero if that is so already. The fastest ones
    /// are short bursts: each has raised its own promise.
    pub(crate) fn rate_shown(&self, source: IceSource, spared: ByteCount) -> BitRate {
        let mut excesses: Vec<_> = self.excesses(source).collect();
        excesses.sort_by_key(|excess| std::cmp::Reverse(excess.rate));
        let mut faster = ByteCount::ZERO;
        let is_above_spared = |excess: &&Excess| {
            faster = faster.plus(excess.bytes);
            faster > spared
        };
        excesses.iter().find(is_above_spared).map(|excess| excess.rate).unwrap_or_default()
    }

    fn excesses(&self, source: IceSource) -> impl Iterator<Item = Excess> {
        let of_source = self.indexes.judged.iter().filter(move |(of, _)| *of == source);
        let excesses = of_source.filter_map(|(_, first)| Some(self.spent_of(self.any(*first)?).excess));
        excesses.chain(self.counted.get(&source.into()).map(|counted| counted.excess_of_left))
    }

    /// Bytes that one grant of a source may relay in a minute.
    fn per_minute(&self, source: IceSource) -> u64 {
        self.raised.get(&source).copied().unwrap_or(self.terms.per_minute)
    }

    /// The first grant of a chain keeps by how much the chain exceeds the assumed rate.
    fn note_excess(&mut self, first: GrantId, excess: Excess) {
        self.change_spent(first, |spent| spent.excess = spent.excess.max(excess));
    }

    /// Another grant of the chain is the first one now.
    fn move_excess(&mut self, source: IceSource, from: GrantId, to: GrantId) {
        if self.indexes.judged.contains(&(source, from)) {
            let excess = self.any(from).map(|row| self.spent_of(row).excess).unwrap_or_default();
            self.change_spent(from, |spent| spent.excess = Excess::default());
            self.note_excess(to, excess);
        }
    }

    /// Keeps the excess of a chain whose first grant leaves the table: with the next grant or, if the chain is over, with its source.
    pub(super) fn pass_excess_on(&mut self, first: GrantId) {
        let Some(row) = self.any(first).filter(|row| self.spent_of(row).excess != Excess::default()) else {
            return;
        };
        let (source, excess) = (row.source, self.spent_of(row).excess);
        if let Some(next) = row.extra().renewed_by.filter(|next| self.any_of(source, *next).is_some()) {
            self.move_excess(source, first, next);
        } else if let Some(counted) = self.counted.get_mut(&source.into()) {
            counted.excess_of_left = counted.excess_of_left.plus(excess);
        }
    }

    /// What a source counted of a chain above the assumed rate, beyond the margin of its counts. `None` as well if its counts are not exact.
    fn counted_excess(
        &self,
        grants: &[GrantId],
        source: IceSource,
        counted: ByteCount,
        until: Timestamp,
    ) -> Option<Shown> {
        let margin = counted.share_up(self.terms.sampling(source));
        let is_exact = source.facts().counts_of_grants == CountsOfGrants::Exact;
        if is_exact { self.excess(grants, source, counted, margin, until) } else { None }
    }

    /// What these bytes of a chain exceed the assumed rate by, over the minutes that it was promised and beyond a margin, and the average
    /// rates that they show.
    fn excess(
        &self,
        grants: &[GrantId],
        source: IceSource,
        relayed: ByteCount,
        margin: u128,
        until: Timestamp,
    ) -> Option<Shown> {
        let (start, until) = (Minute::of(self.period.start), Minute::from_end(until));
        // Nothing before the first one is in the table, so all its minutes are its own.
        let first = self.any(*grants.first()?)?;
        let begin = Minute::of(first.issued_at);
        let own = |(nth, id): (usize, &GrantId)| {
            let time = self.any(*id)?.promised?;
            Some((if nth == 0 { begin } else { time.reserved().start }, time))
        };
        let times: Vec<_> = grants.iter().enumerate().filter_map(own).collect();
        let minutes = |(from, time): &(Minute, PromisedTime)| time.until.min(until).since((*from).max(start));
        let promised = times.iter().map(minutes).fold(EDGES, u64::saturating_add);
        let most = u128::from(self.per_minute(source)).saturating_mul(promised.into());
        let bytes = u128::from(relayed.get()).checked_sub(most.saturating_add(margin));
        let bytes = bytes.filter(|bytes| *bytes > 0)?;
        let end = times.iter().map(|(_, time)| time.until).max()?;
        let minutes = end.min(until).since(begin.max(start)).max(1);
        let rate_over = |minutes: u64| {
            let bits = u128::from(relayed.get()).saturating_mul(8);
            let rate = bits.div_ceil(u128::from(minutes).saturating_mul(60).max(1));
            BitRate::new(u64::try_from(rate).unwrap_or(u64::MAX))
        };
        let excess =
            Excess { bytes: ByteCount::saturating(bytes), rate: rate_over(minutes), ..Excess::default() };
        let raised = rate_over(minutes.max(RAISED_OVER)).min(RELAY_RATE_MAX);
        Some(Shown { excess, per_minute: raised.per_minute() })
    }

    /// Notes the grant that renews another one.
    pub(crate) fn note_renewal(&mut self, renewed: GrantId, by: GrantId) {
        self.edit_live(renewed, |row| row.extra_mut().renewed_by = Some(by));
    }

    /// Whether the renewal of a grant is committed. One that is being made, or whose write failed, does not count; one without a row
    /// costs nothing, so nothing of it was written.
    pub(crate) fn was_renewed(&self, id: GrantId) -> bool {
        let is_written = |by| self.any(by).is_none_or(|row| row.state != GrantState::Unwritten);
        self.any(id).is_some_and(|row| row.extra().renewed && row.extra().renewed_by.is_some_and(is_written))
    }

    /// A grant, its renewal, the renewal of that, and so on. The latest one ends the list.
    pub fn with_renewals(&self, id: GrantId) -> impl Iterator<Item = GrantId> + '_ {
        iter::successors(Some(id), move |id| self.any(*id)?.extra().renewed_by)
    }

    /// When the last credential of a grant and its renewals at the same source expires, by either clock. Revoked renewals do not
    /// count. `expiry`: that of the credential, if no row is known.
    pub(crate) fn expiry_of(&self, id: GrantId, expiry: Option<Timestamp>) -> Option<Timestamp> {
        let source = self.any(id).map(|row| row.source);
        let of_chain = self.with_renewals(id).filter_map(|it| Some((it, self.get(it)?)));
        let counts = |(it, row): &(GrantId, &GrantRow)| {
            *it == id
                || (Some(row.source) == source
                    && row.extra().revoked_at.is_none()
                    && row.state != GrantState::Unwritten)
        };
        of_chain.filter(counts).map(|(_, row)| row.latest_expiry()).max().or(expiry)
    }

    /// Whether no renewal relies on the minutes of a grant: there is none, or nothing can be relayed on it and its own minutes are
    /// released. A renewal that is not in the table relies on them, for all we know.
    pub(super) fn no_renewal_relies_on(&self, row: &GrantRow) -> bool {
        let renewal = row.extra().renewed_by.and_then(|id| self.any(id));
        !row.extra().renewed || renewal.is_some_and(GrantRow::is_released)
    }
}

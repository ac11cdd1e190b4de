//! Which grant renewed which, and what counts and app servers show of a chain of renewals above its promise.
//! Tests: `src/books/spending/tests/chains.rs`.
//! A chain belongs to one client, and is assumed to relay with one of its credentials at a time. A chain that relays at more than the
//! assumed rate does not show in the sum over all grants of a source while other chains are idle. So each chain is judged by itself, and
//! only its own promises are raised, to the rate that it shows.

use std::cmp::Reverse;
use std::iter;
use std::ops::Range;

use super::{GrantRow, GrantState, Grants};
use crate::prelude::*;

/// The most grants of a chain that are looked at: so many back from a given grant, and then so many forward from the first of these.
/// Earlier grants of a longer chain have ended.
const MEMBERS_MAX: usize = 500;
/// The most chains in each of three lists: chains that wait to be asked for, chains over the limit, and chains with a known excess.
pub(super) const CHAINS_MAX: usize = 1_000;
/// Nearly all chains are asked for within this time after their last count.
const JUDGED_WITHIN: Duration = Duration::from_secs(3_600);
/// Promises are raised to the average rate over at least so many minutes. At the rate of a single minute, a file that is sent within that
/// minute would reserve hundreds of GB.
const RAISED_OVER: u64 = 60;
/// A limit is near when so much of it is used, in percent. It is less than 100, because the sampled count of many chains may show less of
/// one chain than it relayed.
const NEAR_PERCENT: u32 = 80;
/// All grants of a source are assumed to relay at a rate that chains of so many clients have shown.
const SHOWN_BY: usize = 3;
/// With many live grants, one part in this many of them must have shown it.
const SHOWN_BY_PART: usize = 100;
/// Minutes that are allowed in addition to the promised ones: if the provider's clock is two minutes behind, bytes of a chain are counted
/// in so many minutes before its issue.
const EDGES: u64 = 2;

/// Chains of renewals that stand out.
#[derive(Debug, Default)]
pub(super) struct Chains {
    /// Chains that are to be asked for, each chain alone. The key has the first grant of the chain that is looked at.
    pub(super) suspects: BTreeMap<(IceSource, GrantId), Waiting>,
    /// Chains over the limit of a chain: their grants, and what they relayed. [`Grants::take_over_limit`] empties the list.
    pub(super) over_limit: Vec<(Vec<GrantId>, ByteCount)>,
}

/// What is known of a chain that waits until the provider is asked for this chain alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    /// The end of the chain's latest count.
    until: Timestamp,
    /// What was counted of the chain, if it is near a limit, and neither over it nor above its promises.
    near_limit: Option<ByteCount>,
    /// A first answer about the chain alone that showed it over a limit or above its promises: when it was given, and the bytes.
    first: Option<(Timestamp, ByteCount)>,
}

/// A chain of renewals of which more was counted than promised, or that is near or over a limit. Counts of many grants are sampled, so the
/// provider is asked for the grants of this chain alone before the chain is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its grants in this period, in the order of their renewals.
    pub grants: Vec<GrantId>,
    /// When the first of these grants was issued, by the provider's clock, which may be behind, or when the period began, if that is later.
    pub from: Timestamp,
    /// The end of the chain's latest count.
    pub until: Timestamp,
}

/// What a chain shows above the assumed rate.
struct Shown {
    /// By how much the chain exceeds the assumed rate.
    excess: Excess,
    /// What its promises are raised to, in bytes a minute.
    per_minute: u64,
}

/// Who has a chain: its client, with all its addresses, or else its user. A chain of which neither is known counts alone: an app server
/// minted it.
fn owner_of_chain(first: GrantId, row: &GrantRow) -> (Option<ClientKey>, Option<User>, Option<GrantId>) {
    let client = row.client.map(|client| client.wider().unwrap_or(client));
    let user = row.user().filter(|_| client.is_none()).cloned();
    let alone = (client.is_none() && user.is_none()).then_some(first);
    (client, user, alone)
}

impl Grants {
    /// The chain of a grant at its source: the grants that are looked at, in the order of their renewals.
    pub(super) fn chain_of(&self, id: GrantId, source: IceSource) -> Vec<GrantId> {
        self.chain_from(self.with_renewed(id, source).last().unwrap_or(id), source)
    }

    /// The chain of which `first` is the first grant that is looked at.
    fn chain_from(&self, first: GrantId, source: IceSource) -> Vec<GrantId> {
        let of_source = self.with_renewals(first).take_while(|id| self.any_of(source, *id).is_some());
        of_source.take(MEMBERS_MAX).collect()
    }

    /// A grant, the grant that it renews, and so on back, as far as they are looked at.
    fn with_renewed(&self, id: GrantId, source: IceSource) -> impl Iterator<Item = GrantId> {
        let is_of_source = move |id: &GrantId| self.any_of(source, *id).is_some();
        let renewed = move |id: &GrantId| self.indexes.renewed.get(id).copied().filter(is_of_source);
        iter::successors(Some(id), renewed).take(MEMBERS_MAX)
    }

    /// A grant was counted until `until`: notes its chain if more was counted than promised or than the limit of a chain, or if a limit is
    /// near.
    pub(super) fn suspect(&mut self, id: GrantId, source: IceSource, until: Timestamp) {
        if !source.facts().counts_grants {
            return;
        }
        let grants = self.chain_of(id, source);
        let counted = self.counted_of(&grants);
        let Some(first) = grants.first().copied() else { return };
        let is_near = source.is_counted_by_provider() && self.is_near_limit(&grants, counted);
        let is_above = self.is_over_limit(&grants, counted)
            || self.counted_excess(&grants, source, counted, until).is_some();
        // Chains that are only near a limit leave half of the room to chains that exceed a promise or a limit.
        let most = if is_above { CHAINS_MAX } else { CHAINS_MAX / 2 };
        if (is_above || is_near) && self.chains.suspects.len() < most {
            let waiting = self.chains.suspects.entry((source, first)).or_default();
            waiting.until = until.max(waiting.until);
            waiting.near_limit = (is_near && !is_above).then_some(counted);
        }
    }

    /// Whether a limit is near: that of a chain, of which `counted` was counted, or that of its user or server key.
    fn is_near_limit(&self, grants: &[GrantId], counted: ByteCount) -> bool {
        let is_near =
            |used: ByteCount, limit: ByteCount| u128::from(used.get()) > limit.share_up(NEAR_PERCENT);
        if self.grant_limit().is_some_and(|limit| is_near(counted, limit)) {
            return true;
        }
        let spender = grants.last().and_then(|id| self.any(*id)?.spender.as_deref());
        self.with_limit(spender)
            .any(|of| self.terms.limit_of(&of).is_some_and(|limit| is_near(self.limited.used(&of), limit)))
    }

    /// Finds the suspected chains again after a restart. This is needed for chains that have ended: no further count would show them.
    /// Looks only at grants whose last count or claim is at most [`JUDGED_WITHIN`] older than the last final count of their group. Also
    /// compares what app servers have reported with the limit of a chain.
    pub(super) fn suspect_again(&mut self) {
        let counted_lately = |(id, row): (&GrantId, &GrantRow)| {
            let (spent, source) = (self.spent_of(row), row.source);
            let is_recent = spent.seen_at.plus(JUDGED_WITHIN) >= self.counted_until(row.owner().group());
            (spent.measured > ByteCount::ZERO && is_recent).then_some((*id, source))
        };
        let counted: Vec<_> = self.iter().filter_map(counted_lately).collect();
        self.note_vouched_over_limit();
        for (id, source) in counted {
            let seen_at = |id: &GrantId| Some(self.spent_of(self.any(*id)?).seen_at);
            let until = self.chain_of(id, source).iter().filter_map(seen_at).max();
            self.suspect(id, source, until.unwrap_or_default());
        }
    }

    /// Compares `GRANT_LIMIT_GB` with what app servers have reported of each chain, because the limit may be new or lower after a restart.
    fn note_vouched_over_limit(&mut self) {
        if self.grant_limit().is_none() {
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
        rows.map(|row| self.spent_of(row).measured).fold(ByteCount::ZERO, ByteCount::plus)
    }

    /// At most `most` chains of a source that are to be asked for alone. Chains near a limit alternate with the others, which exceed a
    /// promise or a limit, so neither kind waits for the other. Among chains near a limit, those with the largest counts come first. Among
    /// the others, chains without a known excess come first.
    pub fn suspects(&self, source: IceSource, most: usize) -> Vec<Suspect> {
        let of_source = self.chains.suspects.iter().filter(|((of, _), _)| *of == source);
        let (mut near, mut others): (Vec<_>, Vec<_>) = of_source
            .map(|((_, first), waiting)| (*first, *waiting))
            .partition(|(_, waiting)| waiting.near_limit.is_some());
        near.sort_by_key(|(_, waiting)| Reverse(waiting.near_limit));
        others.sort_by_key(|(first, _)| self.indexes.judged.contains(&(source, *first)));
        // Both kinds have turns 0, 1 and so on. The sort is stable, so in each turn the chain near a limit comes first.
        let mut in_turn: Vec<_> =
            near.into_iter().enumerate().chain(others.into_iter().enumerate()).collect();
        in_turn.sort_by_key(|(turn, _)| *turn);
        let to_suspect = |(first, Waiting { until, .. }): (GrantId, Waiting)| {
            // The clock of the provider may be behind.
            let issued_at = self.any(first)?.issued_at.minus(source.clocks_differ_by());
            let from = issued_at.max(self.period.start);
            Some(Suspect { grants: self.chain_from(first, source), from, until })
        };
        in_turn.into_iter().take(most).filter_map(|(_, chain)| to_suspect(chain)).collect()
    }

    /// Takes the count of a chain that was asked for alone. `by_grant`: what was counted of each of its grants. `at`: when it was answered.
    /// Notes the chain if it is over the limit of a chain. Bytes above the assumed rate raise the promises of the chain. Both need two
    /// answers that are at least [`APART`], unless the broker itself has watched: the lower one counts. Nothing changes if the chain is no
    /// suspect any more.
    pub(crate) fn judge(
        &mut self,
        source: IceSource,
        suspect: &Suspect,
        by_grant: &BTreeMap<GrantId, ByteCount>,
        at: Timestamp,
    ) {
        let Some(first) = suspect.grants.first().copied() else { return };
        // Since the question, a period may have begun, or the first grant may have left the table.
        let Some(waiting) = self.chains.suspects.remove(&(source, first)) else { return };
        for (id, bytes) in by_grant {
            self.change_spent(*id, |spent| spent.count_total(*bytes, suspect.until));
        }
        let counted = by_grant.values().copied().fold(ByteCount::ZERO, ByteCount::plus);
        // The chain may have been renewed since it was asked for.
        let chain = self.chain_from(first, source);
        let shown = self.counted_excess(&suspect.grants, source, counted, suspect.until);
        if shown.is_none() && !self.is_over_limit(&chain, counted) {
            return;
        }
        let (answered_at, lower) =
            waiting.first.map_or((at, counted), |(at, bytes)| (at, bytes.min(counted)));
        if source.is_counted_by_provider() && at.since(answered_at) < APART {
            let waiting = Waiting { first: Some((answered_at, lower)), ..waiting };
            self.chains.suspects.insert((source, first), waiting);
            return;
        }
        self.note_over_limit(&chain, lower);
        if let Some(shown) = self.counted_excess(&suspect.grants, source, lower, suspect.until) {
            self.raise(source, &chain, &shown);
        }
    }

    /// An app server has reported bytes for a chain: if all its reports together exceed the assumed rate, the promises of the chain rise.
    /// `after_tail`: bytes of this report that were relayed after the tail. They count as an excess of their own. Sessions of the SFU are
    /// not judged, because their tracks say at what rate they relay.
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
        // Where the broker asks the provider about tails, the provider's count shows these bytes.
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
            // The row of the first grant keeps the excess. In a long chain, another grant may have been the first one that was looked at.
            // Then the row of that grant has an excess, which moves.
            let of_chain = self.with_renewed(first, source).chain(grants.iter().copied());
            for other in of_chain.filter(|other| *other != first).collect::<Vec<_>>() {
                self.move_excess(source, other, first);
            }
            // With so many known excesses, that of another chain only raises the promises of the chain.
            if self.indexes.judged.len() < CHAINS_MAX || self.indexes.judged.contains(&(source, first)) {
                self.note_excess(first, shown.excess);
            }
        }
        let per_minute = shown.per_minute;
        for id in grants {
            if let Some(time) = self.any(*id).and_then(|row| row.promised)
                && time.per_minute < per_minute
            {
                self.edit(*id, |row| row.promised = Some(PromisedTime { per_minute, ..time }));
            }
        }
        let of_chains = self.excess_of_chains(source);
        self.effects.note(Effect::Excess(source, Excesses { of_chains, ..Excesses::default() }));
    }

    /// By how much all chains of a source exceed the assumed rate.
    pub(crate) fn excess_of_chains(&self, source: IceSource) -> Excess {
        // An excess that was seen when less was assumed may be within the present rate.
        let is_above = |excess: &Excess| excess.rate.per_minute() > self.per_minute(source);
        self.excesses(source).filter(is_above).fold(Excess::default(), Excess::plus)
    }

    /// The rate that enough clients show for all to be assumed to reach it: [`SHOWN_BY`] clients, and one in [`SHOWN_BY_PART`] of the live
    /// grants. Zero if fewer clients have relayed faster than is assumed. One fast client says nothing about the others.
    pub(crate) fn rate_shown(&self, source: IceSource) -> BitRate {
        let mut rates = BTreeMap::new();
        for first in self.judged(source) {
            let Some(row) = self.any(first) else { continue };
            let rate = self.rate_of_chain(first, row);
            let of_owner = rates.entry(owner_of_chain(first, row)).or_insert(rate);
            *of_owner = rate.max(*of_owner);
        }
        let mut rates: Vec<_> = rates.into_values().collect();
        rates.sort_by_key(|rate| Reverse(*rate));
        let enough = SHOWN_BY.max(self.count() / SHOWN_BY_PART).min(CHAINS_MAX / 4);
        rates.get(enough.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The rate that a chain with a known excess has shown. Where its source is counted, what app servers reported shows nothing.
    fn rate_of_chain(&self, first: GrantId, row: &GrantRow) -> BitRate {
        let (source, group) = (row.source, row.owner().group());
        if !self.terms.counted.contains(&group) {
            return self.spent_of(row).excess.rate;
        }
        let chain = self.chain_from(first, source);
        let shown = self.counted_excess(&chain, source, self.counted_of(&chain), self.seen_until(group));
        shown.map_or(BitRate::default(), |shown| shown.excess.rate)
    }

    /// Whether the chain of a grant has relayed faster than is assumed.
    pub(super) fn is_judged(&self, id: GrantId, source: IceSource) -> bool {
        let first = self.with_renewed(id, source).last().unwrap_or(id);
        self.indexes.judged.contains(&(source, first))
    }

    /// The first grants of the chains of a source that have relayed faster than is assumed.
    fn judged(&self, source: IceSource) -> impl Iterator<Item = GrantId> {
        self.indexes.judged.iter().filter(move |(of, _)| *of == source).map(|(_, first)| *first)
    }

    /// The excess of each chain of a source in this period, and that of all chains that have left the table.
    fn excesses(&self, source: IceSource) -> impl Iterator<Item = Excess> {
        let of_chain = |first: GrantId| Some(self.spent_of(self.any(first)?).excess);
        let excesses = self.judged(source).filter_map(of_chain);
        excesses.chain(self.counted.get(&source.into()).map(|counted| counted.excess_of_left))
    }

    /// The most bytes that one grant of a source is assumed to relay in a minute.
    fn per_minute(&self, source: IceSource) -> u64 {
        self.raised.get(&source).copied().unwrap_or(self.terms.per_minute)
    }

    /// Notes in the row of a chain's first grant by how much the chain exceeds the assumed rate. Of each figure, the larger one stays.
    fn note_excess(&mut self, first: GrantId, excess: Excess) {
        self.change_spent(first, |spent| spent.excess = spent.excess.max(excess));
    }

    /// Moves the excess of a chain to the row of `to`, which is now the first grant of the chain in place of `from`.
    fn move_excess(&mut self, source: IceSource, from: GrantId, to: GrantId) {
        if self.indexes.judged.contains(&(source, from)) {
            let excess = self.any(from).map(|row| self.spent_of(row).excess).unwrap_or_default();
            self.change_spent(from, |spent| spent.excess = Excess::default());
            self.note_excess(to, excess);
        }
    }

    /// Keeps the excess of a chain whose first grant leaves the table: in the row of its renewal or, if no renewal at the same source has a
    /// row, in the sum of the source.
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

    /// What a source counted of a chain above the assumed rate, beyond the margin. `None` if that is nothing.
    fn counted_excess(
        &self,
        grants: &[GrantId],
        source: IceSource,
        counted: ByteCount,
        until: Timestamp,
    ) -> Option<Shown> {
        self.excess(grants, source, counted, counted.share_up(self.terms.sampling(source)), until)
    }

    /// What the bytes of a chain show above the assumed rate; `None` if nothing.
    /// Excess = `relayed` − `margin` − assumed rate × (promised minutes + [`EDGES`]). The margin is in bytes. A minute that several grants
    /// of the chain promise counts once.
    /// Rate = `relayed` ÷ all minutes from the issue of the first grant to the end of the last promise. Minutes before the period and
    /// after `until` are left out.
    fn excess(
        &self,
        grants: &[GrantId],
        source: IceSource,
        relayed: ByteCount,
        margin: u128,
        until: Timestamp,
    ) -> Option<Shown> {
        let (period_start, until) = (Minute::of(self.period.start), Minute::from_end(until));
        // No grant before the first one is looked at, so all minutes of the first one are its own.
        let first = self.any(*grants.first()?)?;
        let chain_start = Minute::of(first.issued_at);
        let own_minutes = |(nth, id): (usize, &GrantId)| {
            let time = self.any(*id)?.promised?;
            let from = if nth == 0 { chain_start } else { time.reserved().start };
            Some(from..time.until)
        };
        let spans: Vec<_> = grants.iter().enumerate().filter_map(own_minutes).collect();
        let len = |span: &Range<Minute>| span.end.min(until).since(span.start.max(period_start));
        let promised_minutes = spans.iter().map(len).fold(EDGES, u64::saturating_add);
        let most = u128::from(self.per_minute(source)).saturating_mul(promised_minutes.into());
        let above = u128::from(relayed.get()).saturating_sub(most.saturating_add(margin));
        if above == 0 {
            return None;
        }
        let end = spans.iter().map(|span| span.end).max()?;
        let minutes = end.min(until).since(chain_start.max(period_start)).max(1);
        let rate = BitRate::average(relayed, minutes.into());
        let excess = Excess { bytes: ByteCount::saturating(above), rate, ..Excess::default() };
        let raised = BitRate::average(relayed, minutes.max(RAISED_OVER).into()).min(RELAY_RATE_MAX);
        Some(Shown { excess, per_minute: raised.per_minute() })
    }

    /// Notes the grant that renews another one.
    pub(crate) fn note_renewal(&mut self, renewed: GrantId, by: GrantId) {
        self.edit_live(renewed, |row| row.extra_mut().renewed_by = Some(by));
    }

    /// Whether the renewal of a grant is committed. A renewal that is being made, or whose write failed, is not committed. A renewal
    /// without a row is committed: it costs nothing, so no row of it is written.
    pub(crate) fn was_renewed(&self, id: GrantId) -> bool {
        let is_written = |by| self.any(by).is_none_or(|row| row.state != GrantState::Unwritten);
        self.any(id).is_some_and(|row| row.extra().renewed && row.extra().renewed_by.is_some_and(is_written))
    }

    /// A grant, its renewal, the renewal of this renewal, and so on. Only the last of them can lack a row.
    pub fn with_renewals(&self, id: GrantId) -> impl Iterator<Item = GrantId> + '_ {
        iter::successors(Some(id), move |id| self.any(*id)?.extra().renewed_by)
    }

    /// The latest expiry, by the later clock, of a grant and of its renewals at the same source. Renewals that are revoked or not yet
    /// written are left out. `expiry`: the result if neither the grant nor such a renewal has a live row.
    pub(crate) fn expiry_of(&self, id: GrantId, expiry: Option<Timestamp>) -> Option<Timestamp> {
        let source = self.any(id).map(|row| row.source);
        let of_chain = self.with_renewals(id).filter_map(|member| Some((member, self.get(member)?)));
        let is_included = |(member, row): &(GrantId, &GrantRow)| {
            *member == id
                || (Some(row.source) == source
                    && row.extra().revoked_at.is_none()
                    && row.state != GrantState::Unwritten)
        };
        of_chain.filter(is_included).map(|(_, row)| row.latest_expiry()).max().or(expiry)
    }

    /// Whether no renewal relies on the minutes of a grant: the grant was not renewed, or its renewal's promise is released. `false` without
    /// a row of the renewal: it may still be in the making, or relay in these minutes at no cost of its own.
    pub(super) fn no_renewal_relies_on(&self, row: &GrantRow) -> bool {
        let renewal = row.extra().renewed_by.and_then(|id| self.any(id));
        !row.extra().renewed || renewal.is_some_and(GrantRow::is_released)
    }
}

//! Revoked credentials, and why the broker revokes credentials by itself: their chain of renewals has relayed more than `GRANT_LIMIT_GB`,
//! or, with `AT_LIMIT=revoke`, the budget is spent. Tests: `src/books/spending/tests/ending.rs`.
//! Claims of pages never end a chain. Only counts and reports of app servers do. Where counts are sampled, a count must be of the chain
//! alone.
//! A revocation alone releases no promise.

use std::cmp::Reverse;

use super::{CHAINS_MAX, GrantRow, Grants, RevocationAnswer, Revoked};
use crate::prelude::*;
use crate::reports::Closed;
use crate::spending::{LOOKED_AT_ONCE, SpenderKey, Spent};

/// A chain of renewals that has relayed more than `GRANT_LIMIT_GB`.
#[derive(Clone, Debug, PartialEq)]
pub struct OverLimit {
    /// The last of the grants in `revoked`.
    pub grant: GrantId,
    /// Its row.
    pub row: GrantRow,
    /// What is kept of its client's address.
    pub address: Option<SpenderKey>,
    /// What was counted of the chain in this period, or vouched for.
    pub counted: ByteCount,
    /// The grants that were revoked because of it.
    pub revoked: Vec<(GrantId, GrantRow)>,
    /// The connections that were closed because of it.
    pub closed: Vec<Closed>,
}

impl Grants {
    /// Whether `counted` bytes of a chain are more than `GRANT_LIMIT_GB`, and one of its grants is still valid.
    pub(super) fn is_over_limit(&self, grants: &[GrantId], counted: ByteCount) -> bool {
        let is_over = self.grant_limit().is_some_and(|limit| counted > limit);
        is_over && grants.iter().any(|id| self.valid(*id).is_some())
    }

    /// `GRANT_LIMIT_GB`, the limit of each chain of renewals.
    pub(super) fn grant_limit(&self) -> Option<ByteCount> {
        self.terms.bounds.spenders.grant_limit
    }

    /// Notes that the grants of a chain are to be revoked, if `relayed` is over its limit ([`Self::is_over_limit`]).
    pub(super) fn note_over_limit(&mut self, grants: &[GrantId], relayed: ByteCount) {
        // Each vouched report comes here, and almost none is over the limit.
        if !self.is_over_limit(grants, relayed) {
            return;
        }
        let noted = &mut self.chains.over_limit;
        if noted.len() < CHAINS_MAX && noted.iter().all(|(chain, _)| chain != grants) {
            noted.push((grants.to_vec(), relayed));
        }
    }

    /// An app server has reported what a connection of a grant relayed in `[from, at)`. For all connections of a grant together, at most
    /// what a relay can carry for one client counts. What app servers have reported of the chain is compared with `GRANT_LIMIT_GB`, and
    /// with the promises ([`Self::judge_vouched`]).
    pub(crate) fn vouch(&mut self, id: GrantId, bytes: ByteCount, from: Timestamp, at: Timestamp) {
        let Some(row) = self.any(id) else { return };
        let (owner, start) = (row.owner(), self.period.start);
        let span = Interval::new(from, at);
        // Of a report over the reset, the part of this period counts, up to what a relay can carry.
        let part = Spread { bytes, over: span }.after(start);
        let carried_max = Interval::new(row.issued_at, at).after(start).at_rate(RELAY_RATE_MAX);
        let more = part.min(carried_max.minus(self.spent_of(row).vouched));
        self.change_spent(id, |spent| spent.vouched = spent.vouched.plus(more));
        if more > ByteCount::ZERO {
            let kind = ChangeKind::Vouch(Spread { bytes: more, over: span.after(start) });
            self.effects.note(Effect::Usage(UsageChange { owner, basis: Basis::Granted, kind }));
        }
        let grants = self.chain_of(id, owner.source);
        // A connection may outlive the credential that opened it. Then the promise of a renewal covers the bytes of the connection.
        let alive_until = grants.iter().filter_map(|id| self.any(*id)?.alive_until()).max();
        let is_after_tail = alive_until.is_some_and(|end| end.start() <= from);
        let after_tail = if is_after_tail { more } else { ByteCount::ZERO };
        self.note_over_limit(&grants, self.vouched_of(&grants));
        self.judge_vouched(owner.source, &grants, after_tail, at);
    }

    /// What app servers have reported of these grants. Where their source has counted them, its count takes the place of the reports for
    /// that time: an app server can be wrong.
    pub(super) fn vouched_of(&self, grants: &[GrantId]) -> ByteCount {
        let of_row = |row: &GrantRow| {
            let Spent { measured, claimed, vouched, .. } = self.spent_of(row);
            let is_counted = self.seen_until(row.owner().group()) > self.period.start;
            if is_counted { measured.plus(claimed.min(vouched.minus(measured))) } else { vouched }
        };
        grants.iter().filter_map(|id| self.any(*id)).map(of_row).fold(ByteCount::ZERO, ByteCount::plus)
    }

    /// Whether a grant is revoked, and more of its chain was counted or reported by app servers in this period than `GRANT_LIMIT_GB`.
    pub fn was_over_limit(&self, id: GrantId) -> bool {
        let (Some(limit), Some(row)) = (self.grant_limit(), self.any(id)) else { return false };
        if !self.is_revoked(id) {
            return false;
        }
        let chain = self.chain_of(id, row.source);
        self.counted_of(&chain).max(self.vouched_of(&chain)) > limit
    }

    /// The chains that were noted to be over the limit since the last call: the grants of each chain, and what the chain relayed.
    pub(crate) fn take_over_limit(&mut self) -> Vec<(Vec<GrantId>, ByteCount)> {
        std::mem::take(&mut self.chains.over_limit)
    }

    /// At most `most` revoked credentials whose source must be asked now to revoke them. Credentials about which the source was never asked
    /// come first. A later call returns a credential again after [`ASK_PAUSE`], if the source has not answered by then.
    pub(crate) fn take_unanswered(&mut self, now: Timestamp, most: usize) -> Vec<GrantId> {
        let mut ids = vec![];
        while ids.len() < most
            && let Some(id) = self.indexes.unanswered.first(now)
        {
            if self.get(id).is_some_and(|row| can_still_revoke(row, now)) {
                self.indexes.unanswered.insert(id, now.plus(ASK_PAUSE));
                ids.push(id);
            } else {
                self.indexes.unanswered.remove(&id);
            }
        }
        ids
    }

    /// How many revoked credentials wait for an answer of their source.
    pub fn unanswered_count(&self) -> usize {
        self.indexes.unanswered.len()
    }
}

/// A search for the credentials that are not revoked, and that their source can still revoke. It goes in steps: [`Self::look`] is called
/// until it returns true.
#[derive(Debug, Default)]
pub struct RevocableWalk {
    grants: Walk,
    /// What was counted of each grant in this period, what the grant may still relay, and its id.
    found: Vec<([ByteCount; 2], GrantId)>,
}

impl RevocableWalk {
    /// Looks at the next grants. `true` if these are the last ones.
    pub fn look(&mut self, grants: &Grants, now: Timestamp) -> bool {
        let rows = self.grants.next(&grants.rows, LOOKED_AT_ONCE);
        for (id, _) in &rows {
            if let Some(row) = grants.valid(*id).filter(|row| can_still_revoke(row, now)) {
                self.found.push(([grants.spent_of(row).measured, left_of(row, now)], *id));
            }
        }
        rows.len() < LOOKED_AT_ONCE
    }

    /// The grants that were found. Those with the largest counts in this period come first and, of equal counts, those that may still relay
    /// most.
    pub fn in_order(mut self) -> impl Iterator<Item = GrantId> {
        self.found.sort_unstable_by_key(|(bytes, id)| (Reverse(*bytes), *id));
        self.found.into_iter().map(|(_, id)| id)
    }
}

/// Whether a source can be asked to revoke a credential, has not answered yet, and the credential has not expired.
fn can_still_revoke(row: &GrantRow, now: Timestamp) -> bool {
    has_no_answer(row) && row.latest_expiry() > now
}

/// Whether a source can be asked to revoke a credential, expired or not, and has not answered yet.
pub(super) fn has_no_answer(row: &GrantRow) -> bool {
    let can_be_asked = row.source.revokes_by_name() && row.username.is_some();
    can_be_asked && row.extra().revocation_answer.is_none()
}

/// What a credential may still relay by its promise, from this minute on.
fn left_of(row: &GrantRow, now: Timestamp) -> ByteCount {
    let left = row.promised.map(|time| time.per_minute.saturating_mul(time.until.since(Minute::of(now))));
    ByteCount::new(left.unwrap_or(0))
}

impl Grants {
    /// Whether a grant was revoked. It stays so after its end.
    pub fn is_revoked(&self, id: GrantId) -> bool {
        self.any(id).is_some_and(|row| row.extra().revoked_at.is_some())
    }

    /// Revokes a grant, and returns its row. A second call does not change the time. `None` for a grant that is unknown, that costs
    /// nothing, or that has expired and has no open connection.
    ///
    /// The promise stays, because a running allocation may continue. A source that can revoke the credential is asked at `ask_from` or
    /// later.
    pub(crate) fn revoke(&mut self, id: GrantId, now: Timestamp, ask_from: Timestamp) -> Option<&GrantRow> {
        let row = self.get(id).filter(|row| row.source.is_metered() && row.is_in_use(now))?;
        if row.extra().revoked_at.is_none() {
            self.edit(id, |row| row.extra_mut().revoked_at = Some(now));
            if self.get(id).is_some_and(has_no_answer) {
                self.indexes.unanswered.insert(id, ask_from);
            }
        }
        self.get(id)
    }

    /// Notes what a source answered when it was asked to revoke a grant. After "revoked", a later answer changes nothing, because a source
    /// does not know a credential that it has revoked.
    pub(crate) fn note_revocation_answer(&mut self, id: GrantId, answer: RevocationAnswer) {
        self.edit_live(id, |row| {
            if row.extra().revocation_answer != Some(RevocationAnswer::Revoked) {
                row.extra_mut().revocation_answer = Some(answer);
            }
        });
    }

    /// The live grants that were revoked, the latest revocation first.
    pub fn revoked(&self) -> impl Iterator<Item = Revoked> {
        self.indexes.revoked.iter().rev().filter_map(|(revoked_at, grant)| {
            let row = self.get(*grant)?;
            let (grant, revoked_at) = (*grant, *revoked_at);
            Some(Revoked { grant, source: row.source, revoked_at, expires_at: row.expires_at })
        })
    }

    /// The reason why the relay must stop serving a grant, if there is one. `expiry`: that of the credential, for a grant without a live
    /// row. A grant with neither a live row nor an `expiry` counts as expired.
    /// A row has two expiries if the wall clock was ahead when the grant was issued, or if the source decides how long the credential
    /// works. The later expiry counts: the credential may work until then, and the promise lasts until then. A renewal at the same source
    /// prolongs the sessions of the renewed grant, because the promises of the chain cover these sessions: one credential of the chain
    /// relays at a time.
    pub fn end_of(
        &self,
        id: GrantId,
        expiry: Option<Timestamp>,
        is_spent: bool,
        now: Timestamp,
    ) -> Option<GrantEnd> {
        let expires_at = self.expiry_of(id, expiry);
        if self.is_revoked(id) {
            return Some(GrantEnd::Revoked);
        }
        if expires_at.is_none_or(|end| now >= end) {
            return Some(GrantEnd::Expired);
        }
        is_spent.then_some(GrantEnd::Spent)
    }
}

/// The pause before a source that has not answered is asked again about the same grant. An operator's request to revoke a grant asks the
/// source itself. That request has ended when the pause is over.
pub const ASK_PAUSE: Duration = Duration::from_secs(10);
/// When to ask about a grant that the broker has just revoked by itself: before all others.
pub(crate) const FIRST: Timestamp = Timestamp::from_millis(0);
/// When to ask about a grant that was revoked before this process started: after [`FIRST`], and before those that were asked about already.
pub(super) const NEXT: Timestamp = Timestamp::from_millis(1);

/// The revoked credentials whose source has not answered yet. A grant is in both fields or in none.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// The earliest time to ask about each grant.
    from: BTreeMap<GrantId, Timestamp>,
    /// The same in the order of these times.
    in_order: BTreeSet<(Timestamp, GrantId)>,
}

impl Unanswered {
    /// Adds a grant, or changes when to ask about it.
    pub(super) fn insert(&mut self, id: GrantId, from: Timestamp) {
        self.remove(&id);
        self.from.insert(id, from);
        self.in_order.insert((from, id));
    }

    pub(super) fn remove(&mut self, id: &GrantId) {
        if let Some(from) = self.from.remove(id) {
            self.in_order.remove(&(from, *id));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.from.len()
    }

    /// Whether `other` has each of these grants, too.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        self.from.keys().all(|id| other.from.contains_key(id))
    }

    /// The grant that became due first, if one is due at `now`.
    pub(super) fn first(&self, now: Timestamp) -> Option<GrantId> {
        self.in_order.first().filter(|(from, _)| *from <= now).map(|(_, id)| *id)
    }
}

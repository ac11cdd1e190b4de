//! Which credentials the broker ends by itself: those of a chain of renewals that relayed more than `GRANT_LIMIT_GB`, and with
//! `AT_LIMIT=revoke` all of them once the budget is spent. Tests: `src/books/spending/tests/ending.rs`.
//! Claims never end one: only what was counted, and asked for alone where counts are sampled. Nothing is released by it.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::cmp::Reverse;

use super::Grants;
use super::chains::Suspect;
use super::listing::LOOKED_AT_ONCE;
use super::row::GrantRow;
use crate::reports::Closed;
use crate::shards::Walk;
use crate::source::IceSource;
use crate::spenders::key::SpenderKey;
use crate::token::GrantId;
use crate::units::slot::Minute;
use crate::units::{ByteCount, Timestamp};

/// A chain of renewals that has relayed more than one may.
#[derive(Clone, Debug, PartialEq)]
pub struct OverLimit {
    /// The last grant of the chain.
    pub grant: GrantId,
    /// Its row.
    pub row: GrantRow,
    /// What is kept of its client's address.
    pub address: Option<SpenderKey>,
    /// What was counted of the chain in this period.
    pub counted: ByteCount,
    /// The grants that were revoked because of it.
    pub revoked: Vec<(GrantId, GrantRow)>,
    /// The connections that were closed.
    pub closed: Vec<Closed>,
}

impl Grants {
    /// Whether more was counted of a chain than one may relay, and it has not ended.
    pub(super) fn is_over_limit(&self, grants: &[GrantId], counted: ByteCount) -> bool {
        let is_over = self.terms.bounds.spenders.grant_limit.is_some_and(|limit| counted > limit);
        is_over && grants.iter().any(|id| self.valid(*id).is_some())
    }

    /// Whether a grant was revoked because its chain had relayed too much, as far as was counted in this period.
    pub fn was_over_limit(&self, id: GrantId) -> bool {
        let Some(limit) = self.terms.bounds.spenders.grant_limit.filter(|_| self.is_revoked(id)) else {
            return false;
        };
        let source = self.any(id).map(|row| row.source);
        source.is_some_and(|source| self.counted_of(&self.chain_of(id, source)) > limit)
    }

    /// The chains that were judged to be over the limit since the last call, and what was counted of each.
    pub(crate) fn take_over_limit(&mut self) -> Vec<(Suspect, ByteCount)> {
        std::mem::take(&mut self.chains.over_limit)
    }

    /// Revoked credentials whose source has not answered yet, at most `most`.
    pub fn unanswered(&self, now: Timestamp, most: usize) -> Vec<GrantId> {
        let is_open = |id: &GrantId| self.get(*id).is_some_and(|row| must_be_asked(row, now));
        self.revoked().map(|revoked| revoked.grant).filter(is_open).take(most).collect()
    }

    /// What an operator sees of a grant's client.
    pub(crate) fn address_of(&self, row: &GrantRow) -> Option<SpenderKey> {
        self.terms.address(row)
    }
}

/// The credentials that their source must be asked to revoke, found in parts: [`Self::look`] is called until it returns true.
#[derive(Debug, Default)]
pub struct RevocableWalk {
    grants: Walk<GrantId>,
    found: Vec<(ByteCount, GrantId)>,
}

impl RevocableWalk {
    /// Looks at the next grants. `true` if these are all.
    pub fn look(&mut self, grants: &Grants, now: Timestamp) -> bool {
        let ids = self.grants.next(&grants.rows, LOOKED_AT_ONCE);
        for id in &ids {
            if let Some(row) = grants.get(*id).filter(|row| must_be_asked(row, now)) {
                self.found.push((left_of(row, now), *id));
            }
        }
        ids.len() < LOOKED_AT_ONCE
    }

    /// Those that may still relay most come first.
    pub fn in_order(mut self) -> impl Iterator<Item = GrantId> {
        self.found.sort_unstable_by_key(|(left, id)| (Reverse(*left), *id));
        self.found.into_iter().map(|(_, id)| id)
    }
}

/// Whether a source can be asked to revoke a credential, and has not answered yet.
fn must_be_asked(row: &GrantRow, now: Timestamp) -> bool {
    let is_asked = row.source.revokes_by_name() && row.username().is_some();
    is_asked && row.extra().known_to_source.is_none() && row.latest_expiry() > now
}

/// What a credential may still relay by its promise.
fn left_of(row: &GrantRow, now: Timestamp) -> ByteCount {
    let left = row.promised.map(|time| time.per_minute.saturating_mul(time.until.since(Minute::of(now))));
    ByteCount::new(left.unwrap_or(0))
}

/// Whether the counts of a source's grants can end one: where they are sampled, the chain is asked for alone.
pub(super) const fn counts_grants(source: IceSource) -> bool {
    source.counts_grants_exactly() || matches!(source, IceSource::Coturn)
}

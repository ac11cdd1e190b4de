//! Who spends, summed over the grants in parts. Tests: `src/books/spending/tests/recent.rs`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Grants;
use super::listing::LOOKED_AT_ONCE;
use super::spent::Spent;
use super::terms::keys_of;
use crate::shards::Walk;
use crate::spenders::key::{Keys, SpenderKey, SpenderKind};
use crate::spenders::listing::SpenderSums;
use crate::spenders::sums::Sums;
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};

/// What each spender of a kind has spent since an instant in the last minutes, found in parts: [`Self::look`] is called until it returns
/// true, and others can change the table in between. What changes meanwhile counts as it was or as it is.
#[derive(Debug)]
pub struct RecentSpenders {
    kind: SpenderKind,
    since: Timestamp,
    walk: Walk<GrantId>,
    rows: BTreeMap<Option<SpenderKey>, SpenderSums>,
}

impl RecentSpenders {
    /// Nothing is found yet. `since`: at most [`super::recent::RECENT_MAX`] before now.
    pub fn new(kind: SpenderKind, since: Timestamp) -> Self {
        Self { kind, since, walk: Walk::default(), rows: BTreeMap::new() }
    }

    /// Looks at the next grants. `true` if these are all.
    pub fn look(&mut self, grants: &Grants, now: Timestamp) -> bool {
        let ids = grants.next_recent(&mut self.walk, LOOKED_AT_ONCE);
        for id in &ids {
            let Some(row) = grants.any(*id) else { continue };
            let is_live = row.is_live(now);
            let spent = grants.recent_of(*id, self.since, now);
            let seen = [row.issued_at, row.issued_at.max(spent.seen_at())];
            let live = [is_live, is_live && row.extra().revoked_at.is_none()];
            self.add(grants.terms.keys(row), &share(&spent, seen), live);
        }
        if ids.len() == LOOKED_AT_ONCE {
            return false;
        }
        for (spender, spent) in grants.recent_others(self.since, now) {
            self.add(keys_of(spender, None), &share(&spent, [self.since, now]).of_part(), [false; 2]);
        }
        true
    }

    /// The rows that were found, most bytes first.
    pub fn rows(self) -> Vec<SpenderSums> {
        let mut rows: Vec<_> = self.rows.into_values().collect();
        rows.sort_unstable_by(|a, b| {
            (Reverse(a.sums.bytes()), &a.key).cmp(&(Reverse(b.sums.bytes()), &b.key))
        });
        rows
    }

    fn add(&mut self, keys: Keys, share: &Sums, [is_live, is_usable]: [bool; 2]) {
        if share.bytes() == ByteCount::ZERO {
            return;
        }
        let key = keys.into_iter().flatten().find(|key| key.kind() == self.kind);
        let row =
            self.rows.entry(key.clone()).or_insert_with(|| SpenderSums { key, ..SpenderSums::default() });
        row.sums.add(share);
        row.live = row.live.saturating_add(is_live.into());
        row.usable = row.usable.saturating_add(is_usable.into());
    }
}

fn share(spent: &Spent, seen: [Timestamp; 2]) -> Sums {
    Sums::of_grant([spent.measured(), spent.claimed(), ByteCount::ZERO], seen)
}

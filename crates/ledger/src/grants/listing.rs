//! The grants of this period in the order in which an operator reads them: most bytes first, in pages.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{GrantRow, Grants};
use crate::spenders::{SpenderKey, SpenderKind};
use crate::token::GrantId;
use crate::units::{ByteCount, Timestamp};

/// Which grants are listed. What is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// Grants of each of these.
    pub keys: Vec<SpenderKey>,
    /// Only live or only ended ones.
    pub live: Option<bool>,
}

/// A grant, as an operator sees it.
#[derive(Clone, Debug)]
pub struct ListedGrant {
    /// Its id.
    pub id: GrantId,
    /// Its row.
    pub row: GrantRow,
    /// What is kept of its client's address.
    pub address: Option<SpenderKey>,
    /// Whether it counts as alive, tail included.
    pub live: bool,
}

/// A place in the order: grants with more bytes come first, then by id.
pub type GrantPlace = (ByteCount, GrantId);

impl ListedGrant {
    /// Its place in the order.
    #[must_use]
    pub fn place(&self) -> GrantPlace {
        (self.row.bytes(), self.id)
    }
}

impl Grants {
    /// The first `limit` grants after a place, most bytes first. Reads every row, so it is for an operator's calls only.
    #[must_use]
    pub fn top(
        &self,
        filter: &GrantFilter,
        limit: usize,
        after: Option<GrantPlace>,
        now: Timestamp,
    ) -> Vec<ListedGrant> {
        let order = |(bytes, id): GrantPlace| (Reverse(bytes), id);
        let is_later = |place: GrantPlace| after.is_none_or(|after| order(place) > order(after));
        let metered = self.iter().filter(|(_, row)| row.source.is_metered());
        let mut places: Vec<_> = metered
            .map(|(id, row)| (row, (row.bytes(), *id)))
            .filter(|(row, place)| is_later(*place) && self.is_listed(row, filter, now))
            .map(|(_, place)| place)
            .collect();
        if places.len() > limit {
            places.select_nth_unstable_by_key(limit, |place| order(*place));
            places.truncate(limit);
        }
        places.sort_unstable_by_key(|place| order(*place));
        places.into_iter().filter_map(|(_, id)| self.listed(id, now)).collect()
    }

    /// How many live grants of each spender of a kind were revoked.
    #[must_use]
    pub fn revoked_by(&self, kind: SpenderKind) -> BTreeMap<SpenderKey, u64> {
        let mut counts = BTreeMap::new();
        let rows = self.revoked().filter_map(|revoked| self.get(revoked.grant));
        let keys = rows.flat_map(|row| self.spending.keys(row)).flatten();
        for key in keys.filter(|key| key.kind() == kind) {
            let count: &mut u64 = counts.entry(key).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }

    /// How many live grants were revoked, and are still promised what they could relay.
    #[must_use]
    pub fn revoked_live(&self, now: Timestamp) -> u64 {
        let rows = self.revoked().filter_map(|revoked| self.get(revoked.grant));
        let is_counted = |row: &&GrantRow| !row.is_released() && row.is_live(now);
        u64::try_from(rows.filter(is_counted).count()).unwrap_or(u64::MAX)
    }

    fn is_listed(&self, row: &GrantRow, GrantFilter { keys, live }: &GrantFilter, now: Timestamp) -> bool {
        let has_keys = || {
            let of_row = self.spending.keys(row);
            keys.iter().all(|key| of_row.iter().flatten().any(|of_row| of_row == key))
        };
        live.is_none_or(|live| row.is_live(now) == live) && (keys.is_empty() || has_keys())
    }

    fn listed(&self, id: GrantId, now: Timestamp) -> Option<ListedGrant> {
        let row = self.any(id)?;
        let (address, live) = (self.spending.address(row), row.is_live(now));
        Some(ListedGrant { id, row: row.clone(), address, live })
    }
}

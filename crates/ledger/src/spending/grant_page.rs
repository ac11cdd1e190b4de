//! The grants of this period in the order in which an operator reads them: most bytes first, in pages.
//! Tests: `src/books/spending/tests/listing.rs`.

use std::cmp::Reverse;

use turn_budget::{ByteCount, GrantId, Minute, Timestamp, Walk};

use super::{RecentTime, SpenderKey, Spent};
use crate::grants::{GrantRow, Grants, Revoked};

/// How many rows one step looks at.
pub(crate) const LOOKED_AT_ONCE: usize = 2_000;

/// Which grants are listed. By default all are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// Only grants of which each of these is a spender.
    pub keys: Vec<SpenderKey>,
    /// Only live grants (`true`), or only the others (`false`); `None` for all.
    pub live: Option<bool>,
}

/// A grant, as an operator sees it.
#[derive(Clone, Debug)]
pub struct ListedGrant {
    /// Its id.
    pub id: GrantId,
    /// Its row.
    pub row: GrantRow,
    /// What it has spent in this period, or in the time of [`GrantPage::new`].
    pub spent: Spent,
    /// What is kept of its client's address.
    pub address: Option<SpenderKey>,
    /// Whether its promise, tail included, is not over, its credential may still work, or a connection is open on it.
    pub live: bool,
}

/// A place in the order: grants with more bytes come first. Grants with the same bytes are in the order of their ids.
pub type GrantPlace = (ByteCount, GrantId);

impl ListedGrant {
    /// Its place in the order.
    pub fn place(&self) -> GrantPlace {
        (self.spent.bytes(), self.id)
    }
}

/// A search for the first `limit` grants of a list after a place. It goes in steps: [`Self::look`] is called until it returns true, and
/// others can change the table between two steps. What changes meanwhile is listed as it was or as it is.
#[derive(Debug)]
pub struct GrantPage {
    filter: GrantFilter,
    limit: usize,
    after: Option<GrantPlace>,
    recent: Option<RecentTime>,
    walk: Walk,
    /// Of the places found so far, the first `limit`, in no order.
    places: Vec<GrantPlace>,
}

/// What places are sorted by: see [`GrantPlace`].
fn order((bytes, id): GrantPlace) -> (Reverse<ByteCount>, GrantId) {
    (Reverse(bytes), id)
}

impl GrantPage {
    /// A search that has found nothing yet. With `recent`, only what was relayed then is listed: minutes longer ago than
    /// [`super::recent::RECENT_MAX`] are not known.
    pub fn new(
        filter: GrantFilter,
        limit: usize,
        after: Option<GrantPlace>,
        recent: Option<RecentTime>,
    ) -> Self {
        Self { filter, limit, after, recent, walk: Walk::default(), places: vec![] }
    }

    /// Looks at the next grants. `true` if these are the last ones.
    pub fn look(&mut self, grants: &Grants, now: Timestamp) -> bool {
        let (rows, is_last) = grants.next_metered(&mut self.walk, self.recent.is_some());
        for (id, row) in rows {
            let bytes = grants.spent_lately(id, row, self.recent).bytes();
            let is_relevant = self.recent.is_none() || bytes > ByteCount::ZERO;
            let is_after = self.after.is_none_or(|after| order((bytes, id)) > order(after));
            if is_relevant && is_after && grants.is_listed(row, &self.filter, now) {
                self.places.push((bytes, id));
            }
        }
        if self.places.len() > self.limit {
            self.places.select_nth_unstable_by_key(self.limit, |place| order(*place));
            self.places.truncate(self.limit);
        }
        is_last
    }

    /// The rows that were found, as they are at `now`: most bytes first. A grant that has left the table since is left out.
    pub fn rows(&self, grants: &Grants, now: Timestamp) -> Vec<ListedGrant> {
        let mut rows: Vec<_> =
            self.places.iter().filter_map(|(_, id)| grants.listed(*id, self.recent, now)).collect();
        rows.sort_unstable_by_key(|row| order(row.place()));
        rows
    }
}

impl Grants {
    /// How many of [`Budget::live_grants`](turn_budget::Budget::live_grants) were revoked. Of a chain of renewals, only the grant counts
    /// that reserves this minute. This grant counts as revoked if it and all its renewals are revoked.
    pub fn revoked_live(&self, now: Timestamp) -> u64 {
        let minute = Minute::of(now);
        let is_counted = |Revoked { grant, .. }: &Revoked| {
            let time = self.get(*grant).and_then(|row| row.promised);
            time.is_some_and(|time| time.reserved().contains(&minute))
                && self.with_renewals(*grant).all(|id| self.is_revoked(id))
        };
        u64::try_from(self.revoked().filter(is_counted).count()).unwrap_or(u64::MAX)
    }

    /// The next rows of a walk, without those of grants that cost nothing, and whether these are the last ones. With `is_recent`, only rows of
    /// grants that have relayed something within [`super::recent::RECENT_MAX`].
    pub(crate) fn next_metered(&self, walk: &mut Walk, is_recent: bool) -> (Vec<(GrantId, &GrantRow)>, bool) {
        let (mut rows, is_last) = if is_recent {
            let ids = self.next_recent(walk, LOOKED_AT_ONCE);
            let is_last = ids.len() < LOOKED_AT_ONCE;
            (ids.into_iter().filter_map(|id| Some((id, self.any(id)?))).collect(), is_last)
        } else {
            let next = walk.next(&self.rows, LOOKED_AT_ONCE);
            let is_last = next.len() < LOOKED_AT_ONCE;
            let rows = next.into_iter().map(|(id, row)| (*id, row));
            (rows.filter(|(_, row)| !self.is_past(row)).collect::<Vec<_>>(), is_last)
        };
        rows.retain(|(_, row)| row.source.is_metered());
        (rows, is_last)
    }

    fn is_listed(&self, row: &GrantRow, GrantFilter { keys, live }: &GrantFilter, now: Timestamp) -> bool {
        live.is_none_or(|live| row.is_live(now) == live) && keys.iter().all(|key| self.terms.is_of(row, key))
    }

    /// What a grant has spent lately or, without `recent`, in this period.
    pub(crate) fn spent_lately(&self, id: GrantId, row: &GrantRow, recent: Option<RecentTime>) -> Spent {
        recent.map_or_else(|| self.spent_of(row), |recent| self.recent_of(id, recent))
    }

    fn listed(&self, id: GrantId, recent: Option<RecentTime>, now: Timestamp) -> Option<ListedGrant> {
        let row = self.any(id)?;
        Some(ListedGrant {
            id,
            row: row.clone(),
            spent: self.spent_lately(id, row, recent),
            address: self.terms.address(row),
            live: row.is_live(now),
        })
    }
}

//! Who spends, summed over the rows in parts. Tests: `src/books/spending/tests`.
//! The sums of this period are those of all grants in the table, and of what left it. The row without a key is what the others leave of
//! the period's bytes, so the rows of a kind add up to these.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Grants;
use super::listing::LOOKED_AT_ONCE;
use super::spent::Spent;
use super::terms::key_of;
use crate::shards::Walk;
use crate::spenders::key::{SpenderKey, SpenderKind};
use crate::spenders::left::LeftKey;
use crate::spenders::listing::SpenderSums;
use crate::spenders::sums::{PeriodBytes, Sums};
use crate::units::slot::Day;
use crate::units::{ByteCount, Timestamp};

/// What each spender of a kind has spent, found in parts: [`Self::look`] is called until it returns true, and others can change the table in
/// between. What changes meanwhile counts as it was or as it is. [`Self::sum`] needs no grants, so it is called without the lock.
#[derive(Debug)]
pub struct SpenderWalk {
    kind: SpenderKind,
    since: Option<Timestamp>,
    /// The first day of an earlier period, if the sums are those of that.
    past: Option<Day>,
    grants: Walk,
    /// Whether all grants were looked at, or in an earlier period the sums.
    is_past_grants: bool,
    /// The last sum of what left the table that was looked at.
    last: Option<LeftKey>,
    /// One for each grant that was looked at, not yet summed.
    found: Vec<SpenderSums>,
    /// The most rows that there can be of grants. With room for all of them from the beginning, a million rows are moved nowhere.
    most: usize,
    rows: Vec<SpenderSums>,
    /// The place of each key in the rows. A hash table of the rows themselves would take three times as much memory.
    places: HashMap<Option<SpenderKey>, usize>,
}

impl SpenderWalk {
    /// Nothing is found yet. `since`: only what was spent since then, at most [`super::recent::RECENT_MAX`] before now.
    pub fn new(kind: SpenderKind, since: Option<Timestamp>) -> Self {
        let (grants, found, rows, places) = Default::default();
        Self {
            kind,
            since,
            past: None,
            grants,
            is_past_grants: false,
            last: None,
            found,
            most: 0,
            rows,
            places,
        }
    }

    /// The same of the earlier period that began at this instant.
    pub fn of_past(kind: SpenderKind, start: Timestamp) -> Self {
        Self { past: Some(Day::of(start)), ..Self::new(kind, None) }
    }

    /// Looks at the next grants. `true` if these are all.
    pub fn look(&mut self, grants: &Grants, now: Timestamp) -> bool {
        if let Some(day) = self.past {
            return self.look_at_past(grants, day);
        }
        if !self.is_past_grants {
            self.is_past_grants = self.look_at_grants(grants, now);
            return false;
        }
        if let Some(since) = self.since {
            for (spender, spent) in grants.recent_others(since, now) {
                let share = share(&spent, [since, now]).of_part();
                self.add(key_of(&spender, self.kind), &share, [false; 2]);
            }
            return true;
        }
        let day = Day::of(grants.period.start);
        let sums: Vec<_> =
            grants.left.after(day, self.kind, self.last.as_ref()).take(LOOKED_AT_ONCE).collect();
        for ((_, _, key), sums) in &sums {
            self.row_of(key.clone()).sums.add(sums);
        }
        let is_last = sums.len() < LOOKED_AT_ONCE;
        self.last = sums.last().map(|(of, _)| (*of).clone());
        is_last
    }

    /// The sums come first: what a grant adds to them meanwhile is in no row rather than in two. `true` if these are all.
    fn look_at_past(&mut self, grants: &Grants, day: Day) -> bool {
        if !std::mem::replace(&mut self.is_past_grants, true) {
            for ((_, _, key), sums) in grants.left.of_past(day, self.kind) {
                self.row_of(key.clone()).sums.add(sums);
            }
            return false;
        }
        let rows = self.grants.next(&grants.rows, LOOKED_AT_ONCE);
        let is_last = rows.len() < LOOKED_AT_ONCE;
        let rows = rows.into_iter().map(|(_, row)| row);
        for row in rows.filter(|row| row.figures_since == day && row.source.is_metered()) {
            let key = grants.terms.key(row, self.kind);
            self.add(key, &grants.terms.share(row, &row.spent()), [false; 2]);
        }
        is_last
    }

    /// `true` if these are all.
    fn look_at_grants(&mut self, grants: &Grants, now: Timestamp) -> bool {
        self.most = grants.row_count();
        let (rows, is_last) = grants.next_metered(&mut self.grants, self.since);
        for (id, row) in rows {
            let spent = grants.spent_since(id, row, self.since, now);
            let seen = [row.issued_at, row.issued_at.max(spent.seen_at())];
            let is_live = !row.has_ended();
            let live = [is_live, is_live && row.extra().revoked_at.is_none()];
            self.add(grants.terms.key(row, self.kind), &share(&spent, seen), live);
        }
        is_last
    }

    fn add(&mut self, key: Option<SpenderKey>, share: &Sums, [is_live, is_usable]: [bool; 2]) {
        if self.since.is_none() || share.bytes() > ByteCount::ZERO {
            self.found.push(SpenderSums {
                key,
                sums: *share,
                live: is_live.into(),
                usable: is_usable.into(),
            });
        }
    }

    /// Sums what was found since the last call.
    pub fn sum(&mut self) {
        if self.rows.is_empty() {
            self.rows.reserve(self.most);
            self.places.reserve(self.most);
        }
        let mut found = std::mem::take(&mut self.found);
        for found in found.drain(..) {
            let row = self.row_of(found.key);
            row.sums.add(&found.sums);
            row.live = row.live.saturating_add(found.live);
            row.usable = row.usable.saturating_add(found.usable);
        }
        self.found = found;
    }

    fn row_of(&mut self, key: Option<SpenderKey>) -> &mut SpenderSums {
        let place = match self.places.entry(key) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(entry) => {
                self.rows.push(SpenderSums { key: entry.key().clone(), ..SpenderSums::default() });
                *entry.insert(self.rows.len().saturating_sub(1))
            }
        };
        &mut self.rows[place]
    }

    /// The rows that were found, in no order. `period`: what the period's rows add up to.
    pub fn rows(mut self, period: &PeriodBytes) -> Vec<SpenderSums> {
        self.sum();
        let Self { mut rows, places, since, .. } = self;
        let rest = places.get(&None).map(|place| rows.swap_remove(*place)).unwrap_or_default();
        if since.is_some() {
            rows.push(rest);
        } else {
            fit(&mut rows, rest, period);
        }
        rows.retain(|row| !row.sums.is_empty());
        rows
    }
}

/// Lets the rows add up to the bytes of the period, with the row without a key. `rest`: what grants without a key have.
fn fit(rows: &mut Vec<SpenderSums>, mut rest: SpenderSums, period: &PeriodBytes) {
    let mut all = rest.sums;
    for row in &*rows {
        all.add(&row.sums);
    }
    let mut keyed = [ByteCount::ZERO; 2];
    for row in &mut *rows {
        row.sums = row.sums.within(&all, period);
        keyed = [keyed[0].plus(row.sums.measured()), keyed[1].plus(row.sums.bytes())];
    }
    rest.sums = rest.sums.as_rest(&all, keyed, period);
    if rest.sums.bytes() > ByteCount::ZERO {
        rows.push(rest);
    }
}

fn share(spent: &Spent, seen: [Timestamp; 2]) -> Sums {
    Sums::of_grant([spent.measured(), spent.claimed(), ByteCount::ZERO], seen)
}

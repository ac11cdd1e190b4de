//! Who spends, summed over the rows in parts. Tests: `src/books/spending/tests`.
//! The sums of this period are those of all grants in the table, and of what left it. The row without a key is what the others leave of
//! the period's bytes, so the rows of a kind add up to these.

use std::collections::HashMap;

use super::Grants;
use super::listing::LOOKED_AT_ONCE;
use super::spent::Spent;
use super::terms::key_of;
use crate::shards::Walk;
use crate::spenders::key::{SpenderKey, SpenderKind};
use crate::spenders::left::LeftKey;
use crate::spenders::listing::SpenderSums;
use crate::spenders::sums::{PeriodBytes, Sums};
use crate::token::GrantId;
use crate::units::slot::Day;
use crate::units::{ByteCount, Timestamp};

/// What each spender of a kind has spent, found in parts: [`Self::look`] is called until it returns true, and others can change the table in
/// between. What changes meanwhile counts as it was or as it is.
#[derive(Debug)]
pub struct SpenderWalk {
    kind: SpenderKind,
    since: Option<Timestamp>,
    /// The first day of an earlier period, if the sums are those of that.
    past: Option<Day>,
    grants: Walk<GrantId>,
    /// Whether all grants were looked at, or in an earlier period the sums.
    is_past_grants: bool,
    /// The last sum of what left the table that was looked at.
    last: Option<LeftKey>,
    /// Without their keys.
    rows: HashMap<Option<SpenderKey>, SpenderSums>,
}

impl SpenderWalk {
    /// Nothing is found yet. `since`: only what was spent since then, at most [`super::recent::RECENT_MAX`] before now.
    pub fn new(kind: SpenderKind, since: Option<Timestamp>) -> Self {
        let (grants, rows) = (Walk::default(), HashMap::new());
        Self { kind, since, past: None, grants, is_past_grants: false, last: None, rows }
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
            self.rows.entry(key.clone()).or_default().sums.add(sums);
        }
        let is_last = sums.len() < LOOKED_AT_ONCE;
        self.last = sums.last().map(|(of, _)| (*of).clone());
        is_last
    }

    /// The sums come first: what a grant adds to them meanwhile is in no row rather than in two. `true` if these are all.
    fn look_at_past(&mut self, grants: &Grants, day: Day) -> bool {
        if !std::mem::replace(&mut self.is_past_grants, true) {
            for ((_, _, key), sums) in grants.left.of_past(day, self.kind) {
                self.rows.entry(key.clone()).or_default().sums.add(sums);
            }
            return false;
        }
        let ids = self.grants.next(&grants.rows, LOOKED_AT_ONCE);
        let rows = ids.iter().filter_map(|id| grants.rows.get(id));
        for row in rows.filter(|row| row.figures_since == day && row.source.is_metered()) {
            let key = grants.terms.key(row, self.kind);
            self.add(key, &grants.terms.share(row, &row.spent()), [false; 2]);
        }
        ids.len() < LOOKED_AT_ONCE
    }

    /// `true` if these are all.
    fn look_at_grants(&mut self, grants: &Grants, now: Timestamp) -> bool {
        let ids = match self.since {
            Some(_) => grants.next_recent(&mut self.grants, LOOKED_AT_ONCE),
            None => self.grants.next(&grants.rows, LOOKED_AT_ONCE),
        };
        for id in &ids {
            let Some(row) = grants.any(*id).filter(|row| row.source.is_metered()) else { continue };
            let spent = grants.spent_since(*id, row, self.since, now);
            let seen = [row.issued_at, row.issued_at.max(spent.seen_at())];
            let is_live = !row.has_ended();
            let live = [is_live, is_live && row.extra().revoked_at.is_none()];
            self.add(grants.terms.key(row, self.kind), &share(&spent, seen), live);
        }
        ids.len() < LOOKED_AT_ONCE
    }

    fn add(&mut self, key: Option<SpenderKey>, share: &Sums, [is_live, is_usable]: [bool; 2]) {
        if self.since.is_some() && share.bytes() == ByteCount::ZERO {
            return;
        }
        let row = self.rows.entry(key).or_default();
        row.sums.add(share);
        row.live = row.live.saturating_add(is_live.into());
        row.usable = row.usable.saturating_add(is_usable.into());
    }

    /// The rows that were found, in no order. `period`: what the period's rows add up to.
    pub fn rows(mut self, period: &PeriodBytes) -> Vec<SpenderSums> {
        if self.since.is_none() {
            self.fit(period);
        }
        let found = self.rows.into_iter().filter(|(_, row)| !row.sums.is_empty());
        found.map(|(key, row)| SpenderSums { key, ..row }).collect()
    }

    /// Lets the rows add up to the bytes of the period.
    fn fit(&mut self, period: &PeriodBytes) {
        let mut all = Sums::default();
        self.rows.values().for_each(|row| all.add(&row.sums));
        let mut rest = self.rows.remove(&None).unwrap_or_default();
        let mut keyed = [ByteCount::ZERO; 2];
        for row in self.rows.values_mut() {
            row.sums = row.sums.within(&all, period);
            keyed = [keyed[0].plus(row.sums.measured()), keyed[1].plus(row.sums.bytes())];
        }
        rest.sums = rest.sums.as_rest(&all, keyed, period);
        if rest.sums.bytes() > ByteCount::ZERO {
            self.rows.insert(None, rest);
        }
    }
}

fn share(spent: &Spent, seen: [Timestamp; 2]) -> Sums {
    Sums::of_grant([spent.measured(), spent.claimed(), ByteCount::ZERO], seen)
}

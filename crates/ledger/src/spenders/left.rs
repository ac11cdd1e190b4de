//! The sums of what left the table of grants, and of connections without a grant, by who spent it.
//! Tests: `src/books/spending/tests/left.rs`.
//! They are sums of one period, whose first day is in their keys. Those of an earlier one are forgotten in steps. When the map is full, the
//! smallest sums join those without a key. The sums of server keys stay, because each of them counts, and with a limit for each user those
//! of users.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::key::{Keys, SpenderKey, SpenderKind};
use super::sums::Sums;
use crate::dirty::{Dirty, Rows};
use crate::units::slot::Day;

/// The part of a full map that makes room at once, so that it is rarely looked through.
const FOLDED_AT_ONCE: usize = 16;

/// The first day of the period, and who has spent; `None`: somebody without a name, or whose sums made room.
pub type LeftKey = (Day, SpenderKind, Option<SpenderKey>);

/// See the module's description.
#[derive(Debug, Default)]
pub struct LeftSums {
    rows: BTreeMap<LeftKey, Sums>,
    most: usize,
    keeps_users: bool,
    folded: u64,
    dirty: Dirty<LeftKey>,
}

impl LeftSums {
    /// No sums; of at most `most` keys, beside those of users if these stay.
    pub(crate) fn new(most: usize, keeps_users: bool) -> Self {
        Self { most, keeps_users, ..Self::default() }
    }

    /// Restores the stored sums. From here on, changes are recorded.
    pub(crate) fn restore(&mut self, rows: BTreeMap<LeftKey, Sums>) {
        self.rows = rows;
    }

    /// Stored sums that have changed since the last call; `None` for one that is gone.
    pub(crate) fn take_changes(&mut self) -> Rows<LeftKey, Sums> {
        let changed = self.dirty.take().into_keys();
        changed.map(|of| (of.clone(), self.rows.get(&of).copied())).collect()
    }

    /// Adds a share in the period that begins on this day.
    pub(crate) fn add(&mut self, first_day: Day, keys: Keys, share: &Sums) {
        for (kind, key) in SpenderKind::ALL.into_iter().zip(keys) {
            let of = (first_day, kind, key);
            if self.rows.len() >= self.most && !self.rows.contains_key(&of) {
                self.make_room();
            }
            self.add_to(of, share);
        }
    }

    fn add_to(&mut self, of: LeftKey, share: &Sums) {
        self.rows.entry(of.clone()).or_default().add(share);
        self.dirty.note(of);
    }

    /// Lets the smallest sums join those without a key.
    fn make_room(&mut self) {
        let stays = |kind| kind == SpenderKind::Key || self.keeps_users && kind == SpenderKind::User;
        let may_fold = |kind, key: &Option<_>| key.is_some() && !stays(kind);
        let keyed = self.rows.iter().filter(|((_, kind, key), _)| may_fold(*kind, key));
        let mut smallest: Vec<_> = keyed.map(|(of, sums)| (sums.bytes(), of.clone())).collect();
        let count = self.most.checked_div(FOLDED_AT_ONCE).unwrap_or(0).max(1);
        if smallest.len() > count {
            smallest.select_nth_unstable(count);
            smallest.truncate(count);
        }
        for (_, of) in smallest {
            self.unname_one(of);
            self.folded = self.folded.saturating_add(1);
        }
    }

    /// Lets the sums of these names join those without a name.
    pub(crate) fn unname(&mut self, names: &BTreeSet<SpenderKey>) {
        let has_name = |(_, _, key): &&LeftKey| key.as_ref().is_some_and(|key| names.contains(key));
        for of in self.rows.keys().filter(has_name).cloned().collect::<Vec<_>>() {
            self.unname_one(of);
        }
    }

    fn unname_one(&mut self, of: LeftKey) {
        if let Some(sums) = self.rows.remove(&of) {
            self.add_to((of.0, of.1, None), &sums);
            self.dirty.note_removed(of);
        }
    }

    /// Forgets at most `most` sums of periods that began before this day. `false` if there are more.
    pub(crate) fn forget_before(&mut self, first_day: Day, most: usize) -> bool {
        for _ in 0..most {
            let Some(old) = self.rows.first_entry().filter(|old| old.key().0 < first_day) else {
                return true;
            };
            self.dirty.note_removed(old.remove_entry().0);
        }
        false
    }

    /// The sums of a kind in the period that begins on this day, after this key.
    pub(crate) fn after(
        &self,
        first_day: Day,
        kind: SpenderKind,
        last: Option<&LeftKey>,
    ) -> impl Iterator<Item = (&LeftKey, &Sums)> {
        let first = (first_day, kind, None);
        let begin = last.map_or(Bound::Included(first), |last| Bound::Excluded(last.clone()));
        let sums = self.rows.range((begin, Bound::Unbounded));
        sums.take_while(move |((day, of, _), _)| (*day, *of) == (first_day, kind))
    }

    /// How many sums there are, and how many made room since the start of the process.
    pub fn counts(&self) -> (usize, u64) {
        (self.rows.len(), self.folded)
    }
}

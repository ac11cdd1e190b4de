//! The sums of what left the table of grants, and of connections without a grant, by who spent it.
//! Tests: `src/books/spending/tests/left.rs`.
//! Each sum is of one period, whose first day is in its key. When the map is full, the smallest sums join the rest of their kind: the
//! sum without a spender. The sums of server keys never do, and those of users do not if each user has a limit: a restart reads from them
//! how much of each limit is used.
//!
//! After a period its sums by user, label and server key are kept for twelve more periods: the [`PAST_SUMS_MAX`] largest of each kind, and
//! the rest. The sums of the other kinds are removed in steps.

use std::collections::btree_map::OccupiedEntry;
use std::ops::Bound;

use super::{Keys, SpenderKey, Sums};
use crate::person::{NamesPerson, Person};
use crate::prelude::*;

/// One in this many of the sums joins the rest at once, so that a full map is rarely looked through.
const FOLDED_AT_ONCE: usize = 16;

/// The most sums of a kind that are kept of an earlier period, beside the rest.
pub const PAST_SUMS_MAX: usize = 10_000;

/// The twelve periods before a period begin at most this many days before it.
const PAST_DAYS: i64 = 366;

/// The first day of the period, the kind of name, and who has spent; `None`: somebody without such a name, or whose sums made room.
pub type LeftKey = (Day, SpenderKind, Option<SpenderKey>);

/// See the module's description.
#[derive(Debug, Default)]
pub struct LeftSums {
    /// The present sums: those of this period, and those of an earlier one until [`Self::begin`] has taken them out.
    rows: BTreeMap<LeftKey, Sums>,
    /// The sums of earlier periods.
    past: BTreeMap<LeftKey, Sums>,
    /// How many of `past` have a spender, by first day and kind.
    past_counts: BTreeMap<(Day, SpenderKind), usize>,
    /// The most present sums.
    most: usize,
    /// The most sums of a kind in one earlier period, beside the rest.
    past_most: usize,
    /// Whether sums of users never join the rest.
    keeps_users: bool,
    /// How many sums have joined the rest since the start of the process.
    joined: u64,
    dirty: Dirty<LeftKey>,
}

impl LeftSums {
    /// No sums; at most `most`, unless too many of them never join the rest. `keeps_users`: whether those of users never do.
    pub(crate) fn new(most: usize, keeps_users: bool) -> Self {
        Self { most, keeps_users, past_most: PAST_SUMS_MAX.min(most), ..Self::default() }
    }

    /// Restores the stored sums in the period that begins on this day. From here on, changes are recorded.
    pub(crate) fn restore(&mut self, rows: BTreeMap<LeftKey, Sums>, first_day: Day) {
        let is_past = |(day, kind, _): &LeftKey| *day < first_day && kind.is_kept();
        (self.past, self.rows) = rows.into_iter().partition(|(of, _)| is_past(of));
        for (day, kind, _) in self.past.keys().filter(|(_, _, key)| key.is_some()) {
            let count = self.past_counts.entry((*day, *kind)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Stored sums that have changed since the last call; `None` for one that was removed.
    pub(crate) fn take_changes(&mut self) -> Rows<LeftKey, Sums> {
        let changed = self.dirty.take().into_keys();
        changed.map(|of| (of.clone(), self.rows.get(&of).or_else(|| self.past.get(&of)).copied())).collect()
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

    /// Lets the smallest sums join the rest.
    fn make_room(&mut self) {
        let stays = |kind| kind == SpenderKind::Key || self.keeps_users && kind == SpenderKind::User;
        let may_join = |kind, key: &Option<_>| key.is_some() && !stays(kind);
        let candidates = self.rows.iter().filter(|((_, kind, key), _)| may_join(*kind, key));
        let mut smallest: Vec<_> = candidates.map(|(of, sums)| (sums.bytes(), of.clone())).collect();
        let count = self.most.checked_div(FOLDED_AT_ONCE).unwrap_or(0).max(1);
        if smallest.len() > count {
            smallest.select_nth_unstable(count);
            smallest.truncate(count);
        }
        for (_, of) in smallest {
            self.join_rest(of);
            self.joined = self.joined.saturating_add(1);
        }
    }

    /// Adds to the sums of an earlier period, which began on this day.
    pub(crate) fn add_past(&mut self, first_day: Day, keys: Keys, share: &Sums) {
        for (kind, key) in SpenderKind::ALL.into_iter().zip(keys).filter(|(kind, _)| kind.is_kept()) {
            self.add_past_to((first_day, kind, key), share);
        }
    }

    fn add_past_to(&mut self, of: LeftKey, share: &Sums) {
        // A sum that is still among the present ones stays there: `take_changes` looks there first.
        if self.rows.contains_key(&of) {
            return self.add_to(of, share);
        }
        let (day, kind, has_name) = (of.0, of.1, of.2.is_some());
        if has_name && !self.past.contains_key(&of) {
            if self.past_counts.get(&(day, kind)).is_some_and(|count| *count >= self.past_most) {
                self.make_past_room(day, kind);
            }
            let count = self.past_counts.entry((day, kind)).or_default();
            *count = count.saturating_add(1);
        }
        self.past.entry(of.clone()).or_default().add(share);
        self.dirty.note(of);
    }

    /// Lets the smallest sums of a kind in an earlier period join its rest.
    fn make_past_room(&mut self, day: Day, kind: SpenderKind) {
        let all = self
            .past
            .range((day, kind, None)..)
            .take_while(|((of_day, of, _), _)| (*of_day, *of) == (day, kind));
        // The rest comes first and is skipped. Without a rest, the first sum stays.
        let mut smallest: Vec<_> = all.skip(1).map(|(of, sums)| (sums.bytes(), of.clone())).collect();
        smallest.sort_unstable();
        smallest.truncate(smallest.len().checked_div(FOLDED_AT_ONCE).unwrap_or(0).max(1));
        for (_, of) in smallest {
            self.join_rest(of);
        }
    }

    /// Removes a sum of an earlier period.
    fn remove_past(&mut self, of: &LeftKey) -> Option<Sums> {
        let sums = self.past.remove(of)?;
        let (day, kind, key) = of;
        if key.is_some()
            && let Some(count) = self.past_counts.get_mut(&(*day, *kind))
        {
            *count = count.saturating_sub(1);
        }
        self.dirty.note_removed(of.clone());
        Some(sums)
    }

    /// Lets one sum join the rest of its kind and period.
    fn join_rest(&mut self, of: LeftKey) {
        let rest = (of.0, of.1, None);
        if let Some(sums) = self.rows.remove(&of) {
            self.add_to(rest, &sums);
            self.dirty.note_removed(of);
        } else if let Some(sums) = self.remove_past(&of) {
            self.add_past_to(rest, &sums);
        }
    }

    /// Begins the period of this day, in at most `most` steps for each call: takes the sums of earlier periods out of the present ones,
    /// then removes those that are too old. `false` if some are left.
    pub(crate) fn begin(&mut self, first_day: Day, most: usize) -> bool {
        let oldest = Day::new(first_day.number().saturating_sub(PAST_DAYS));
        for _ in 0..most {
            let ended = self.rows.first_entry().filter(|old| old.key().0 < first_day);
            if let Some(((day, kind, key), sums)) = ended.map(OccupiedEntry::remove_entry) {
                if kind.is_kept() {
                    self.add_past_to((day, kind, key), &sums);
                } else {
                    self.dirty.note_removed((day, kind, key));
                }
                continue;
            }
            let too_old = self.past.first_key_value().map(|(of, _)| of.clone());
            let Some(too_old) = too_old.filter(|(day, ..)| *day < oldest) else {
                self.past_counts.retain(|(day, _), _| *day >= oldest);
                return true;
            };
            self.remove_past(&too_old);
        }
        false
    }

    /// The sums of a kind in an earlier period, which began on this day.
    pub(crate) fn of_past(&self, first: Day, kind: SpenderKind) -> impl Iterator<Item = (&LeftKey, &Sums)> {
        let is_of = move |((day, of, _), _): &(&LeftKey, &Sums)| (*day, *of) == (first, kind);
        let past = self.past.range((first, kind, None)..).take_while(is_of);
        past.chain(self.after(first, kind, None))
    }

    /// The present sums of a kind in the period that begins on this day, after the key `last`.
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

    /// How many present sums there are, and how many have joined the rest since the start of the process because there were too many.
    pub fn counts(&self) -> (usize, u64) {
        (self.rows.len(), self.joined)
    }
}

impl NamesPerson for LeftSums {
    /// Lets the sums of these names join the rest.
    fn forget(&mut self, who: &mut Person) {
        let has_name = |(_, _, key): &&LeftKey| key.as_ref().is_some_and(|key| who.names.contains(key));
        for of in self.rows.keys().chain(self.past.keys()).filter(has_name).cloned().collect::<Vec<_>>() {
            self.join_rest(of);
        }
    }
}

//! The sums of this period by who spends. Tests: `src/books/spending/tests`.
//! There is a table for each kind, with a row for each user, label, origin, client address and call, and one row for the rest. A grant's
//! share is in one row of each table and changes with the grant's figures, so the rows of a kind always add up to the shares of all grants
//! that have begun anew since the reset. A sum stays exact after its grant has left the table.
//!
//! The rest is what names no key of that kind, and keys without a row. A table is bounded: when it is full, the idle rows with the
//! fewest bytes, and of those the ones that were seen first, go into the rest. A row is idle without live grants. With a limit for
//! each user, the row of a user with bytes or promises stays, and a new user is refused. Otherwise a user whose row was removed
//! could use the whole limit again. What is promised for a credential that is being made keeps its user's row, so two users never
//! get the same free one. A new key whose address holds its part of the table goes into the rest ([`HeldRows`]).
//!
//! What will not change any more is kept and stored by UTC day: the shares of grants that have left the table, and those of periods
//! that are over. So another billing day only changes which days a sum has. A start computes the rest from the grants' rows.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod held;
pub(crate) mod key;
pub(crate) mod listing;
pub(crate) mod promised;
pub(crate) mod sums;
pub(crate) mod terms;
pub(crate) mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clients::{AddressKey, Holder};
use crate::dirty::{Dirty, Rows};
use crate::shards::Shards;
use crate::spender::Spender;
use crate::units::slot::{Day, Minute};
use crate::units::{ByteCount, Timestamp};

use held::HeldRows;
use key::{Keys, SpenderKey, SpenderKind};
use promised::PromisedMinutes;
use sums::Sums;
use terms::SpenderTerms;

/// The part of a full table's rows that make room at once, so that the table is rarely looked through.
const FOLDED_AT_ONCE: usize = 16;

/// The key of a stored row: `None` is the rest.
pub type RowKey = (SpenderKind, Option<SpenderKey>, Day);

/// No period is longer, whatever the billing day.
const PERIOD_DAYS_MAX: i64 = 31;

/// The sums of one key, or of the rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpenderRow {
    /// Of all grants in this period.
    total: Sums,
    /// For how many days its table keeps a share of it.
    days: u32,
    /// Where this user's grants may relay; for a limit of each user.
    promised: PromisedMinutes,
    live: i64,
    /// The address that the row counts for while a grant is live.
    held_by: Option<AddressKey>,
    /// What the last grant of this user says of who spends, while one is live.
    last: Option<Arc<Spender>>,
}

impl SpenderRow {
    /// Adds the share of a grant. `live`: 1 for a live one.
    pub(crate) fn add(&mut self, share: &Sums, live: i64) {
        self.total.add(share);
        self.change_live(live);
    }

    /// Reverses [`Self::add`].
    pub(crate) fn remove(&mut self, share: &Sums, live: i64) {
        self.total.remove(share);
        self.change_live(live.saturating_neg());
    }

    /// Changes the number of live grants.
    pub(crate) fn change_live(&mut self, by: i64) {
        self.live = self.live.saturating_add(by);
        self.last.take_if(|_| self.live <= 0);
    }

    /// Begins a period. What was promised stays. The grants are counted again when their rows begin anew.
    fn begin(&mut self) {
        (self.total, self.live, self.held_by) = (Sums::default(), 0, None);
    }

    /// The bytes that must not be forgotten.
    fn weight(&self) -> ByteCount {
        self.total.bytes().max(self.total.settled())
    }

    /// Whether the row may make room for another one. `keeps_bytes`: not with bytes.
    fn is_idle(&self, keeps_bytes: bool) -> bool {
        let is_in_use = self.live > 0 || !self.promised.is_empty();
        let is_kept = keeps_bytes && self.weight() > ByteCount::ZERO;
        !is_in_use && !is_kept
    }

    fn is_empty(&self) -> bool {
        self.is_idle(false) && self.days == 0 && self.total.is_empty()
    }
}

/// The rows of one kind.
#[derive(Debug, Default)]
struct Table {
    rows: Shards<SpenderKey, SpenderRow>,
    rest: SpenderRow,
    /// The shares that will not change any more, by day; `None`: of the rest. Those of this period are part of the totals.
    kept: BTreeMap<DayKey, Sums>,
    most: usize,
    held: HeldRows,
    /// Whether a row with bytes must stay.
    keeps_bytes: bool,
    /// Whether a row may have become idle since all of them were last looked through.
    may_fold: bool,
    /// How many keys gave up their row in this period.
    folded: u64,
    /// Kept shares that have changed.
    dirty: Dirty<DayKey>,
}

type DayKey = (Day, Option<SpenderKey>);

impl Table {
    /// Gives a key a row, if there is room and its holder may have one more, and changes it.
    fn add(&mut self, key: Option<&SpenderKey>, holder: Holder<'_>, change: impl FnOnce(&mut SpenderRow)) {
        let is_new = |key: &&SpenderKey| !self.rows.contains_key(key) && !self.held.is_full(holder);
        if let Some(key) = key.filter(is_new)
            && self.has_room()
        {
            self.rows.insert(key.clone(), SpenderRow::default());
        }
        self.change(key, change);
        let row = key.and_then(|key| self.rows.get_mut(key));
        if let Some(row) = row.filter(|row| row.live > 0 && row.held_by.is_none()) {
            row.held_by = self.held.add(holder);
        }
    }

    /// Changes the row of a key, or the rest if the key has none.
    fn change(&mut self, key: Option<&SpenderKey>, change: impl FnOnce(&mut SpenderRow)) {
        match key.and_then(|key| self.rows.get_mut(key)) {
            Some(row) => {
                change(row);
                if let Some(holder) = row.held_by.take_if(|_| row.live <= 0) {
                    self.held.remove(holder);
                }
                self.may_fold |= row.is_idle(self.keeps_bytes);
            }
            None => change(&mut self.rest),
        }
    }

    /// A share will not change any more, and is stored from now on.
    fn keep(&mut self, key: Option<&SpenderKey>, day: Day, share: &Sums) {
        let of = (day, key.filter(|key| self.rows.contains_key(key)).cloned());
        let is_new = !self.kept.contains_key(&of);
        self.change(key, |row| row.days = row.days.saturating_add(is_new.into()));
        self.kept.entry(of.clone()).or_default().add(share);
        self.dirty.note(of);
    }

    /// Whether there is room for another row, after idle rows have made room.
    fn has_room(&mut self) -> bool {
        if self.rows.len() < self.most {
            return true;
        }
        if !std::mem::take(&mut self.may_fold) {
            return false;
        }
        let idle = self.rows.iter().filter(|(_, row)| row.is_idle(self.keeps_bytes));
        let mut idle: Vec<_> =
            idle.map(|(key, row)| ((row.weight(), row.total.last_seen), key.clone())).collect();
        let count = self.most.checked_div(FOLDED_AT_ONCE).unwrap_or(0).max(1);
        if idle.len() > count {
            idle.select_nth_unstable(count);
            idle.truncate(count);
        }
        self.may_fold = !idle.is_empty();
        for (_, key) in idle {
            self.fold(&key);
        }
        self.may_fold
    }

    /// Moves a row into the rest.
    fn fold(&mut self, key: &SpenderKey) {
        let Some(row) = self.rows.remove(key) else { return };
        self.rest.total.add(&row.total);
        self.folded = self.folded.saturating_add(1);
        let number = |kept: Option<(&DayKey, _)>| kept.map_or(0, |((day, _), _)| day.number());
        let (first, last) = (number(self.kept.first_key_value()), number(self.kept.last_key_value()));
        let mut left = row.days;
        for day in (first..=last).rev().map(Day::new) {
            if left == 0 {
                return;
            }
            let of = (day, Some(key.clone()));
            if let Some(kept) = self.kept.remove(&of) {
                self.keep(None, day, &kept);
                self.dirty.note_removed(of);
                left = left.saturating_sub(1);
            }
        }
    }

    fn begin(&mut self, first: &DayKey) {
        self.rest.begin();
        self.held.clear();
        self.rows.iter_mut().for_each(|(_, row)| row.begin());
        for ((_, key), sums) in self.kept.range(first..) {
            let row = key.as_ref().map_or(Some(&mut self.rest), |key| self.rows.get_mut(key));
            if let Some(row) = row {
                row.total.add(sums);
            }
        }
        (self.folded, self.may_fold) = (0, true);
    }

    fn forget_empty(&mut self) {
        self.rows.retain(|row| !row.is_empty());
    }

    /// Forgets a share of a day before this one. `false`: there is none.
    fn forget_before(&mut self, first: Day) -> bool {
        let Some(old) = self.kept.first_entry().filter(|old| old.key().0 < first) else { return false };
        let (of, _) = old.remove_entry();
        self.change(of.1.as_ref(), |row| row.days = row.days.saturating_sub(1));
        if let Some(key) = of.1.as_ref().filter(|key| self.rows.get(key).is_some_and(SpenderRow::is_empty)) {
            self.rows.remove(key);
        }
        self.dirty.note_removed(of);
        true
    }
}

/// See the module's invariant.
#[derive(Debug, Default)]
pub struct Spenders {
    tables: [Table; SpenderKind::ALL.len()],
    /// The shares of all grants.
    all: SpenderRow,
    /// When the promises of all users were last looked through.
    swept_at: Minute,
}

impl Spenders {
    /// No sums.
    pub(crate) fn new(terms: &SpenderTerms) -> Self {
        let table = |kind| {
            let is_user = kind == SpenderKind::User;
            let most = if is_user { terms.users_max } else { terms.others_max };
            let held = if is_user { HeldRows::default() } else { HeldRows::of(most) };
            Table { most, held, keeps_bytes: is_user && terms.user_limit.is_some(), ..Table::default() }
        };
        Self { tables: SpenderKind::ALL.map(table), ..Self::default() }
    }

    /// Restores the stored shares. From here on, changes are recorded. `start`: of this period.
    pub(crate) fn restore(&mut self, stored: BTreeMap<RowKey, Sums>, start: Timestamp) {
        for ((kind, key, day), sums) in stored {
            let in_period = if day < Day::of(start) { Sums::default() } else { sums };
            if kind == SpenderKind::User {
                self.all.add(&in_period, 0);
            }
            let table = self.table_mut(kind);
            table.add(key.as_ref(), Holder::default(), |row| row.add(&in_period, 0));
            table.keep(key.as_ref(), day, &sums);
        }
        for table in &mut self.tables {
            table.dirty = Dirty::default();
        }
    }

    /// Stored shares that have changed since the last call; `None` for a row that is gone.
    pub(crate) fn take_changes(&mut self) -> Rows<RowKey, Sums> {
        let mut changes = Rows::new();
        for (kind, table) in SpenderKind::ALL.into_iter().zip(&mut self.tables) {
            for of in table.dirty.take().into_keys() {
                let stored = table.kept.get(&of).copied();
                changes.insert((kind, of.1, of.0), stored);
            }
        }
        changes
    }

    /// Begins a period: nothing has been spent in it.
    pub(crate) fn begin(&mut self, start: Timestamp) {
        let first = (Day::of(start), None);
        self.tables.iter_mut().for_each(|table| table.begin(&first));
        self.all = SpenderRow::default();
        let users = of_kind(SpenderKind::User, self.tables.each_ref());
        users.kept.range(first..).for_each(|(_, sums)| self.all.total.add(sums));
    }

    /// Forgets the rows that say nothing. At a reset they stay until all grants have begun anew, which may keep a share in them.
    pub(crate) fn forget_empty(&mut self) {
        self.tables.iter_mut().for_each(Table::forget_empty);
    }

    /// Forgets the shares of days that no period has any more, at most `most` of each kind. `false` if there are more.
    pub(crate) fn forget_old(&mut self, now: Timestamp, most: usize) -> bool {
        let first = Day::new(Day::of(now).number().saturating_sub(PERIOD_DAYS_MAX));
        self.tables.iter_mut().all(|table| (0..most).any(|_| !table.forget_before(first)))
    }

    /// Adds the share of a grant of this holder to the sums of everybody with these keys. `live`: 1 for a live one.
    pub(crate) fn add(&mut self, keys: &Keys, holder: Holder<'_>, share: &Sums, live: i64) {
        self.all.add(share, live);
        for (table, key) in self.tables.iter_mut().zip(keys) {
            table.add(key.as_ref(), holder, |row| row.add(share, live));
        }
    }

    /// Replaces what a grant says of who spends by the same value of its user's last grant, so that both share its memory.
    pub(crate) fn share(&mut self, spender: &mut Arc<Spender>) {
        let key = spender.user.clone().map(SpenderKey::User);
        let Some(row) = key.and_then(|key| self.table_mut(SpenderKind::User).rows.get_mut(&key)) else {
            return;
        };
        match row.last.as_ref().filter(|last| *last == spender) {
            Some(last) => *spender = Arc::clone(last),
            None => row.last = Some(Arc::clone(spender)),
        }
    }

    /// Changes the sums of everybody with these keys.
    pub(crate) fn change(&mut self, keys: &Keys, change: impl Fn(&mut SpenderRow)) {
        change(&mut self.all);
        for (table, key) in self.tables.iter_mut().zip(keys) {
            table.change(key.as_ref(), &change);
        }
    }

    /// A share will not change any more, and is stored from now on.
    pub(crate) fn keep(&mut self, keys: &Keys, day: Day, share: &Sums) {
        for (table, key) in self.tables.iter_mut().zip(keys) {
            table.keep(key.as_ref(), day, share);
        }
    }

    fn table(&self, kind: SpenderKind) -> &Table {
        of_kind(kind, self.tables.each_ref())
    }

    fn table_mut(&mut self, kind: SpenderKind) -> &mut Table {
        of_kind(kind, self.tables.each_mut())
    }
}

/// That of a kind.
fn of_kind<T>(kind: SpenderKind, [user, label, origin, address, call]: [T; SpenderKind::ALL.len()]) -> T {
    match kind {
        SpenderKind::User => user,
        SpenderKind::Label => label,
        SpenderKind::Origin => origin,
        SpenderKind::Address => address,
        SpenderKind::Call => call,
    }
}

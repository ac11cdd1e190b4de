//! The only writer of a row. Tests: `src/grants_tests.rs`.
//! Whatever follows from a row changes with it: its entries in the indexes, the sums of its user and server key, its promise in all sums,
//! and the sums of an earlier period when the figures of the row begin anew.
//! Two fields are changed elsewhere, because nothing follows from them and they are not stored: what a grant may claim, and what a relay
//! can carry for it ([`Grants::allowances`]).

use super::indexes::Places;
use super::{GrantRow, GrantState, GrantTerms, Grants, Indexes};
use crate::prelude::*;
use crate::spending::{LeftKey, LeftSums, Limited, SpenderKey, Sums};

/// What follows from a row.
#[derive(Debug)]
pub(super) struct Derived {
    places: Places,
    /// See [`GrantRow::limited_spender`].
    spender: Option<Arc<Spender>>,
    /// What the row adds to the sums of the spender's user and server key.
    share: Sums,
    owner: CountOwner,
    client: Option<ClientKey>,
    promised: Option<PromisedTime>,
    /// The earlier promises of a session of the SFU.
    behind: Vec<PromisedTime>,
    /// The bytes that count for the limit of the client's address: those of nobody else.
    of_address: ByteCount,
}

impl Derived {
    fn of(row: &GrantRow, indexes: &Indexes, terms: &GrantTerms, period: Period) -> Self {
        let spender = row.limited_spender().cloned();
        let share = if spender.is_some() { terms.share(row, &row.spent_in(period)) } else { Sums::default() };
        Self {
            places: indexes.places(row, period),
            spender,
            share,
            owner: row.owner(),
            client: row.client,
            promised: row.promised,
            behind: row.behind().to_vec(),
            of_address: row.bytes_of_address(period),
        }
    }

    /// The promises of the row: the present one, and those of a session at earlier rates.
    pub(super) fn promises(&self) -> impl Iterator<Item = Promise> {
        let spender = self.spender.as_ref();
        let promise_for = move |time: &PromisedTime| Promise {
            owner: self.owner,
            time: *time,
            user: spender.and_then(|spender| spender.user.clone()),
            server: spender.and_then(|spender| spender.server.clone()),
            client: self.client,
        };
        self.promised.iter().chain(&self.behind).map(promise_for)
    }

    /// The promises that differ, in pairs: one that only `self` has, and one that only `after` has. Either may be missing in a pair.
    fn changed_promises(&self, after: &Self) -> Vec<[Option<Promise>; 2]> {
        // These fields decide the promises. Nearly all changes of a row leave them as they are.
        let facts = |of: &Self| (of.promised, of.owner, of.client);
        if (facts(self), &self.behind, &self.spender) == (facts(after), &after.behind, &after.spender) {
            return vec![];
        }
        let mut added: Vec<_> = after.promises().collect();
        let mut removed: Vec<_> = self.promises().collect();
        // A promise that is on both sides has not changed: it leaves both lists.
        removed.retain(|promise| {
            let same = added.iter().position(|other| other == promise);
            same.map(|at| added.swap_remove(at)).is_none()
        });
        let pairs = removed.len().max(added.len());
        let (mut removed, mut added) = (removed.into_iter(), added.into_iter());
        (0..pairs).map(|_| [removed.next(), added.next()]).collect()
    }
}

impl Grants {
    /// Changes a row, and all that follows from it. `None` if the row is not in the table.
    pub(crate) fn edit<T>(&mut self, id: GrantId, change: impl FnOnce(&mut GrantRow) -> T) -> Option<T> {
        self.edit_with(id, change, Self::replace_promise)
    }

    /// Changes the row of a live grant. `None` if the grant is not in the table or has ended.
    pub(super) fn edit_live<T>(&mut self, id: GrantId, change: impl FnOnce(&mut GrantRow) -> T) -> Option<T> {
        self.get(id)?;
        self.edit(id, change)
    }

    /// As [`Self::edit`], but `apply` decides which sums of promises change. It is called with each pair of
    /// [`Derived::changed_promises`].
    pub(super) fn edit_with<T>(
        &mut self,
        id: GrantId,
        change: impl FnOnce(&mut GrantRow) -> T,
        apply: fn(&mut Self, Option<&Promise>, Option<&Promise>),
    ) -> Option<T> {
        let (result, promises) = self.write(id, change)?;
        self.dirty.note(id);
        for [before, after] in promises {
            apply(self, before.as_ref(), after.as_ref());
        }
        Some(result)
    }

    /// Notes that the commit of a grant will not be undone any more. The row is not written again, because its state on disk is the same.
    pub(crate) fn note_written(&mut self, id: GrantId) {
        if self.get(id).is_some_and(|row| row.state == GrantState::Unwritten) {
            let _ = self.write(id, |row| row.state = GrantState::Live);
        }
    }

    /// Changes a row, its entries in the indexes and its share of the sums. If its figures begin anew, the earlier ones go to the sums of
    /// their period. Returns the result of `change`, and the promises that differ, which the caller must apply.
    fn write<T>(
        &mut self,
        id: GrantId,
        change: impl FnOnce(&mut GrantRow) -> T,
    ) -> Option<(T, Vec<[Option<Promise>; 2]>)> {
        let row = self.rows.get_mut(&id)?;
        let before = Derived::of(row, &self.indexes, &self.terms, self.period);
        let with_past_figures = if row.has_figures_of(self.period) { None } else { Some(row.clone()) };
        let result = change(row);
        let has_present_figures = row.has_figures_of(self.period);
        let after = Derived::of(row, &self.indexes, &self.terms, self.period);
        self.note(id, Some(&before), &after);
        // The figures have begun anew: without this, the earlier ones would be lost.
        if let Some(past) = with_past_figures.filter(|_| has_present_figures) {
            self.keep_past(&past);
        }
        Some((result, before.changed_promises(&after)))
    }

    /// Adds a row.
    pub(super) fn insert(&mut self, id: GrantId, row: GrantRow) {
        let derived = Derived::of(&row, &self.indexes, &self.terms, self.period);
        self.note(id, None, &derived);
        self.rows.insert(id, row);
        self.dirty.note_added(id);
        for promise in derived.promises() {
            self.replace_promise(None, Some(&promise));
        }
    }

    /// Takes a row out of the table. The caller decides what becomes of its share of the sums, of its promises and of earlier figures.
    pub(super) fn take_out(&mut self, id: GrantId) -> Option<(GrantRow, Derived)> {
        let row = self.rows.remove(&id)?;
        let derived = Derived::of(&row, &self.indexes, &self.terms, self.period);
        self.indexes.note(id, Some(&derived.places), None);
        self.recent.remove(id);
        self.chains.suspects.remove(&(row.source, id));
        self.dirty.note_removed(id);
        Some((row, derived))
    }

    /// Removes a grant as if it had never been issued: nothing stays of its promise or of its bytes in this period. `false` if it is not in
    /// the table.
    pub(crate) fn remove(&mut self, id: GrantId) -> bool {
        let Some((row, derived)) = self.take_out(id) else { return false };
        self.keep_past(&row);
        self.change_limited(derived.spender.as_deref(), &derived.share, &Sums::default());
        for promise in derived.promises() {
            self.replace_promise(Some(&promise), None);
        }
        true
    }

    /// Restores the stored rows and sums into an empty table. `restored` is called with each promise.
    pub(crate) fn restore(
        &mut self,
        mut rows: Shards<GrantId, GrantRow>,
        left: BTreeMap<LeftKey, Sums>,
        mut restored: impl FnMut(OwnedTime),
    ) {
        let mut derive = |grants: &mut Self, id: GrantId, row: &GrantRow| {
            let derived = Derived::of(row, &grants.indexes, &grants.terms, grants.period);
            grants.note(id, None, &derived);
            if let Some(client) = row.client.filter(|_| Day::of(row.issued_at) == grants.today.day()) {
                grants.today.change(client, ByteCount::ZERO, derived.of_address);
            }
            for promise in derived.promises() {
                grants.change_promised(None, Some(&promise));
                restored((promise.owner, promise.time));
            }
        };
        // Live grants come first, then the ended ones in the order of their end. No figure depends on this order.
        let mut ended = vec![];
        for (id, row) in rows.iter_mut() {
            if row.has_ended() {
                ended.push((row.over_from(), *id));
            } else {
                row.state = row.stored_state();
                derive(self, *id, row);
            }
        }
        ended.sort_unstable();
        for (_, id) in ended {
            if let Some(row) = rows.get(&id) {
                derive(self, id, row);
            }
        }
        self.rows = rows;
        self.left.restore(left, Day::of(self.period.start));
        let left_sums = std::mem::take(&mut self.left);
        self.add_left(&left_sums);
        self.left = left_sums;
    }

    /// Adds what left the table in this period to the sums of users and server keys, as far as [`GrantTerms::has_sum`] says.
    fn add_left(&mut self, left: &LeftSums) {
        let day = Day::of(self.period.start);
        let kinds = [SpenderKind::User, SpenderKind::Key].into_iter();
        for ((_, _, key), sums) in kinds.flat_map(|kind| left.after(day, kind, None)) {
            let of = match key {
                Some(SpenderKey::User(user)) => Limited::User(user.clone()),
                Some(SpenderKey::Server(name)) => Limited::Server(name.clone()),
                _ => continue,
            };
            if self.terms.has_sum(&of) {
                self.limited.change(of, None, &Sums::default(), sums);
            }
        }
    }

    /// Brings the indexes and the sums of addresses, users and server keys up to date. `before`: `None` for a new row.
    fn note(&mut self, id: GrantId, before: Option<&Derived>, after: &Derived) {
        self.indexes.note(id, before.map(|of| &of.places), Some(&after.places));
        if let (Some(before), Some(client)) = (before, after.client) {
            let counted = if before.client.is_some() { before.of_address } else { ByteCount::ZERO };
            self.today.change(client, counted, after.of_address);
        }
        let mut share_before = before.map(|of| of.share).unwrap_or_default();
        if let Some(before) = before.filter(|before| before.spender != after.spender) {
            self.change_limited(before.spender.as_deref(), &before.share, &Sums::default());
            share_before = Sums::default();
        }
        self.change_limited(after.spender.as_deref(), &share_before, &after.share);
    }

    /// The name of an index or sum that differs from what follows from the rows; `None` if there is none. Reads every row, so it is for the
    /// simulation only.
    pub fn difference(&self) -> Option<&'static str> {
        let mut anew = Self::new(self.terms.clone(), self.period);
        for (_, row) in self.rows.iter() {
            anew.change_limited(row.limited_spender().map(|of| &**of), &Sums::default(), &self.share_of(row));
        }
        anew.add_left(&self.left);
        let of_limits = (!self.limited.has_same_bytes(&anew.limited)).then_some("sums of limits");
        self.indexes.difference(self.rows.iter(), self.period).or(of_limits)
    }
}

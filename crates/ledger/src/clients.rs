//! What each client and each user holds: open connections, an allowance for claims, and in strict mode the bytes that live grants reserve.
//! Tests: `src/clients_tests.rs`.
//! A grant counts for its user, for its address, and for the group above the address ([`ClientKey::wider`]). An address has two rows: one
//! for its grants without a user, and one for its grants of users, with [`USERS_FACTOR`] times the allowances. All pages with grants of one
//! server key share an allowance for claims, which is also [`USERS_FACTOR`] times that of a client. A row exists only while it holds
//! something. Everything that is held belongs to a grant or to a reservation, so the bounds of grants and reservations are also those of
//! these tables.

use std::collections::btree_map::Entry;

use crate::allowance::{Allowance, AllowanceTerms};
use crate::prelude::*;

/// Most open connections of one client, and of one user. A group of clients has [`ClientKey::factor`] times as many, and an address with
/// grants of users [`USERS_FACTOR`] times as many for these grants.
pub const CONNECTIONS_PER_CLIENT_MAX: u32 = 256;

/// The allowances of one client, and of one user. A group has [`ClientKey::factor`] times as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTerms {
    /// The highest rate at which its claims are charged, over all its grants.
    pub claims: BitRate,
    /// The most that its live grants may reserve of a strict budget, in percent of the limit.
    pub reserved_percent: u32,
}

impl Default for ClientTerms {
    fn default() -> Self {
        Self { claims: BitRate::new(50_000_000), reserved_percent: 5 }
    }
}

#[derive(Debug, Default)]
struct ClientRow {
    claims: Allowance,
    /// Reserved bytes of live grants, by the first minute after their promises: a short sorted list.
    reserved: Vec<(Minute, u64)>,
}

impl ClientRow {
    fn is_empty(&self) -> bool {
        self.claims.open == 0 && self.reserved.is_empty()
    }

    /// Forgets the reservations that have ended by the start of `now`.
    fn forget_ended(&mut self, now: Minute) {
        self.reserved.retain(|(end, _)| *end > now);
    }
}

/// Who holds a grant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holder<'a> {
    pub(crate) client: Option<ClientKey>,
    pub(crate) user: Option<&'a User>,
    /// The server key that asked for the grant. It has an allowance for claims only.
    pub(crate) server: Option<&'a Label>,
}

/// The key of a row: whether the row is for grants of users, and its address or group. A group comes after all clients, by the order of
/// [`ClientKey`].
pub(crate) type AddressKey = (bool, ClientKey);

impl Holder<'_> {
    /// The keys of its rows: first that of its address, then that of the group, if any.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = AddressKey> {
        let is_of_users = self.user.is_some();
        self.client.into_iter().flat_map(ClientKey::with_wider).map(move |key| (is_of_users, key))
    }
}

/// The allowances of this row, as a multiple of those of one client.
pub(crate) fn factor((is_of_users, key): AddressKey) -> u32 {
    key.factor().saturating_mul(if is_of_users { USERS_FACTOR } else { 1 })
}

/// See the module's invariant.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    // `BTreeMap`s grow and shrink a little at a time, so no caller waits while a whole table is moved.
    addresses: BTreeMap<AddressKey, ClientRow>,
    users: BTreeMap<User, ClientRow>,
    servers: BTreeMap<Label, ClientRow>,
    terms: ClientTerms,
}

/// The allowances of a client, of its group, of a user and of a server key, with their terms.
pub(crate) type ClientScopes<'a> = [Option<(&'a mut Allowance, AllowanceTerms)>; 4];

impl Clients {
    pub(crate) fn new(terms: ClientTerms) -> Self {
        Self { terms, ..Self::default() }
    }

    /// The allowances of the holder of a grant. Rows that do not exist are added.
    pub(crate) fn scopes(&mut self, holder: Holder<'_>, rules: &UsageRules) -> ClientScopes<'_> {
        let claims = self.terms.claims.get();
        let terms =
            |factor: u32| AllowanceTerms::new(BitRate::new(claims.saturating_mul(factor.into())), rules);
        let user =
            holder.user.map(|user| (&mut self.users.entry(user.clone()).or_default().claims, terms(1)));
        let server = holder
            .server
            .map(|name| (&mut self.servers.entry(name.clone()).or_default().claims, terms(USERS_FACTOR)));
        for key in holder.addresses() {
            let _ = self.addresses.entry(key).or_default();
        }
        let Some(first) = holder.addresses().next() else { return [None, None, user, server] };
        let last = holder.addresses().last().unwrap_or(first);
        // One range, so that both rows are borrowed at once: its first row is the client's own, its last one the group's.
        let mut rows = self.addresses.range_mut(first..=last);
        let ends = [rows.next(), rows.next_back()];
        let [own, group] = ends.map(|row| row.map(|(key, row)| (&mut row.claims, terms(factor(*key)))));
        [own, group, user, server]
    }

    /// Whether this holder may open one more connection.
    pub(crate) fn may_open(&self, holder: Holder<'_>) -> bool {
        let has_room = |row: Option<&ClientRow>, factor: u32| {
            row.map_or(0, |row| row.claims.open) < CONNECTIONS_PER_CLIENT_MAX.saturating_mul(factor)
        };
        holder.addresses().all(|key| has_room(self.addresses.get(&key), factor(key)))
            && holder.user.is_none_or(|user| has_room(self.users.get(user), 1))
    }

    /// The share of a strict budget of a client, of its group and of a user, and what is reserved of each share.
    pub(crate) fn shares(&mut self, holder: Holder<'_>, now: Timestamp) -> [Option<ClientShare>; 3] {
        let percent = self.terms.reserved_percent;
        let share = |row: Option<&mut ClientRow>, factor: u32| {
            let percent = percent.saturating_mul(factor).min(100);
            let Some(row) = row else { return ClientShare { percent, reserved: 0, frees_at: None } };
            row.forget_ended(Minute::of(now));
            let reserved = row.reserved.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
            let frees_at = row.reserved.first().map(|(end, _)| end.start());
            ClientShare { percent, reserved, frees_at }
        };
        let mut addresses = holder.addresses();
        let mut of_address = |key| share(self.addresses.get_mut(&key), factor(key));
        let (own, group) = (addresses.next().map(&mut of_address), addresses.next().map(&mut of_address));
        [own, group, holder.user.map(|user| share(self.users.get_mut(user), 1))]
    }

    /// Reserves bytes for a client, its group and a user until `end`.
    pub(crate) fn reserve(&mut self, holder: Holder<'_>, end: Minute, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let add = |row: &mut ClientRow| {
            sorted::change(&mut row.reserved, end, |sum| *sum = sum.saturating_add(bytes));
        };
        for key in holder.addresses() {
            add(self.addresses.entry(key).or_default());
        }
        if let Some(user) = holder.user {
            add(self.users.entry(user.clone()).or_default());
        }
    }

    /// Reverses [`Self::reserve`]. Does nothing if the bytes have been forgotten since, because `end` has passed.
    pub(crate) fn release(&mut self, holder: Holder<'_>, end: Minute, bytes: u64) {
        let subtract = |sum: &mut u64| *sum = sum.saturating_sub(bytes);
        self.change(holder, |row| sorted::change(&mut row.reserved, end, subtract));
    }

    /// Forgets the reservations of this holder that have ended by `now`, and removes its rows that hold nothing any more.
    pub(crate) fn forget_idle(&mut self, holder: Holder<'_>, now: Timestamp) {
        self.change(holder, |row| row.forget_ended(Minute::of(now)));
    }

    /// Changes those rows of a holder that exist, and removes those that hold nothing any more.
    fn change(&mut self, holder: Holder<'_>, change: impl Fn(&mut ClientRow)) {
        for key in holder.addresses() {
            change_row(&mut self.addresses, key, &change);
        }
        if let Some(user) = holder.user {
            change_row(&mut self.users, user.clone(), &change);
        }
        if let Some(server) = holder.server {
            change_row(&mut self.servers, server.clone(), &change);
        }
    }

    /// How many rows addresses, groups and users have. An address or a group can have two.
    pub(crate) fn count(&self) -> usize {
        self.addresses.len().saturating_add(self.users.len())
    }
}

fn change_row<K: Ord>(rows: &mut BTreeMap<K, ClientRow>, key: K, change: impl Fn(&mut ClientRow)) {
    let Entry::Occupied(mut row) = rows.entry(key) else { return };
    change(row.get_mut());
    if row.get().is_empty() {
        row.remove();
    }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;

//! What each client holds: open connections, its allowance for claims, and in strict mode the bytes that its live grants
//! reserve. A client and the group above it ([`ClientKey::wider`]) have one row each. A row exists only while it holds
//! something. Everything that is held belongs to a grant or to a reservation, so the table is bounded by those.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::sorted;
use crate::{Allowance, AllowanceTerms, BitRate, ClientKey, ClientShare, Minute, Timestamp, UsageRules};

/// Most open connections of one client.
pub const CONNECTIONS_PER_CLIENT_MAX: u32 = 256;

/// The allowances of one client. A group has [`ClientKey::factor`] times as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTerms {
    /// The most that its claims are charged, over all its grants.
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
    /// Reserved bytes of live grants, by the minute in which they end. Few, in order.
    reserved: Vec<(Minute, u64)>,
}

impl ClientRow {
    fn is_empty(&self) -> bool {
        self.claims.open_count() == 0 && self.reserved.is_empty()
    }

    fn forget_ended(&mut self, now: Minute) {
        self.reserved.retain(|(end, _)| *end > now);
    }
}

/// See the module's invariant.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// A map that grows and shrinks a little at a time.
    rows: BTreeMap<ClientKey, ClientRow>,
    terms: ClientTerms,
}

/// A client's allowance with its terms, and that of its group.
pub(crate) type ClientScopes<'a> = [Option<(&'a mut Allowance, AllowanceTerms)>; 2];

impl Clients {
    pub(crate) fn new(terms: ClientTerms) -> Self {
        Self { rows: BTreeMap::new(), terms }
    }

    /// The allowances of a client and of its group, added if they do not exist.
    pub(crate) fn scopes(&mut self, client: ClientKey, rules: &UsageRules) -> ClientScopes<'_> {
        let claims = self.terms.claims.get();
        let terms = |key: ClientKey| {
            AllowanceTerms::new(BitRate::new(claims.saturating_mul(key.factor().into())), rules)
        };
        let Some(group) = client.wider() else {
            let row = self.rows.entry(client).or_default();
            return [Some((&mut row.claims, terms(client))), None];
        };
        for key in [client, group] {
            let _ = self.rows.entry(key).or_default();
        }
        // A group comes after its clients.
        let mut both = self.rows.range_mut(client..=group);
        let (own, wide) = (both.next(), both.next_back());
        [
            own.map(|(_, row)| (&mut row.claims, terms(client))),
            wide.map(|(_, row)| (&mut row.claims, terms(group))),
        ]
    }

    /// Whether a client may open one more connection.
    pub(crate) fn may_open(&self, client: ClientKey) -> bool {
        client.with_wider().all(|key| {
            let open = self.rows.get(&key).map_or(0, |row| row.claims.open_count());
            open < CONNECTIONS_PER_CLIENT_MAX.saturating_mul(key.factor())
        })
    }

    /// What a client and its group have reserved of a strict budget.
    pub(crate) fn shares(&mut self, client: ClientKey, now: Timestamp) -> [Option<ClientShare>; 2] {
        let percent = self.terms.reserved_percent;
        let mut share = |key: ClientKey| {
            let percent = percent.saturating_mul(key.factor()).min(100);
            let mut share = ClientShare { percent, reserved: 0, frees_at: None };
            if let Some(row) = self.rows.get_mut(&key) {
                row.forget_ended(Minute::of(now));
                share.reserved = row.reserved.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
                share.frees_at = row.reserved.first().map(|(end, _)| end.start());
            }
            share
        };
        [Some(share(client)), client.wider().map(share)]
    }

    /// Reserves bytes until `end`.
    pub(crate) fn reserve(&mut self, client: ClientKey, end: Minute, bytes: u64) {
        for key in client.with_wider().filter(|_| bytes > 0) {
            let reserved = &mut self.rows.entry(key).or_default().reserved;
            sorted::change(reserved, end, |sum| *sum = sum.saturating_add(bytes));
        }
    }

    /// Reverses [`Self::reserve`]. Does nothing if `end` has passed.
    pub(crate) fn release(&mut self, client: ClientKey, end: Minute, bytes: u64) {
        let less = |sum: &mut u64| *sum = sum.saturating_sub(bytes);
        self.change(client, |row| sorted::change(&mut row.reserved, end, less));
    }

    /// Something of a client has ended: removes its rows if they hold nothing.
    pub(crate) fn forget_idle(&mut self, client: ClientKey, now: Timestamp) {
        self.change(client, |row| row.forget_ended(Minute::of(now)));
    }

    /// Changes the rows of a client and of its group, and removes those that hold nothing any more.
    fn change(&mut self, client: ClientKey, change: impl Fn(&mut ClientRow)) {
        for key in client.with_wider() {
            let Entry::Occupied(mut row) = self.rows.entry(key) else { continue };
            change(row.get_mut());
            if row.get().is_empty() {
                row.remove();
            }
        }
    }

    /// Rows in use.
    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;

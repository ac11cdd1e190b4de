//! What each address has used on this UTC day with credentials of nobody, for the daily limit of an address.
//! Tests: `src/books/spending/tests/addresses.rs`.
//! The bytes are those that a grant's row gains today, wherever they are from: counts, or reports until these. The table is not stored: at a
//! start, the rows of grants that were issued today fill it again.

use crate::prelude::*;

/// Most addresses and groups of addresses.
const ADDRESSES_MAX: usize = 100_000;
/// If the table is full, addresses leave that have used less than this: they are far from a limit.
const LEAVE_BELOW: ByteCount = ByteCount::new(50_000_000);
/// Most addresses that are known to have been refused.
const REFUSED_MAX: usize = 1_000;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct AddressDays {
    day: Day,
    used: BTreeMap<ClientKey, ByteCount>,
    refused: BTreeSet<ClientKey>,
    /// The limit that was asked about last. An address counts for its group as far as this, so a group has only what several have used.
    limit: Option<ByteCount>,
    last_refused: Option<ClientKey>,
}

impl AddressDays {
    /// Begins a day: nothing has been used on it.
    pub(crate) fn begin(&mut self, day: Day) {
        if day != self.day {
            *self = Self { day, limit: self.limit, ..Self::default() };
        }
    }

    /// The day.
    pub(crate) const fn day(&self) -> Day {
        self.day
    }

    /// The bytes of a grant of this address were `before` and are `after`.
    pub(crate) fn change(&mut self, client: ClientKey, before: ByteCount, after: ByteCount) {
        if before == after {
            return;
        }
        let own = self.used.get(&client).copied().unwrap_or_default();
        let capped = |used: ByteCount| self.limit.map_or(used, |limit| used.min(limit));
        let of_group = (capped(own), capped(own.plus(after).minus(before)));
        for key in client.with_wider() {
            let (before, after) = if key == client { (before, after) } else { of_group };
            if self.used.len() >= ADDRESSES_MAX && !self.used.contains_key(&key) {
                self.used.retain(|_, used| *used >= LEAVE_BELOW);
            }
            let used = self.used.entry(key).or_default();
            *used = used.plus(after).minus(before);
        }
    }

    /// Whether an address or its group has used so much that it gets nothing more today, and notes the refusal. A group has
    /// [`ClientKey::factor`] times the limit.
    pub(crate) fn refuses(&mut self, client: ClientKey, limit: ByteCount) -> bool {
        self.limit = Some(limit);
        let is_over = |key: &ClientKey| {
            let used = self.used.get(key).copied().unwrap_or_default();
            used.get() >= limit.get().saturating_mul(key.factor().into())
        };
        let over = client.with_wider().find(is_over);
        if let Some(key) = over.filter(|key| self.refused.len() < REFUSED_MAX || self.refused.contains(key)) {
            self.refused.insert(key);
            self.last_refused = Some(key);
        }
        over.is_some()
    }

    /// The address that was refused last, and how many were refused today.
    pub(crate) fn refused(&self) -> Option<(ClientKey, usize)> {
        Some((self.last_refused?, self.refused.len()))
    }
}

//! The rows with live grants that each client address has brought into a table. Tests: `src/books/spending/tests/held.rs`.
//! An address may bring a part of the table, so the names that one stranger makes up leave room for those of others.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;

use crate::clients::{AddressKey, Holder, factor};

/// The part of a table that one address may hold. A group has [`factor`] times as much.
const SHARE: usize = 16;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct HeldRows {
    /// Rows of one address; `None`: any number.
    most: Option<u32>,
    counts: BTreeMap<AddressKey, u32>,
}

impl HeldRows {
    /// For a table of this many rows.
    pub(super) fn of(table: usize) -> Self {
        let most = u32::try_from(table.div_ceil(SHARE)).unwrap_or(u32::MAX);
        Self { most: Some(most), ..Self::default() }
    }

    /// Whether an address, or the group around it, holds as many rows as it may.
    pub(super) fn is_full(&self, holder: Holder<'_>) -> bool {
        let Some(most) = self.most else { return false };
        let count = |key| self.counts.get(&key).copied().unwrap_or(0);
        holder.addresses().any(|key| count(key) >= most.saturating_mul(factor(key)))
    }

    /// A row has its first live grant. Returns by which address the row is held.
    pub(super) fn add(&mut self, holder: Holder<'_>) -> Option<AddressKey> {
        for key in holder.addresses().filter(|_| self.most.is_some()) {
            let count = self.counts.entry(key).or_default();
            *count = count.saturating_add(1);
        }
        holder.addresses().next()
    }

    /// A row that an address holds has no live grant any more.
    pub(super) fn remove(&mut self, (is_of_users, client): AddressKey) {
        for key in client.with_wider().map(|client| (is_of_users, client)) {
            let Some(count) = self.counts.get_mut(&key) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&key);
            }
        }
    }

    /// No row has a live grant.
    pub(super) fn clear(&mut self) {
        self.counts.clear();
    }
}

//! The grants of server keys by the user name of their credential. Tests: `src/books/spending/tests/servers.rs`.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use super::row::GrantRow;
use crate::token::GrantId;

/// The grants of server keys by the user name of their credential, which these may revoke. By its hash, which takes little memory.
#[derive(Debug, Default)]
pub(super) struct ByUsername {
    ids: BTreeMap<u64, GrantId>,
    hasher: RandomState,
}

impl ByUsername {
    /// Adds a grant, if a server key has asked for it.
    pub(super) fn add(&mut self, id: GrantId, row: &GrantRow) {
        if let Some(hash) = self.hash_of(row) {
            self.ids.insert(hash, id);
        }
    }

    /// Removes a grant whose credential is over. Some providers give one user name to all, which then names the last grant.
    pub(super) fn remove(&mut self, id: GrantId, row: &GrantRow) {
        if let Some(hash) = self.hash_of(row)
            && self.ids.get(&hash) == Some(&id)
        {
            self.ids.remove(&hash);
        }
    }

    /// The grant whose credential has most likely this user name.
    pub(super) fn find(&self, username: &str) -> Option<GrantId> {
        self.ids.get(&self.hasher.hash_one(username)).copied()
    }

    fn hash_of(&self, row: &GrantRow) -> Option<u64> {
        row.spender.as_ref()?.server.as_ref()?;
        Some(self.hasher.hash_one(row.username.as_deref()?))
    }
}

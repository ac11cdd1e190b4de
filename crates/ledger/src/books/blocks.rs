//! Blocked spenders, who get no credentials. Tests: `src/books/spending/tests/limits.rs`.

use std::collections::BTreeMap;

use turn_budget::{Dirty, Rows, SpenderKind, Timestamp};

use super::{Books, NotAdmitted};
use crate::grants::{Requester, key_of};
use crate::person::{NamesPerson, Person};
use crate::spending::SpenderKey;

/// Most spenders that can be blocked.
pub const BLOCKED_MAX: usize = 20_000;

/// As many spenders are blocked as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many are blocked as can be")]
pub struct TooManyBlocked;

/// Who is blocked, and until when; `None`: until [`Books::allow`].
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) rows: BTreeMap<SpenderKey, Option<Timestamp>>,
    pub(super) dirty: Dirty<SpenderKey>,
}

impl Blocks {
    /// Blocks that have changed since the last call; `None` for one that was removed.
    pub(super) fn take_changes(&mut self) -> Rows<SpenderKey, Option<Timestamp>> {
        let changed = self.dirty.take().into_keys();
        changed.map(|key| (key.clone(), self.rows.get(&key).copied())).collect()
    }

    fn remove(&mut self, is_removed: impl Fn(&SpenderKey, Option<Timestamp>) -> bool) {
        self.rows.retain(|key, until| {
            let is_removed = is_removed(key, *until);
            if is_removed {
                self.dirty.note(key.clone());
            }
            !is_removed
        });
    }
}

impl NamesPerson for Blocks {
    fn forget(&mut self, who: &mut Person) {
        self.remove(|spender, _| who.names.contains(spender));
    }
}

impl Books {
    /// Refuses credentials to a spender until an instant; `None`: until [`Self::allow`]. An address stands for its client.
    /// [`Self::sfu_sessions_to_close`] then has the sessions of a user; credentials work until they are revoked.
    pub fn block(&mut self, spender: &SpenderKey, until: Option<Timestamp>) -> Result<(), TooManyBlocked> {
        let (spender, now) = (spender.of_client(), self.now());
        self.blocks.remove(|_, until| !is_in_effect(until, now));
        if !self.blocks.rows.contains_key(&spender) && self.blocks.rows.len() >= BLOCKED_MAX {
            return Err(TooManyBlocked);
        }
        self.blocks.dirty.note(spender.clone());
        self.blocks.rows.insert(spender, until);
        Ok(())
    }

    /// Ends [`Self::block`].
    pub fn allow(&mut self, spender: &SpenderKey) {
        let spender = spender.of_client();
        self.blocks.remove(|blocked, _| *blocked == spender);
    }

    /// Why a requester gets no credential, if the operator has blocked its address or one of its names.
    pub fn block_of(&self, requester: &Requester) -> Option<NotAdmitted> {
        let of_kind = |kind| key_of(requester.spender.as_ref()?, kind);
        let names = SpenderKind::ALL.into_iter().filter_map(of_kind);
        let blocked =
            names.chain(requester.client.map(SpenderKey::Client)).find(|key| self.is_blocked(key))?;
        Some(NotAdmitted::Blocked(blocked.kind()))
    }

    /// Whether a spender, or the group of a client, is blocked.
    pub fn is_blocked(&self, spender: &SpenderKey) -> bool {
        let spender = spender.of_client();
        let group = if let SpenderKey::Client(client) = &spender { client.wider() } else { None };
        let all = [Some(spender), group.map(SpenderKey::Client)].into_iter().flatten();
        let mut ends = all.filter_map(|key| self.blocks.rows.get(&key));
        ends.any(|until| is_in_effect(*until, self.now()))
    }

    /// The blocked spenders, with the end of each block; `None`: without an end.
    pub fn blocks(&self) -> impl Iterator<Item = (&SpenderKey, Option<Timestamp>)> {
        let now = self.now();
        let all = self.blocks.rows.iter().map(|(spender, until)| (spender, *until));
        all.filter(move |(_, until)| is_in_effect(*until, now))
    }
}

/// Whether a block until this instant is in effect. `None`: a block without an end.
fn is_in_effect(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| now < until)
}

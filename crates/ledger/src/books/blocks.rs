//! Blocked spenders, who get no credentials, and spenders that were revoked while a mint was on its way.
//! Tests: `src/books/spending/tests/limits.rs`.

use std::collections::{BTreeMap, VecDeque};

use turn_budget::{ClientKey, Dirty, Rows, SpenderKind, Timestamp};

use super::{Books, NotAdmitted};
use crate::grants::{Requester, key_of};
use crate::person::{NamesPerson, Person};
use crate::spending::{Block, SpenderKey};

/// Most spenders that can be blocked.
pub const BLOCKED_MAX: usize = 20_000;

/// The revocations that are remembered. A mint takes seconds, and only the operator revokes.
const REVOKED_MAX: usize = 64;

/// As many spenders are blocked as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many are blocked as can be")]
pub struct TooManyBlocked;

/// Who is blocked.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) rows: BTreeMap<SpenderKey, Block>,
    pub(super) dirty: Dirty<SpenderKey>,
    pub(super) revoked: LatestRevoked,
}

/// The spenders whose credentials were all revoked last, in order, and how many revocations there were since the start.
#[derive(Debug, Default)]
pub(super) struct LatestRevoked {
    latest: VecDeque<SpenderKey>,
    pub(super) count: usize,
}

impl LatestRevoked {
    pub(super) fn add(&mut self, spender: SpenderKey) {
        if self.latest.len() >= REVOKED_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back(spender);
        self.count = self.count.saturating_add(1);
    }

    /// Whether one of these names was revoked after the first `before` revocations. Also `true` if that is forgotten.
    pub(super) fn has_since(&self, before: usize, mut names: impl Iterator<Item = SpenderKey>) -> bool {
        let since = self.count.saturating_sub(before);
        // Nearly always nobody was revoked meanwhile: then no name is made.
        since > REVOKED_MAX
            || since > 0 && names.any(|name| self.latest.iter().rev().take(since).any(|of| *of == name))
    }
}

/// The names of a requester, and its client with the group around it.
pub(super) fn names_of(requester: &Requester) -> impl Iterator<Item = SpenderKey> {
    let of_kind = |kind| key_of(requester.spender.as_ref()?, kind);
    let clients = requester.client.into_iter().flat_map(ClientKey::with_wider);
    SpenderKind::ALL.into_iter().filter_map(of_kind).chain(clients.map(SpenderKey::Client))
}

impl Blocks {
    /// Blocks that have changed since the last call; `None` for one that was removed.
    pub(super) fn take_changes(&mut self) -> Rows<SpenderKey, Block> {
        let changed = self.dirty.take().into_keys();
        changed.map(|key| (key.clone(), self.rows.get(&key).copied())).collect()
    }

    fn remove(&mut self, is_removed: impl Fn(&SpenderKey, Block) -> bool) {
        self.rows.retain(|key, block| {
            let is_removed = is_removed(key, *block);
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
    /// [`Self::sfu_sessions_to_close`] then has the sessions of a user or an address; credentials work until they are revoked.
    pub fn block(&mut self, spender: &SpenderKey, until: Option<Timestamp>) -> Result<Block, TooManyBlocked> {
        let (spender, now) = (spender.of_client(), self.now());
        self.blocks.remove(|_, block| !block.is_in_effect(now));
        if !self.blocks.rows.contains_key(&spender) && self.blocks.rows.len() >= BLOCKED_MAX {
            return Err(TooManyBlocked);
        }
        self.blocks.dirty.note(spender.clone());
        let since = self.blocks.rows.get(&spender).map_or(Some(now), |block| block.since);
        let block = Block { until, since };
        self.blocks.rows.insert(spender, block);
        Ok(block)
    }

    /// Ends [`Self::block`].
    pub fn allow(&mut self, spender: &SpenderKey) {
        let spender = spender.of_client();
        self.blocks.remove(|blocked, _| *blocked == spender);
    }

    /// Why a requester gets no credential, if the operator has blocked its address or one of its names.
    pub fn block_of(&self, requester: &Requester) -> Option<NotAdmitted> {
        // Each mint asks this several times. While nobody is blocked, the name is not made.
        if self.blocks.rows.is_empty() {
            return None;
        }
        let blocked = names_of(requester).find(|key| self.is_blocked(key))?;
        Some(NotAdmitted::Blocked(blocked.kind()))
    }

    /// Whether a spender, or the group of a client, is blocked.
    pub fn is_blocked(&self, spender: &SpenderKey) -> bool {
        self.block_on(spender).is_some()
    }

    /// The block of a spender, or of the group of a client.
    pub fn block_on(&self, spender: &SpenderKey) -> Option<Block> {
        let spender = spender.of_client();
        let group = if let SpenderKey::Client(client) = &spender { client.wider() } else { None };
        let all = [Some(spender), group.map(SpenderKey::Client)].into_iter().flatten();
        let mut blocks = all.filter_map(|key| self.blocks.rows.get(&key).copied());
        blocks.find(|block| block.is_in_effect(self.now()))
    }

    /// The blocked spenders.
    pub fn blocks(&self) -> impl Iterator<Item = (&SpenderKey, Block)> {
        let now = self.now();
        let all = self.blocks.rows.iter().map(|(spender, block)| (spender, *block));
        all.filter(move |(_, block)| block.is_in_effect(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_remembered_for_those_who_asked_before_it_and_a_forgotten_one_counts_for_all() {
        let named = |name: &str| SpenderKey::parse(SpenderKind::User, name).unwrap();
        let mut revoked = LatestRevoked::default();
        revoked.add(named("ann"));
        let before = revoked.count;
        let has =
            |revoked: &LatestRevoked, before, name| revoked.has_since(before, [named(name)].into_iter());
        assert_eq!([0, before].map(|before| has(&revoked, before, "ann")), [true, false]);
        revoked.add(named("bob"));
        assert_eq!(["ann", "bob", "eve"].map(|name| has(&revoked, before, name)), [false, true, false]);
        (0..REVOKED_MAX - 1).for_each(|_| revoked.add(named("eve")));
        assert_eq!(["ann", "bob"].map(|name| has(&revoked, before, name)), [false, true]);
        revoked.add(named("eve"));
        assert!(has(&revoked, before, "ann") && revoked.latest.len() == REVOKED_MAX);
    }
}

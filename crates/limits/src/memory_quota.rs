//! Bytes that are kept in memory for clients: bounded for each client, for the /48 around it, and for all together. Each part, such as a
//! socket or a body, has some bytes of its own beside that. So clients that fill their share take nothing from others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turn_ledger::ClientKey;

use crate::Held;

/// How many bytes may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Of each part, always. They do not count for the others.
    pub of_part: usize,
    /// Of all parts of one client together. An IPv6 /48 has four times as much.
    pub of_client: usize,
    /// Of all parts together.
    pub of_all: usize,
}

/// The bytes that all clients keep. Clones share them.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: MemoryLimits,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    all: usize,
    by_client: Held<usize>,
}

/// What one thing of a client keeps. Dropping it keeps nothing.
#[derive(Debug)]
pub struct Part {
    memory: Memory,
    client: ClientKey,
    bytes: usize,
}

impl Memory {
    /// Nothing is kept.
    pub fn new(limits: MemoryLimits) -> Self {
        Self(Arc::new(Shared { limits, kept: Mutex::default() }))
    }

    /// A new part of this client, without bytes.
    pub fn part(&self, client: ClientKey) -> Part {
        Part { memory: self.clone(), client, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// What it keeps, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It keeps so many bytes now. `false` if there is no room for more: then nothing has changed.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let limits = self.memory.0.limits;
        let more = self.shared(bytes).saturating_sub(self.shared(self.bytes));
        let mut kept = self.memory.lock();
        let is_full = |of_client: &usize, factor: usize| {
            of_client.saturating_add(more) > limits.of_client.saturating_mul(factor)
        };
        let is_all = kept.all.saturating_add(more) > limits.of_all;
        if more > 0 && (is_all || kept.by_client.full(self.client, is_full).is_some()) {
            return false;
        }
        kept.change(self.client, self.shared(self.bytes), self.shared(bytes));
        drop(kept);
        self.bytes = bytes;
        true
    }

    /// It keeps less: so many bytes at most.
    pub fn shrink(&mut self, bytes: usize) {
        let _ = self.grow(bytes.min(self.bytes));
    }

    /// Those beyond its own.
    fn shared(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.memory.0.limits.of_part)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

impl Kept {
    fn change(&mut self, client: ClientKey, before: usize, after: usize) {
        if before == after {
            return;
        }
        let changed = |bytes: usize| bytes.saturating_sub(before).saturating_add(after);
        self.all = changed(self.all);
        self.by_client.change(client, |of_client| {
            *of_client = changed(*of_client);
            *of_client > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: usize = 10;
    const SHARE: usize = 100;

    fn memory() -> Memory {
        Memory::new(MemoryLimits { of_part: OWN, of_client: SHARE, of_all: 16 * SHARE })
    }

    fn client(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    /// A part with so many bytes.
    fn part(memory: &Memory, address: &str, bytes: usize) -> Option<Part> {
        let mut part = memory.part(client(address));
        part.grow(bytes).then_some(part)
    }

    #[test]
    fn the_parts_of_one_client_have_one_share_and_those_of_others_keep_their_room() {
        let memory = memory();
        let [mut first, mut second] = [(); 2].map(|()| part(&memory, "192.0.2.1", OWN + SHARE / 2).unwrap());
        assert!(!first.grow(OWN + SHARE / 2 + 1), "full to the last byte");
        assert_eq!(first.bytes(), OWN + SHARE / 2, "nothing has changed");
        assert!(part(&memory, "192.0.2.1", OWN).is_some(), "a part's own bytes are in no share");
        assert!(part(&memory, "192.0.2.2", OWN + SHARE).is_some());
        second.shrink(OWN);
        assert!(first.grow(OWN + SHARE), "what is not kept any more does not count");
        drop(first);
        assert!(part(&memory, "192.0.2.1", OWN + SHARE).is_some());
        drop(second);
        assert!(memory.lock().by_client.is_empty() && memory.lock().all == 0);
    }

    #[test]
    fn a_48_has_four_times_as_much_and_all_together_have_a_bound() {
        let memory = memory();
        let whole = |n: usize, group: usize| part(&memory, &format!("2001:db8:{group}:{n}::1"), OWN + SHARE);
        let mut parts: Vec<_> = (0..4).map(|n| whole(n, 0).unwrap()).collect();
        assert!(part(&memory, "2001:db8:0:9::1", OWN + 1).is_none());
        for group in 1..4 {
            parts.extend((0..4).map(|n| whole(n, group).unwrap()));
        }
        assert!(part(&memory, "192.0.2.1", OWN + 1).is_none(), "four /48s have all of it");
        assert!(part(&memory, "192.0.2.1", OWN).is_some());
        parts.pop();
        assert!(part(&memory, "192.0.2.1", OWN + SHARE).is_some());
    }
}

//! Counts the bytes that are kept in memory for clients and users: bounded for each of their shares, and for all together. Each use,
//! such as a socket or a body, also has some bytes of its own, which do not count. So those that fill their share take nothing from
//! others.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::held::Held;
use crate::holder::{Holder, Share};

/// How many bytes may be kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// Of each use, always. They do not count for the other bounds.
    pub own: usize,
    /// Of all uses of one client or one user together. An IPv6 /48 has four times as much, the users of one client ten times.
    pub client_max: usize,
    /// Of all uses together.
    pub total_max: usize,
}

/// The count of what is kept for all clients. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryQuota(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: MemoryBounds,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    all: usize,
    by_holder: Held<usize>,
}

/// What is kept for one thing of a client. Dropping it frees its bytes.
#[derive(Debug)]
pub struct MemoryUse {
    quota: MemoryQuota,
    holder: Holder,
    bytes: usize,
}

impl MemoryQuota {
    /// Nothing is kept.
    pub fn new(bounds: MemoryBounds) -> Self {
        Self(Arc::new(Shared { bounds, kept: Mutex::default() }))
    }

    /// The share that keeps most bytes for its size, if all together keep more than `bytes_max`.
    pub fn largest_above(&self, bytes_max: usize) -> Option<Share> {
        let kept = self.0.kept.lock();
        if kept.all <= bytes_max {
            return None;
        }
        let for_its_size =
            |(share, bytes): &(&Share, &usize)| **bytes / usize::try_from(share.factor()).unwrap_or(1);
        kept.by_holder.iter().max_by_key(for_its_size).map(|(share, _)| share.clone())
    }

    /// A new use, without bytes.
    pub fn open(&self, holder: impl Into<Holder>) -> MemoryUse {
        MemoryUse { quota: self.clone(), holder: holder.into(), bytes: 0 }
    }
}

impl MemoryUse {
    /// For whom they are kept.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The number of bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets the number of bytes kept. Returns `false`, and changes nothing, if that exceeds a bound.
    #[must_use]
    pub fn try_resize(&mut self, bytes: usize) -> bool {
        let bounds = self.quota.0.bounds;
        let more = self.shared(bytes).saturating_sub(self.shared(self.bytes));
        let mut kept = self.quota.0.kept.lock();
        let is_full = |held: &usize, factor: usize| {
            held.saturating_add(more) > bounds.client_max.saturating_mul(factor)
        };
        let is_all = kept.all.saturating_add(more) > bounds.total_max;
        if more > 0 && (is_all || kept.by_holder.full(&self.holder, is_full).is_some()) {
            return false;
        }
        kept.change(&self.holder, self.shared(self.bytes), self.shared(bytes));
        drop(kept);
        self.bytes = bytes;
        true
    }

    /// Reduces the number of bytes kept to at most `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let _ = self.try_resize(bytes.min(self.bytes));
    }

    /// Those beyond its own.
    fn shared(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.quota.0.bounds.own)
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl Kept {
    fn change(&mut self, holder: &Holder, before: usize, after: usize) {
        if before == after {
            return;
        }
        let changed = |bytes: usize| bytes.saturating_sub(before).saturating_add(after);
        self.all = changed(self.all);
        self.by_holder.change(holder, |held| {
            *held = changed(*held);
            *held > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SHARES;
    use turn_ledger::ClientKey;

    const OWN: usize = 10;
    const SHARE: usize = 100;

    fn memory() -> MemoryQuota {
        MemoryQuota::new(MemoryBounds { own: OWN, client_max: SHARE, total_max: SHARES * SHARE })
    }

    fn client(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    /// A use of this many bytes.
    fn part(memory: &MemoryQuota, address: &str, bytes: usize) -> Option<MemoryUse> {
        let mut part = memory.open(client(address));
        part.try_resize(bytes).then_some(part)
    }

    #[test]
    fn the_parts_of_one_client_have_one_share_and_those_of_others_keep_their_room() {
        let memory = memory();
        let [mut first, mut second] = [(); 2].map(|()| part(&memory, "192.0.2.1", OWN + SHARE / 2).unwrap());
        assert!(!first.try_resize(OWN + SHARE / 2 + 1), "full to the last byte");
        assert_eq!(first.bytes(), OWN + SHARE / 2, "nothing has changed");
        assert!(part(&memory, "192.0.2.1", OWN).is_some(), "its own bytes are in no share");
        assert!(part(&memory, "192.0.2.2", OWN + SHARE).is_some());
        second.shrink_to(OWN);
        assert!(first.try_resize(OWN + SHARE), "what is not kept any more does not count");
        drop(first);
        assert!(part(&memory, "192.0.2.1", OWN + SHARE).is_some());
        drop(second);
        assert!(memory.0.kept.lock().by_holder.is_empty() && memory.0.kept.lock().all == 0);
    }

    #[test]
    fn four_48s_leave_room_for_others_and_all_together_have_a_bound() {
        let memory = memory();
        let whole = |n: usize, group: usize| part(&memory, &format!("2001:db8:{group}:{n}::1"), OWN + SHARE);
        let mut parts: Vec<_> = (0..4).map(|n| whole(n, 0).unwrap()).collect();
        assert!(part(&memory, "2001:db8:0:9::1", OWN + 1).is_none());
        for group in 1..4 {
            parts.extend((0..4).map(|n| whole(n, group).unwrap()));
        }
        assert!(part(&memory, "2001:db8:3:9::1", OWN + 1).is_none());
        parts.extend((1..=4).map(|n| part(&memory, &format!("192.0.2.{n}"), OWN + SHARE).unwrap()));
        assert!(part(&memory, "192.0.2.5", OWN + 1).is_none(), "all together have all of it");
        assert!(part(&memory, "192.0.2.5", OWN).is_some());
        parts.pop();
        assert!(part(&memory, "192.0.2.5", OWN + SHARE).is_some());
    }

    #[test]
    fn a_client_that_keeps_less_than_a_quarter_of_a_48_keeps_most_for_its_size() {
        let memory = memory();
        let site = |n: usize| part(&memory, &format!("2001:db8:0:{n}::1"), OWN + 60).unwrap();
        let _alone = part(&memory, "192.0.2.1", OWN + 70).unwrap();
        let mut sites: Vec<_> = (0..4).map(site).collect();
        assert_eq!(memory.largest_above(310), None, "not more than that");
        assert_eq!(memory.largest_above(309), Some(Share::Client(client("192.0.2.1"))));
        sites.extend((4..6).map(|n| part(&memory, &format!("2001:db8:0:{n}::1"), OWN + 30).unwrap()));
        let group = client("2001:db8:0:1::1").wider().unwrap();
        assert_eq!(memory.largest_above(309), Some(Share::Client(group)), "300 of four shares");
    }
}

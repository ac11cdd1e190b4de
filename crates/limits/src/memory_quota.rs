//! Counts the bytes that are kept in memory for clients and users: bounded for each of their shares, and for all together. The first
//! bytes of each use, such as a socket or a body, are always allowed and do not count. So a holder that has filled a share
//! leaves others the first bytes of each of their uses.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::counts::{Bounds, Counts};
use crate::holder::{Holder, Share};

/// The count of what is kept for all clients. Clones share the count.
#[derive(Clone, Debug)]
pub struct MemoryQuota(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// How many of the first bytes of each use are always allowed and do not count.
    uncounted: usize,
    bounds: Bounds,
    kept: Mutex<Counts>,
}

/// The bytes kept for one use, such as a socket or a body. Dropping this value frees them.
#[derive(Debug)]
pub struct MemoryUse {
    quota: MemoryQuota,
    holder: Holder,
    bytes: usize,
}

impl MemoryQuota {
    /// Nothing is kept. `uncounted`: how many of the first bytes of each use are always allowed and do not count. `bounds`: for all other
    /// bytes.
    pub fn new(uncounted: usize, bounds: Bounds) -> Self {
        Self(Arc::new(Shared { uncounted, bounds, kept: Mutex::default() }))
    }

    /// The share that keeps most bytes for its size. `None` if all together keep `bytes_max` or less.
    pub fn largest_above(&self, bytes_max: usize) -> Option<Share> {
        let kept = self.0.kept.lock();
        if kept.all() > bytes_max { kept.largest() } else { None }
    }

    /// How much is kept, and the most that all may keep together.
    pub fn kept(&self) -> (usize, usize) {
        (self.0.kept.lock().all(), self.0.bounds.all_max)
    }

    /// A new use, without bytes.
    pub fn open(&self, holder: impl Into<Holder>) -> MemoryUse {
        MemoryUse { quota: self.clone(), holder: holder.into(), bytes: 0 }
    }
}

impl MemoryUse {
    /// For whom the bytes are kept.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The number of bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets the number of bytes kept. Returns `false`, and changes nothing, if more bytes would count than before and exceed a bound.
    #[must_use]
    pub fn try_resize(&mut self, bytes: usize) -> bool {
        let (before, after) = (self.counted(self.bytes), self.counted(bytes));
        let mut kept = self.quota.0.kept.lock();
        if after > before && !kept.fits(&self.holder, after - before, self.quota.0.bounds) {
            return false;
        }
        kept.replace(&self.holder, before, after);
        drop(kept);
        self.bytes = bytes;
        true
    }

    /// Sets the number of bytes kept, whatever the bounds are.
    pub fn resize(&mut self, bytes: usize) {
        let (before, after) = (self.counted(self.bytes), self.counted(bytes));
        if before != after {
            self.quota.0.kept.lock().replace(&self.holder, before, after);
        }
        self.bytes = bytes;
    }

    /// How many of the `bytes` of a use count: all but the first ones.
    fn counted(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.quota.0.uncounted)
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_budget::ClientKey;

    const UNCOUNTED: usize = 10;
    const SHARE: usize = 100;

    /// A use of this many bytes.
    fn part(memory: &MemoryQuota, last: u8, bytes: usize) -> Option<MemoryUse> {
        let mut part = memory.open(ClientKey::V4([192, 0, 2, last].into()));
        part.try_resize(bytes).then_some(part)
    }

    #[test]
    fn all_uses_of_one_client_have_one_share_and_leave_others_their_room() {
        let memory = MemoryQuota::new(UNCOUNTED, Bounds { client_max: SHARE, all_max: 2 * SHARE });
        let [mut first, mut second] = [(); 2].map(|()| part(&memory, 1, UNCOUNTED + SHARE / 2).unwrap());
        assert!(!first.try_resize(UNCOUNTED + SHARE / 2 + 1), "full to the last byte");
        assert_eq!(first.bytes(), UNCOUNTED + SHARE / 2, "nothing has changed");
        assert!(part(&memory, 1, UNCOUNTED).is_some(), "the first bytes of a use are in no share");
        let other = part(&memory, 2, UNCOUNTED + SHARE).unwrap();
        assert!(part(&memory, 3, UNCOUNTED).is_some());
        assert!(part(&memory, 3, UNCOUNTED + 1).is_none(), "no room is left");
        second.resize(UNCOUNTED);
        assert!(first.try_resize(UNCOUNTED + SHARE), "what is not kept any more does not count");
        first.resize(UNCOUNTED + SHARE + 1);
        assert_eq!(memory.largest_above(2 * SHARE), first.holder().shares().next());
        assert_eq!(memory.largest_above(2 * SHARE + 1), None, "all together keep exactly that many");
        drop((first, second, other));
        assert!(memory.0.kept.lock().is_empty());
    }
}

//! Deadlines of many keys, sorted by time. A key has at most one deadline.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// Deadlines by key.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(Duration, K)>,
    by_key: HashMap<K, Duration>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: HashMap::new() }
    }
}

impl<K: Clone + Ord + Hash> Deadlines<K> {
    /// Sets the deadline of a key, in place of the one it had.
    pub fn set(&mut self, key: K, at: Duration) {
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Removes the deadline of a key, if it has one.
    pub fn clear(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The deadline of a key.
    pub fn of(&self, key: &K) -> Option<Duration> {
        self.by_key.get(key).copied()
    }

    /// All keys, the earliest deadline first.
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        self.by_time.iter().map(|(_, key)| key)
    }

    /// Removes one key whose deadline has passed, the earliest first.
    pub fn pop(&mut self, now: Duration) -> Option<K> {
        self.by_time.first().filter(|(at, _)| *at <= now)?;
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn keys_come_out_in_the_order_of_their_latest_deadlines() {
        let mut deadlines = Deadlines::default();
        deadlines.set("a", secs(10));
        deadlines.set("b", secs(5));
        deadlines.set("c", secs(7));
        deadlines.set("b", secs(20));
        deadlines.clear(&"c");
        deadlines.clear(&"d");
        assert_eq!(deadlines.next(), Some(secs(10)));
        assert_eq!((deadlines.of(&"b"), deadlines.of(&"c")), (Some(secs(20)), None));
        assert_eq!(deadlines.iter().collect::<Vec<_>>(), [&"a", &"b"]);
        assert_eq!(deadlines.pop(secs(9)), None);
        assert_eq!(deadlines.pop(secs(30)), Some("a"));
        assert_eq!(deadlines.pop(secs(30)), Some("b"));
        assert_eq!(deadlines.pop(secs(30)), None);
        assert_eq!(deadlines.next(), None);
    }
}

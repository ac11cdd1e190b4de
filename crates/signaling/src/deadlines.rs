//! Deadlines of many keys, sorted by time. A key has at most one deadline.

use std::hash::Hash;

use crate::prelude::*;

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

// The open sockets of a protocol whose clients answer control pings, with what it keeps of each. A socket is pinged from time to time, and
// one that sends nothing for too long is dead.

/// The open sockets, each with its row and its timers.
pub(crate) struct Sockets<S> {
    rows: BTreeMap<SocketId, S>,
    ping_interval: Duration,
    silence_max: Duration,
    pings: Deadlines<SocketId>,
    ends: Deadlines<SocketId>,
}

impl<S> Sockets<S> {
    /// No sockets. With `silence_max` twice `ping_interval` or more, a living socket has at least one ping to answer.
    pub(crate) fn new(ping_interval: Duration, silence_max: Duration) -> Self {
        let (rows, pings, ends) = Default::default();
        Self { rows, ping_interval, silence_max, pings, ends }
    }

    /// A socket has opened.
    pub(crate) fn insert(&mut self, socket: SocketId, row: S, now: Duration) {
        self.rows.insert(socket, row);
        self.pings.set(socket, now + self.ping_interval);
        self.ends.set(socket, now + self.silence_max);
    }

    /// The row of an open socket.
    pub(crate) fn get(&self, socket: SocketId) -> Option<&S> {
        self.rows.get(&socket)
    }

    /// Notes that something came from a socket. Returns the socket's row; `None` if it is not open.
    pub(crate) fn heard(&mut self, socket: SocketId, now: Duration) -> Option<&mut S> {
        let row = self.rows.get_mut(&socket)?;
        self.ends.set(socket, now + self.silence_max);
        Some(row)
    }

    /// Removes a socket that is no longer open. Returns its row; `None` if it was removed before.
    pub(crate) fn remove(&mut self, socket: SocketId) -> Option<S> {
        self.pings.clear(&socket);
        self.ends.clear(&socket);
        self.rows.remove(&socket)
    }

    /// The earliest time at which [`Self::due`] does something.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.pings.next().into_iter().chain(self.ends.next()).min()
    }

    /// Pings the sockets whose next ping is due. Returns the dead sockets: the caller removes them.
    pub(crate) fn due(&mut self, now: Duration, actions: &mut Actions) -> Vec<SocketId> {
        let mut dead = vec![];
        while let Some(socket) = self.ends.pop(now) {
            self.pings.clear(&socket);
            dead.push(socket);
        }
        while let Some(to) = self.pings.pop(now) {
            self.pings.set(to, now + self.ping_interval);
            actions.push(Action::Ping { to });
        }
        dead
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SocketId, &S)> {
        self.rows.iter()
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

//! The open sockets of a protocol whose clients answer control pings, with what it keeps of each. A socket is pinged from time to time, and
//! one that sends nothing for too long is dead.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Action, Actions, Deadlines, SocketId};

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

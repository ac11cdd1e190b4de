//! Which sockets are still alive. Each is pinged from time to time, and one that sends nothing for too long is dead. A socket has
//! its timers from [`Liveness::opened`] to [`Liveness::closed`].

use std::time::Duration;

use crate::deadlines::Deadlines;
use crate::protocol::SocketId;

/// The timers of the sockets.
#[derive(Clone, Debug)]
pub struct Liveness {
    ping_interval: Duration,
    silence_max: Duration,
    pings: Deadlines<SocketId>,
    ends: Deadlines<SocketId>,
}

/// What is due for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// It must be pinged.
    Ping(SocketId),
    /// It is dead. It has no timers any longer.
    Dead(SocketId),
}

impl Liveness {
    /// No sockets. With `silence_max` twice `ping_interval` or more, a living socket has at least one ping to answer.
    pub fn new(ping_interval: Duration, silence_max: Duration) -> Self {
        Self { ping_interval, silence_max, pings: Deadlines::default(), ends: Deadlines::default() }
    }

    /// A socket has opened.
    pub fn opened(&mut self, socket: SocketId, now: Duration) {
        self.pings.set(socket, now + self.ping_interval);
        self.ends.set(socket, now + self.silence_max);
    }

    /// Something came from an open socket.
    pub fn heard(&mut self, socket: SocketId, now: Duration) {
        self.ends.set(socket, now + self.silence_max);
    }

    /// A socket has closed.
    pub fn closed(&mut self, socket: SocketId) {
        self.pings.clear(&socket);
        self.ends.clear(&socket);
    }

    /// The earliest time at which something is due.
    pub fn next(&self) -> Option<Duration> {
        self.pings.next().into_iter().chain(self.ends.next()).min()
    }

    /// One thing that is due.
    pub fn pop(&mut self, now: Duration) -> Option<Overdue> {
        if let Some(dead) = self.ends.pop(now) {
            self.pings.clear(&dead);
            return Some(Overdue::Dead(dead));
        }
        let socket = self.pings.pop(now)?;
        self.pings.set(socket, now + self.ping_interval);
        Some(Overdue::Ping(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketId = SocketId(1);

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_socket_is_pinged_until_nothing_came_for_too_long() {
        let mut liveness = Liveness::new(secs(30), secs(60));
        liveness.opened(A, secs(0));
        assert_eq!((liveness.next(), liveness.pop(secs(29))), (Some(secs(30)), None));
        assert_eq!(liveness.pop(secs(30)), Some(Overdue::Ping(A)));
        liveness.heard(A, secs(31));
        assert_eq!((liveness.pop(secs(60)), liveness.pop(secs(60))), (Some(Overdue::Ping(A)), None));
        assert_eq!(liveness.pop(secs(91)), Some(Overdue::Dead(A)));
        assert_eq!((liveness.pop(secs(500)), liveness.next()), (None, None));
    }

    #[test]
    fn a_closed_socket_has_no_timers() {
        let mut liveness = Liveness::new(secs(30), secs(60));
        liveness.opened(A, secs(0));
        liveness.closed(A);
        assert_eq!((liveness.pop(secs(500)), liveness.next()), (None, None));
    }
}

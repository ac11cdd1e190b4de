//! The incomplete message of a socket: its bytes are counted, and its time is bounded. Nothing else would end such a message: a client may
//! send its fragments as slowly as it likes, with pings between them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use turn_limits::MemoryUse;

/// The longest time from the first byte of a message to its last.
pub(crate) const MESSAGE_MAX: Duration = Duration::from_secs(30);
/// The head of a client's control frame, in bytes.
const CONTROL_HEAD: usize = 6;

/// The buffer of one socket, in bytes. An idle socket keeps it, and a longer message makes it grow.
pub(crate) const READ_BUFFER: usize = 1024;

/// The incomplete message of a socket.
#[derive(Debug)]
pub(crate) struct Inbox(Mutex<Incomplete>);

#[derive(Debug)]
struct Incomplete {
    bytes: usize,
    /// Counts the bytes that do not fit in the buffer which each socket has. So a short message costs nothing.
    beyond_buffer: MemoryUse,
    /// When the first byte arrived.
    since: Instant,
}

impl Incomplete {
    fn set(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.beyond_buffer.resize(bytes.saturating_sub(READ_BUFFER));
    }
}

impl Inbox {
    /// An inbox of a new socket. `counted` counts its bytes.
    pub(crate) fn new(counted: MemoryUse, now: Instant) -> Self {
        Self(Mutex::new(Incomplete { bytes: 0, beyond_buffer: counted, since: now }))
    }

    /// Adds bytes that have arrived.
    pub(crate) fn received(&self, bytes: usize, now: Instant) {
        let mut incomplete = self.0.lock();
        if incomplete.bytes == 0 {
            incomplete.since = now;
        }
        let bytes = incomplete.bytes.saturating_add(bytes);
        incomplete.set(bytes);
    }

    /// A message is complete. What has arrived beyond it, a read buffer at most, does not count.
    pub(crate) fn complete(&self) {
        self.0.lock().set(0);
    }

    /// Subtracts a complete control frame with so many bytes of content: it can come inside a message.
    pub(crate) fn control(&self, content: usize) {
        let mut incomplete = self.0.lock();
        let bytes = incomplete.bytes.saturating_sub(CONTROL_HEAD + content);
        incomplete.set(bytes);
    }

    /// Whether a message has been arriving for too long.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        let incomplete = self.0.lock();
        incomplete.bytes > 0 && now.saturating_duration_since(incomplete.since) >= MESSAGE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_base::clock;
    use turn_budget::ClientKey;
    use turn_limits::{Bounds, MemoryQuota};

    fn inbox() -> (Inbox, Instant) {
        let quota = MemoryQuota::new(0, Bounds::NONE);
        let now = clock::timer_now();
        (Inbox::new(quota.open(ClientKey::V4([192, 0, 2, 1].into())), now), now)
    }

    #[test]
    fn a_message_that_is_not_finished_is_overdue_and_pings_do_not_help() {
        let (inbox, now) = inbox();
        assert!(!inbox.is_overdue(now + MESSAGE_MAX), "nothing has arrived");
        inbox.received(100, now);
        inbox.received(6 + 5, now + MESSAGE_MAX / 2);
        inbox.control(5);
        assert!(!inbox.is_overdue(now + MESSAGE_MAX.saturating_sub(Duration::from_millis(1))));
        assert!(inbox.is_overdue(now + MESSAGE_MAX));
        inbox.complete();
        assert!(!inbox.is_overdue(now + MESSAGE_MAX));
    }

    #[test]
    fn pings_alone_are_never_overdue() {
        let (inbox, now) = inbox();
        for ping in 0..100 {
            inbox.received(6, now + MESSAGE_MAX * ping);
            inbox.control(0);
            assert!(!inbox.is_overdue(now + MESSAGE_MAX * (ping + 1)));
        }
    }
}

//! Counts the bytes of a socket's incomplete message. Its time is bounded, and so are the bytes of all sockets of a client and of all
//! clients. Nothing else ends such a message, because a client may send its fragments as slowly as it likes, with pings between them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use turn_limits::MemoryUse;

/// The longest time from the first byte of a message to its last.
pub(crate) const MESSAGE_MAX: Duration = Duration::from_secs(30);
/// The head of a client's control frame, in bytes.
const CONTROL_HEAD: usize = 6;

/// The incomplete message of a socket.
#[derive(Debug)]
pub(crate) struct Inbox {
    incomplete: Mutex<Incomplete>,
}

#[derive(Debug)]
struct Incomplete {
    kept: MemoryUse,
    /// When the first of them arrived.
    since: Instant,
    /// Whether there was no room for more.
    is_refused: bool,
}

impl Inbox {
    /// An inbox of a new socket. `kept` counts its bytes.
    pub(crate) fn new(kept: MemoryUse, now: Instant) -> Self {
        Self { incomplete: Mutex::new(Incomplete { kept, since: now, is_refused: false }) }
    }

    /// Bytes have arrived. `false` if there is no room for them: then this socket must end.
    pub(crate) fn received(&self, bytes: usize, now: Instant) -> bool {
        let mut incomplete = self.incomplete.lock();
        let before = incomplete.kept.bytes();
        if !incomplete.kept.try_resize(before.saturating_add(bytes)) {
            incomplete.is_refused = true;
            return false;
        }
        if before == 0 {
            incomplete.since = now;
        }
        true
    }

    /// A message is complete. What has arrived beyond it, a read buffer at most, does not count.
    pub(crate) fn complete(&self) {
        self.incomplete.lock().kept.shrink_to(0);
    }

    /// A control frame with so many bytes of content is complete.
    pub(crate) fn control(&self, content: usize) {
        let mut incomplete = self.incomplete.lock();
        let rest = incomplete.kept.bytes().saturating_sub(CONTROL_HEAD + content);
        incomplete.kept.shrink_to(rest);
    }

    /// Whether a message has been arriving for too long.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        let incomplete = self.incomplete.lock();
        incomplete.kept.bytes() > 0 && now.saturating_duration_since(incomplete.since) >= MESSAGE_MAX
    }

    /// Whether the socket had to end because there was no room.
    pub(crate) fn is_refused(&self) -> bool {
        self.incomplete.lock().is_refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_base::clock;
    use turn_limits::MemoryQuota;

    use crate::backlog::{CLIENT_BYTES_MAX, OWN_BYTES, backlog, testing};

    fn inbox(backlog: &MemoryQuota) -> (Inbox, Instant) {
        let now = clock::deadline(Duration::ZERO);
        (Inbox::new(backlog.open(testing::CLIENT), now), now)
    }

    #[test]
    fn a_message_that_is_not_finished_is_overdue_and_pings_do_not_help() {
        let (inbox, now) = inbox(&backlog());
        assert!(!inbox.is_overdue(now + MESSAGE_MAX), "nothing has arrived");
        assert!(inbox.received(100, now) && inbox.received(6 + 5, now + MESSAGE_MAX / 2));
        inbox.control(5);
        assert!(!inbox.is_overdue(now + MESSAGE_MAX.saturating_sub(Duration::from_millis(1))));
        assert!(inbox.is_overdue(now + MESSAGE_MAX));
        inbox.complete();
        assert!(!inbox.is_overdue(now + MESSAGE_MAX));
    }

    #[test]
    fn pings_alone_are_never_overdue() {
        let (inbox, now) = inbox(&backlog());
        for ping in 0..100 {
            assert!(inbox.received(6, now + MESSAGE_MAX * ping));
            inbox.control(0);
            assert!(!inbox.is_overdue(now + MESSAGE_MAX * (ping + 1)));
        }
    }

    #[test]
    fn all_sockets_together_have_a_bound_but_each_has_its_own_bytes() {
        let backlog = backlog();
        let _others = testing::fill(&backlog, CLIENT_BYTES_MAX);
        let (large, now) = inbox(&backlog);
        assert!(large.received(OWN_BYTES + CLIENT_BYTES_MAX, now));
        let (other, _) = inbox(&backlog);
        assert!(other.received(OWN_BYTES, now) && !other.is_refused());
        assert!(!other.received(1, now) && other.is_refused());
        large.complete();
        assert!(other.received(CLIENT_BYTES_MAX, now), "what is complete no longer counts");
        drop(other);
        assert!(large.received(OWN_BYTES + CLIENT_BYTES_MAX, now), "nor does what has ended");
    }
}

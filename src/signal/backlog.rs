//! A bound for the bytes that all sockets together keep in memory in one direction, and for those of each client. However much others
//! keep, each socket has [`OWN_BYTES`] of its own, so clients that do not read, or do not finish, cannot close the sockets of those
//! that do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turn_ledger::ClientKey;
use turn_limits::Held;

use super::occupancy::SIGNALING_SOCKETS_MAX;

/// The most bytes that all sockets together may keep in one direction. A frame to many clients counts once for each.
pub const BACKLOG_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The bytes that one socket may always keep: a session description with its candidates.
pub const OWN_BYTES: usize = 16 * 1024;
/// What all sockets share: the rest, once each has its own.
pub(super) const SHARED_BYTES_MAX: usize = BACKLOG_BYTES_MAX - SIGNALING_SOCKETS_MAX * OWN_BYTES;
/// The most shared bytes that the sockets of one client may keep. An IPv6 /48 has four times as much.
pub const CLIENT_BYTES_MAX: usize = SHARED_BYTES_MAX / 16;

/// The bytes that all sockets keep, without those that each of them has of its own.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    all: usize,
    by_client: Held<usize>,
}

/// The part of one socket.
#[derive(Debug)]
pub struct SocketBacklog {
    all: Backlog,
    client: ClientKey,
}

impl Backlog {
    /// The part of a new socket of this client.
    pub fn of(&self, client: ClientKey) -> SocketBacklog {
        SocketBacklog { all: self.clone(), client }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocketBacklog {
    /// What this socket keeps grows or shrinks from `before` to `after` bytes. `false` if there is no room for more: then nothing
    /// has changed.
    pub(super) fn change(&self, before: usize, after: usize) -> bool {
        let (before, after) = (shared(before), shared(after));
        if before == after {
            return true;
        }
        let (mut kept, more) = (self.all.lock(), after.saturating_sub(before));
        let is_full = |of_client: &usize, factor: usize| of_client + more > CLIENT_BYTES_MAX * factor;
        if more > 0
            && (kept.all + more > SHARED_BYTES_MAX || kept.by_client.full(self.client, is_full).is_some())
        {
            return false;
        }
        kept.all = kept.all - before + after;
        kept.by_client.change(self.client, |of_client| {
            *of_client = *of_client - before + after;
            *of_client > 0
        });
        true
    }
}

/// The part that is beyond the socket's own bytes.
fn shared(bytes: usize) -> usize {
    bytes.saturating_sub(OWN_BYTES)
}

/// For tests of what uses a backlog.
#[cfg(test)]
pub(super) mod testing {
    use std::net::Ipv4Addr;

    use super::*;

    pub(in crate::signal) const CLIENT: ClientKey = ClientKey::V4(Ipv4Addr::new(192, 0, 2, 1));

    /// Other clients keep all shared bytes except `rest`.
    pub(in crate::signal) fn fill(backlog: &Backlog, rest: usize) {
        let mut left = SHARED_BYTES_MAX - rest;
        for n in 1.. {
            let bytes = left.min(CLIENT_BYTES_MAX);
            assert!(backlog.of(ClientKey::V4(Ipv4Addr::new(10, 0, 0, n))).change(0, OWN_BYTES + bytes));
            left -= bytes;
            if left == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    #[test]
    fn the_sockets_of_one_client_share_a_sixteenth_and_those_of_others_keep_their_room() {
        let backlog = Backlog::default();
        let [first, second] = ["192.0.2.1"; 2].map(|address| backlog.of(client(address)));
        let half = OWN_BYTES + CLIENT_BYTES_MAX / 2;
        assert!(first.change(0, half) && second.change(0, half), "to the last byte");
        assert!(!first.change(half, half + 1));
        assert!(backlog.of(client("192.0.2.1")).change(0, OWN_BYTES), "a socket's own bytes are no share");
        assert!(backlog.of(client("192.0.2.2")).change(0, OWN_BYTES + CLIENT_BYTES_MAX));
        assert!(second.change(half, 0) && first.change(half, half + 1), "what is sent no longer counts");
    }

    #[test]
    fn a_48_has_four_times_as_much_and_all_together_have_a_bound() {
        let backlog = Backlog::default();
        let whole = OWN_BYTES + CLIENT_BYTES_MAX;
        for n in 0..4 {
            assert!(backlog.of(client(&format!("2001:db8:0:{n}::1"))).change(0, whole));
        }
        assert!(!backlog.of(client("2001:db8:0:9::1")).change(0, OWN_BYTES + 1));
        for group in 1..4 {
            assert!((0..4).all(|n| backlog.of(client(&format!("2001:db8:{group}:{n}::1"))).change(0, whole)));
        }
        assert!(!backlog.of(testing::CLIENT).change(0, OWN_BYTES + 1), "four /48s have all of it");
        let full = Backlog::default();
        testing::fill(&full, CLIENT_BYTES_MAX);
        assert!(!full.of(client("198.51.100.1")).change(0, whole + 1));
        assert!(
            full.of(client("198.51.100.1")).change(0, whole) && !full.of(testing::CLIENT).change(0, whole)
        );
    }
}

//! A bound for the bytes that all sockets together keep in memory in one direction. However much others keep, each socket has
//! [`OWN_BYTES`] of its own, so clients that do not read, or do not finish, cannot close the sockets of those that do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::occupancy::SIGNALING_SOCKETS_MAX;

/// The most bytes that all sockets together may keep in one direction. A frame to many clients counts once for each.
pub const BACKLOG_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The bytes that one socket may always keep: a session description with its candidates.
pub const OWN_BYTES: usize = 16 * 1024;
/// What all sockets share: the rest, once each has its own.
pub(super) const SHARED_BYTES_MAX: usize = BACKLOG_BYTES_MAX - SIGNALING_SOCKETS_MAX * OWN_BYTES;

/// The bytes that all sockets keep, without those that each of them has of its own.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// Whether what one socket keeps may grow from `before` to `after` bytes.
    pub(super) fn has_room(&self, before: usize, after: usize) -> bool {
        let more = shared(after) - shared(before);
        more == 0 || self.0.load(Ordering::Relaxed).saturating_add(more) <= SHARED_BYTES_MAX
    }

    /// What one socket keeps has changed from `before` to `after` bytes.
    pub(super) fn changed(&self, before: usize, after: usize) {
        let (before, after) = (shared(before), shared(after));
        if after >= before {
            self.0.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.0.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// The part that is beyond the socket's own bytes.
fn shared(bytes: usize) -> usize {
    bytes.saturating_sub(OWN_BYTES)
}

//! What all sockets together keep in memory in one direction, and those of each client. However much others keep, each socket has
//! [`OWN_BYTES`] of its own, so clients that do not read, or do not finish, cannot close the sockets of those that do.

use turn_limits::{MemoryBounds, MemoryQuota, SHARES};

/// The bytes that one socket may always keep: a session description with its candidates.
pub(crate) const OWN_BYTES: usize = 16 * 1024;
/// The most bytes that all sockets together may keep in one direction, beyond what each has of its own. A frame to many clients counts
/// once for each.
const SHARED_BYTES_MAX: usize = SHARES * CLIENT_BYTES_MAX;
/// The most shared bytes that the sockets of one client may keep. An IPv6 /48 has four times as much.
pub(crate) const CLIENT_BYTES_MAX: usize = 4 << 20;

/// What the sockets keep in one direction: nothing yet.
pub(crate) fn backlog() -> MemoryQuota {
    MemoryQuota::new(MemoryBounds {
        own: OWN_BYTES,
        client_max: CLIENT_BYTES_MAX,
        total_max: SHARED_BYTES_MAX,
    })
}

/// For tests of what uses a backlog.
#[cfg(test)]
pub(crate) mod testing {
    use std::net::Ipv4Addr;

    use turn_ledger::ClientKey;
    use turn_limits::MemoryUse;

    use super::*;

    pub(crate) const CLIENT: ClientKey = ClientKey::V4(Ipv4Addr::new(192, 0, 2, 1));

    /// Other clients keep all shared bytes except `rest`, until the result is dropped.
    pub(crate) fn fill(backlog: &MemoryQuota, rest: usize) -> Vec<MemoryUse> {
        let mut left = SHARED_BYTES_MAX - rest;
        let clients = (0..).map(|n| ClientKey::V4(Ipv4Addr::new(10, 0, 0, n)));
        let parts = clients.map_while(|client| {
            let bytes = left.min(CLIENT_BYTES_MAX);
            left -= bytes;
            let mut part = backlog.open(client);
            (bytes > 0).then(|| assert!(part.try_resize(OWN_BYTES + bytes))).map(|()| part)
        });
        parts.collect()
    }
}

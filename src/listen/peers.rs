//! The open connections. A peer that is not a trusted proxy may have a share of them, at most [`SOCKETS_PER_PEER_MAX`]. If it opens one
//! more, the connection that has been idle for longest is closed, so a health check from an address at its limit is still served. When all
//! sockets are open, this happens to the peer that has most of them, so that the next newcomer finds a place. A connection whose request
//! is being handled is not idle. Only open sockets have rows, so the bound on sockets bounds the table.
//!
//! The same table bounds what the broker keeps for a peer that does not read: [`UNREAD_PER_PEER_MAX`]. Above that, the connections with the
//! oldest unread responses are closed. The table also ends connections that wait for too long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::OnceLock;

use tokio::time::Instant;
use turn_base::request::client_addr::TrustedProxies;
use turn_ledger::ClientKey;
use turn_limits::{Held, Share};

use super::connection::{Connection, SYSTEM_BYTES};
use super::prelude::*;
use crate::app::process::SOCKETS_MAX;
use crate::forward::{CONNECTING_MAX, CountedSocket, Nonce};
use crate::telemetry::metrics::Metrics;

/// The most open sockets of one IPv4 address, or of one IPv6 /64.
pub const SOCKETS_PER_PEER_MAX: usize = SOCKETS_MAX / PEERS;
/// So many peers fill all sockets.
const PEERS: usize = 32;
/// What a peer may have at least, however few sockets there are.
const SOCKETS_PER_PEER_MIN: usize = 16;
/// The most unread bytes of responses to one IPv4 address, or to one IPv6 /64: what waits to be written, and the system's buffers.
pub const UNREAD_PER_PEER_MAX: usize = 8_000_000;
// The system's buffers alone, of as many sockets as a peer may have, stay below the bound on unread bytes.
const _: () = assert!(SOCKETS_PER_PEER_MAX * SYSTEM_BYTES < UNREAD_PER_PEER_MAX);
// Another replica opens at most `CONNECTING_MAX` connections at once. Until it has proven itself, they count for its address, where other
// connections may be open, too.
const _: () = assert!(CONNECTING_MAX <= SOCKETS_PER_PEER_MAX / 2);

/// The open connections of all peers.
pub(super) struct Peers {
    table: Mutex<Table>,
    trusted: TrustedProxies,
    /// The most open sockets.
    most: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    log: Throttle,
}

/// The row of an open socket. Dropping it frees the row.
pub(super) struct Slot {
    pub(super) connection: Arc<Connection>,
    pub(super) peers: Arc<Peers>,
    /// The nonce with which another replica signs its requests on this socket.
    nonce: OnceLock<Nonce>,
}

/// The open connections by number, so in the order in which they were opened, and for each client the numbers of its connections.
#[derive(Default)]
struct Table {
    opened: u64,
    open: BTreeMap<u64, Arc<Connection>>,
    by_client: Held<BTreeSet<u64>>,
}

impl Peers {
    /// `most`: the number of places for sockets.
    pub(super) fn new(
        trusted: TrustedProxies,
        most: usize,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), trusted, most, clock, metrics, log: Throttle::default() })
    }

    /// Takes a row for a new socket of `peer`. If the peer has too many sockets, ends those that have been idle for longest. `None` if the
    /// peer has too many sockets and none is idle.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Slot>> {
        let peer = peer.to_canonical();
        // A trusted proxy forwards for many clients.
        let client = (!self.trusted.contain(peer)).then(|| ClientKey::of(peer));
        let mut table = self.table.lock();
        // The client has a share, and the /48 around it has one that is `factor` times as large. Below, make room in each full share.
        let share = (self.most / PEERS).max(SOCKETS_PER_PEER_MIN);
        let is_full = |numbers: &BTreeSet<u64>, factor| numbers.len() >= share * factor;
        while let Some(full) = client.and_then(|client| table.by_client.full(client, is_full)) {
            let Some(idle) = table.uncount_longest(&full, Connection::idle_since) else {
                self.report(peer, "refused");
                return None;
            };
            idle.ended.cancel();
            self.report(peer, "closed_idle");
        }
        table.opened += 1;
        let number = table.opened;
        let connection = Arc::new(Connection::new(number, client));
        table.open.insert(number, Arc::clone(&connection));
        if let Some(client) = client {
            table.by_client.change(client, |numbers| numbers.insert(number));
        }
        self.make_room(&mut table);
        Some(Arc::new(Slot { connection, peers: Arc::clone(self), nonce: OnceLock::new() }))
    }

    /// The number of open sockets.
    pub(super) fn open(&self) -> usize {
        self.table.lock().open.len()
    }

    /// If no place is left, ends the connection that has been idle for longest of those of the client that has most.
    fn make_room(&self, table: &mut Table) {
        if table.open.len() < self.most {
            return;
        }
        let shares = table.by_client.iter().filter(|(share, _)| share.factor() == 1);
        let largest = shares.max_by_key(|(_, numbers)| numbers.len()).map(|(share, _)| share.clone());
        if let Some(idle) = largest.and_then(|share| table.uncount_longest(&share, Connection::idle_since)) {
            idle.ended.cancel();
            self.metrics.sockets_limited.count(["closed_idle"]);
        }
    }

    /// Ends the connections that have waited for too long.
    pub(super) fn end_overdue(&self, now: Instant) {
        let mut table = self.table.lock();
        self.make_room(&mut table);
        let is_crowded = table.open.len() >= self.most / 2;
        for connection in table.open.values() {
            if connection.deadline(is_crowded).is_some_and(|deadline| deadline <= now) {
                connection.ended.cancel();
            }
        }
    }

    /// Called when a part of a response waits because the client does not read. If the broker keeps too much for the client, ends its other
    /// connections: first the one whose response has been unread for longest. `latest` stays, because one response alone may exceed the
    /// bound.
    pub(super) fn stalled(&self, latest: &Connection) {
        let (Some(client), true) = (latest.client, latest.is_counted()) else { return };
        let unread_since = |connection: &Connection| {
            let unwritten = connection.unwritten().filter(|unwritten| unwritten.bytes > 0)?;
            if connection.number == latest.number { None } else { Some(unwritten.since) }
        };
        let mut table = self.table.lock();
        loop {
            let is_full =
                |numbers: &BTreeSet<u64>, factor| table.unread(numbers) > UNREAD_PER_PEER_MAX * factor;
            let Some(full) = table.by_client.full(client, is_full) else { return };
            let Some(longest) = table.uncount_longest(&full, unread_since) else { return };
            longest.discard_unread();
            longest.ended.cancel();
            self.metrics.sockets_limited.count(["closed_unread"]);
        }
    }

    fn report(&self, peer: IpAddr, outcome: &'static str) {
        self.metrics.sockets_limited.count([outcome]);
        if let Some(held_back) = self.log.pass(self.clock.instant()) {
            tracing::warn!(
                outcome,
                held_back,
                "one address opens too many sockets; if it is a proxy, add it to TRUSTED_PROXIES"
            );
            tracing::info!(%peer, outcome, "an address has opened too many sockets");
        }
    }
}

impl CountedSocket for Slot {
    fn exempt(&self) {
        if self.connection.exempt() {
            self.peers.table.lock().uncount(&self.connection);
        }
    }

    fn nonce(&self) -> &OnceLock<Nonce> {
        &self.nonce
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.peers.table.lock();
        table.uncount(&self.connection);
        table.open.remove(&self.connection.number);
    }
}

impl Table {
    /// Finds the connection of a full share that has waited for longest, and stops counting it. `since`: since when a connection waits;
    /// `None` if it does not.
    fn uncount_longest(
        &mut self,
        full: &Share,
        since: impl Fn(&Connection) -> Option<Instant>,
    ) -> Option<Arc<Connection>> {
        let numbers = self.by_client.get(full).into_iter().flatten();
        let connections = numbers.filter_map(|number| self.open.get(number));
        let waiting = connections.filter_map(|connection| Some((since(connection)?, connection)));
        let (_, first) = waiting.min_by_key(|(instant, connection)| (*instant, connection.number))?;
        let longest = Arc::clone(first);
        self.uncount(&longest);
        Some(longest)
    }

    /// Stops counting a connection. Does nothing if it no longer counts.
    fn uncount(&mut self, connection: &Connection) {
        if let Some(client) = connection.client {
            self.by_client.change(client, |numbers| {
                numbers.remove(&connection.number);
                !numbers.is_empty()
            });
        }
    }

    /// The unread bytes of some connections. For each, the system's buffers count in full.
    fn unread(&self, numbers: &BTreeSet<u64>) -> usize {
        let connections = numbers.iter().filter_map(|number| self.open.get(number));
        connections.map(|open| SYSTEM_BYTES + open.unwritten().map_or(0, |unwritten| unwritten.bytes)).sum()
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
pub(super) mod tests;

//! The open sockets of each peer. A peer that is not a trusted proxy may have at most [`SOCKETS_PER_PEER_MAX`]. If it opens
//! one more, its longest-idle socket is closed, so a health check from an address at its limit is still served. A socket whose
//! request is being handled is not idle. Only open sockets have rows, so the bound on sockets bounds the table.
//!
//! The same table bounds what the broker keeps for a peer that does not read: [`UNREAD_PER_PEER_MAX`]. If it is more, the connections
//! with its oldest unread responses are closed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::progress::Progress;
use super::socket::SYSTEM_BYTES;
use crate::forward::{CONNECTING_MAX, CountedSocket, Nonce};
use crate::telemetry::metrics::Metrics;
use turn_base::clock::Clock;
use turn_base::request::client_addr::TrustedProxies;
use turn_base::throttle::Throttle;
use turn_ledger::ClientKey;
use turn_limits::{Held, Share};

/// The most open sockets of one IPv4 address, or of one IPv6 /64.
pub const SOCKETS_PER_PEER_MAX: usize = 256;
/// The most unread bytes of responses to one IPv4 address, or to one IPv6 /64: what waits to be written, and the system's buffers.
pub const UNREAD_PER_PEER_MAX: usize = 8_000_000;
// A peer with as many sockets as it may have does not exceed it with the system's buffers alone.
const _: () = assert!(SOCKETS_PER_PEER_MAX * SYSTEM_BYTES < UNREAD_PER_PEER_MAX);
// Another replica opens so many at once, and some connections may be new for another reason.
const _: () = assert!(CONNECTING_MAX <= SOCKETS_PER_PEER_MAX / 2);

/// The sockets of all peers.
pub(super) struct Peers {
    table: Mutex<Table>,
    trusted: TrustedProxies,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    log: Throttle,
}

/// The slot of one open socket. Dropping it frees the slot.
pub(super) struct Slot {
    peers: Arc<Peers>,
    /// The client that the socket is counted for, and its number. `None` for a trusted proxy.
    counted: Option<(ClientKey, u64)>,
    /// Whether the peer turned out to be another replica, which forwards for many clients.
    is_of_replica: AtomicBool,
    /// What a replica signs its requests on this socket with.
    nonce: OnceLock<Nonce>,
}

impl Peers {
    pub(super) fn new(trusted: TrustedProxies, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Arc<Self> {
        let log = Throttle::new();
        Arc::new(Self { table: Mutex::default(), trusted, clock, metrics, log })
    }

    /// Takes a slot for a new socket of `peer`. `None` if the peer has too many sockets and none is idle.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, progress: &Progress) -> Option<Slot> {
        let peer = peer.to_canonical();
        // A trusted proxy forwards for many clients.
        if self.trusted.contain(peer) {
            return Some(self.slot(None));
        }
        let client = ClientKey::of(peer);
        let admission = self.table.lock().admit(client, progress);
        match &admission {
            Admission::Open { evicted: None, .. } => {}
            Admission::Open { evicted: Some(idle), .. } => {
                idle.request_close();
                self.report(peer, "closed_idle");
            }
            Admission::Refused => self.report(peer, "refused"),
        }
        let Admission::Open { id, .. } = admission else { return None };
        Some(self.slot(Some((client, id))))
    }

    fn slot(self: &Arc<Self>, counted: Option<(ClientKey, u64)>) -> Slot {
        Slot {
            peers: Arc::clone(self),
            counted,
            is_of_replica: AtomicBool::new(false),
            nonce: OnceLock::new(),
        }
    }

    /// A response to a client is not read. Ends older ones if the broker keeps too much for the client.
    fn stalled(&self, client: ClientKey, id: u64) {
        for ended in self.table.lock().make_room_for_unread(client, id) {
            ended.request_discard();
            self.metrics.sockets_limited.count("closed_unread");
        }
    }

    fn report(&self, peer: IpAddr, outcome: &'static str) {
        self.metrics.sockets_limited.count(outcome);
        if let Some(held_back) = self.log.pass(self.clock.instant()) {
            tracing::warn!(
                %peer, outcome, held_back,
                "one address opens too many sockets; if it is a proxy, add it to TRUSTED_PROXIES"
            );
        }
    }
}

impl Slot {
    /// Whether the socket counts for a client.
    pub(super) fn is_counted(&self) -> bool {
        self.counted.is_some() && !self.is_of_replica()
    }

    /// Whether another replica has opened the socket.
    pub(super) fn is_of_replica(&self) -> bool {
        self.is_of_replica.load(Ordering::Relaxed)
    }

    /// A part of a response waits because the client does not read.
    pub(super) fn stalled(&self) {
        if let Some((client, id)) = self.counted.filter(|_| self.is_counted()) {
            self.peers.stalled(client, id);
        }
    }
}

impl CountedSocket for Slot {
    fn exempt(&self) {
        let is_known = self.is_of_replica.swap(true, Ordering::Relaxed);
        if let Some((client, id)) = self.counted.filter(|_| !is_known) {
            self.peers.table.lock().remove(client, id);
        }
    }

    fn nonce(&self) -> &OnceLock<Nonce> {
        &self.nonce
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((client, id)) = self.counted {
            self.peers.table.lock().remove(client, id);
        }
    }
}

/// The sockets by client, in the order in which they were opened.
#[derive(Default)]
struct Table {
    next_id: u64,
    sockets: Held<BTreeMap<u64, (Progress, ClientKey)>>,
}

#[must_use]
enum Admission {
    Open {
        id: u64,
        /// The socket that is closed for the new one.
        evicted: Option<Progress>,
    },
    Refused,
}

impl Table {
    fn admit(&mut self, client: ClientKey, progress: &Progress) -> Admission {
        let mut evicted = None;
        // Closing a socket of the client makes room in the /48 around it too.
        while let Some(full) =
            self.sockets.full(client, |sockets, factor| sockets.len() >= SOCKETS_PER_PEER_MAX * factor)
        {
            let Some(longest) = self.remove_longest(&full, |_, progress| progress.idle_since()) else {
                return Admission::Refused;
            };
            evicted = Some(longest);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.sockets.change(client, |sockets| {
            sockets.insert(id, (progress.clone(), client));
            true
        });
        Admission::Open { id, evicted }
    }

    /// Removes the sockets of a client, or of the /48 around it, whose responses have been unread for longest, until what is kept is
    /// within the bound. The socket `latest` stays: one response alone may exceed it.
    fn make_room_for_unread(&mut self, client: ClientKey, latest: u64) -> Vec<Progress> {
        let mut ended = Vec::new();
        let is_full = |sockets: &BTreeMap<_, _>, factor| unread(sockets) > UNREAD_PER_PEER_MAX * factor;
        while let Some(full) = self.sockets.full(client, is_full) {
            let unread_since = |id: u64, progress: &Progress| {
                let unwritten =
                    progress.unwritten().filter(|unwritten| unwritten.bytes > 0 && id != latest)?;
                Some(unwritten.since)
            };
            let Some(longest) = self.remove_longest(&full, unread_since) else { break };
            ended.push(longest);
        }
        ended
    }

    /// Removes the socket in a full row that waits for longest. `since`: since when a socket waits, if it does.
    fn remove_longest(
        &mut self,
        full: &Share,
        since: impl Fn(u64, &Progress) -> Option<Instant>,
    ) -> Option<Progress> {
        let sockets = self.sockets.get(full).into_iter().flatten();
        let waiting =
            sockets.filter_map(|(id, (progress, of))| Some((since(*id, progress)?, *id, *of, progress)));
        let (_, id, of, progress) = waiting.min_by_key(|(since, id, ..)| (*since, *id))?;
        let progress = progress.clone();
        self.remove(of, id);
        Some(progress)
    }

    /// Removes a socket that may have been removed before.
    fn remove(&mut self, client: ClientKey, id: u64) {
        self.sockets.change(client, |sockets| {
            sockets.remove(&id);
            !sockets.is_empty()
        });
    }
}

/// The unread bytes of some sockets.
fn unread(sockets: &BTreeMap<u64, (Progress, ClientKey)>) -> usize {
    let waiting = |progress: &Progress| progress.unwritten().map_or(0, |unwritten| unwritten.bytes);
    sockets.values().map(|(progress, _)| SYSTEM_BYTES + waiting(progress)).sum()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use turn_base::clock::SystemClock;
    use turn_base::request::client_addr::FORWARDED_FOR;

    const NONE: [usize; 0] = [];

    fn peers() -> Arc<Peers> {
        let networks = ["10.0.0.0/8".parse().unwrap()].into();
        let trusted = TrustedProxies { networks, client_header: FORWARDED_FOR };
        Peers::new(trusted, Arc::new(SystemClock), Arc::new(Metrics::default()))
    }

    /// Opens a socket. Returns its slot and state.
    fn open(peers: &Arc<Peers>, peer: &str) -> Option<(Slot, Progress)> {
        let progress = Progress::new(Counter::default());
        Some((peers.admit(peer.parse().unwrap(), &progress)?, progress))
    }

    fn open_many(peers: &Arc<Peers>, peer: &str, count: usize) -> Vec<(Slot, Progress)> {
        (0..count).map(|_| open(peers, peer).unwrap()).collect()
    }

    /// The indexes of the sockets that were told to close since the last call.
    fn closed(sockets: &[(Slot, Progress)]) -> Vec<usize> {
        let is_told = |progress: &Progress| {
            pin!(progress.close_requested()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        (0..sockets.len()).filter(|at| is_told(&sockets[*at].1)).collect()
    }

    #[test]
    fn at_the_limit_the_longest_idle_socket_is_closed() {
        let peers = peers();
        let sockets = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MAX);
        // The first has had a response since then, the second is being served, the third waits for a body.
        let _ = sockets[0].1.begin_service(false);
        sockets[0].1.end_service(Duration::ZERO, 0);
        let _ = sockets[1].1.begin_service(false);
        let _ = sockets[2].1.begin_service(true);
        assert_eq!(closed(&sockets), NONE);
        let _more = open_many(&peers, "::ffff:192.0.2.1", 2);
        assert_eq!(closed(&sockets), [3, 4]);
        let _other = open_many(&peers, "192.0.2.2", SOCKETS_PER_PEER_MAX);
        assert_eq!(closed(&sockets), NONE, "another address");
    }

    #[test]
    fn a_new_socket_is_refused_only_if_none_is_idle() {
        let peers = peers();
        let sockets = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MAX);
        let bodies: Vec<_> = sockets.iter().map(|(_, progress)| progress.begin_service(true)).collect();
        for body in &bodies[1..] {
            body.arrived();
        }
        let first = open(&peers, "192.0.2.1");
        assert!(first.is_some() && closed(&sockets) == [0], "its body has not arrived");
        let _ = first.as_ref().map(|(_, progress)| progress.begin_service(false));
        assert!(open(&peers, "192.0.2.1").is_none());
        drop(first);
        assert!(open(&peers, "192.0.2.1").is_some(), "a closed socket has freed its slot");
    }

    #[test]
    fn a_64_has_the_limit_of_a_peer_and_a_48_four_times_that() {
        let peers = peers();
        let mut sockets = open_many(&peers, "2001:db8:0:1::1", SOCKETS_PER_PEER_MAX);
        let _one_more = open(&peers, "2001:db8:0:1:ffff::1").unwrap();
        assert_eq!(closed(&sockets), [0], "the same /64");
        for site in 2..=4 {
            sockets.extend(open_many(&peers, &format!("2001:db8:0:{site}::1"), SOCKETS_PER_PEER_MAX));
        }
        assert_eq!(closed(&sockets), NONE, "the /48 is full");
        let _fifth = open(&peers, "2001:db8:0:5::1").unwrap();
        assert_eq!(closed(&sockets), [1], "the longest-idle of the /48");
        let _elsewhere = open(&peers, "2001:db8:1:1::1").unwrap();
        assert_eq!(closed(&sockets), NONE, "another /48");
    }

    /// A socket whose client reads nothing of a response of so many bytes.
    fn ask(peers: &Arc<Peers>, peer: &str, bytes: usize) -> (Slot, Progress) {
        let (slot, progress) = open(peers, peer).unwrap();
        progress.end_service(Duration::from_secs(75), bytes);
        slot.stalled();
        (slot, progress)
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn the_oldest_unread_responses_make_room_and_idle_sockets_stay() {
        let peers = peers();
        let mut sockets = vec![open(&peers, "192.0.2.1").unwrap()];
        sockets.extend((0..7).map(|_| ask(&peers, "192.0.2.1", MIB)));
        assert_eq!(closed(&sockets), NONE);
        let _another = ask(&peers, "192.0.2.2", 7 * MIB);
        sockets.push(ask(&peers, "192.0.2.1", MIB));
        assert_eq!(closed(&sockets), [1]);
        sockets.push(ask(&peers, "192.0.2.1", 3 * MIB));
        assert_eq!(closed(&sockets), [2, 3, 4]);
    }

    #[test]
    fn one_response_alone_may_exceed_the_bound() {
        let peers = peers();
        let sockets = [ask(&peers, "192.0.2.1", MIB), ask(&peers, "192.0.2.1", 20 * MIB)];
        assert_eq!(closed(&sockets), [0]);
    }

    #[test]
    fn the_buffers_of_the_system_count() {
        let peers = peers();
        let mut sockets = open_many(&peers, "192.0.2.1", SOCKETS_PER_PEER_MAX - 2);
        sockets.push(ask(&peers, "192.0.2.1", MIB));
        assert_eq!(closed(&sockets), NONE);
        sockets.push(ask(&peers, "192.0.2.1", MIB));
        assert_eq!(closed(&sockets), [SOCKETS_PER_PEER_MAX - 2]);
    }

    #[test]
    fn a_48_may_keep_four_times_as_much_unread() {
        let peers = peers();
        let of_site = |site: usize| ask(&peers, &format!("2001:db8:1:{site:x}::1"), 7 * MIB);
        let mut sockets: Vec<_> = (0..4).map(of_site).collect();
        assert_eq!(closed(&sockets), NONE);
        sockets.push(of_site(4));
        assert_eq!(closed(&sockets), [0], "of another /64");
    }

    #[test]
    fn a_network_without_sockets_has_no_row() {
        let peers = peers();
        let sockets = open_many(&peers, "2001:db8::1", SOCKETS_PER_PEER_MAX + 5);
        assert_eq!(closed(&sockets).len(), 5);
        drop(sockets);
        assert!(peers.table.lock().sockets.is_empty());
    }
}

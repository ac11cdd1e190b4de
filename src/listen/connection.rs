//! The state of an open connection: what it waits for, until when, and how much of its latest response is not written yet. A connection is
//! idle while it waits for its client: for a head, for a body, or for the client to read a response. An idle connection can be ended to
//! make room for another connection of the same peer.

use std::sync::atomic::AtomicBool;

use tokio::time::Instant;
use turn_base::{BodyProgress, Received};
use turn_ledger::ClientKey;

use super::not_http::FIRST_BYTES;
use super::prelude::*;

/// The longest wait for a first byte, and between requests, while half of all sockets are open.
const KEEP_ALIVE_CROWDED: Duration = Duration::from_secs(2);

/// The system's buffer for what is sent to a client, in bytes. Linux doubles it for its own structures. A client far away gets about one
/// buffer in each round trip.
pub(super) const SEND_BUFFER: usize = 8 * 1024;

/// The most bytes of one write. The system accepts one more write when its buffer is almost full.
pub(super) const WRITE_MAX: usize = 8 * 1024;

/// The most memory of the system for what was written to a client, in bytes: the doubled buffer, and one write beyond it.
pub(super) const SYSTEM_BYTES: usize = 2 * SEND_BUFFER + WRITE_MAX;

/// The state of a connection, shared by its socket, its service, and the table of connections.
pub(super) struct Connection {
    /// Its place in the order of all connections.
    pub(super) number: u64,
    /// The client that it counts for. `None` for a trusted proxy.
    pub(super) client: Option<ClientKey>,
    /// Whether the peer turned out to be another replica, which forwards for many clients.
    is_of_replica: AtomicBool,
    state: Mutex<State>,
    /// Whether the body of the current request has arrived.
    body_arrived: Arc<AtomicBool>,
    /// Canceled once the connection must end.
    pub(super) ended: CancellationToken,
    /// Whether the system must discard what the client has not read when the socket is closed.
    discards_unread: AtomicBool,
}

struct State {
    phase: Phase,
    /// Whether the latest request has a body. A part of the body may be unread.
    has_body: bool,
    /// The latest response, until all of it has been written.
    unwritten: Option<Unwritten>,
    /// The first bytes of the connection, until the head of its first request is complete.
    first_bytes: Option<Vec<u8>>,
    /// The latest of these instants: the connection was opened, a head was complete, a response was ready, the system took a part of a
    /// response.
    since: Instant,
}

/// What is left of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwritten {
    /// When the response was ready.
    pub(super) since: Instant,
    /// Bytes that wait to be written.
    pub(super) bytes: usize,
}

enum Phase {
    /// No byte of the first request has arrived.
    Opened,
    /// No byte of the next request has arrived.
    Idle { keep_alive: Duration },
    /// A request is arriving.
    Receiving { until: Instant },
    /// A handler has the request and enforces the deadline of its body.
    Handled,
    /// The connection is a WebSocket, whose protocol has timers of its own. `received` counts what arrives; `None` if nothing counts it
    /// here.
    Upgraded { received: Option<Received> },
}

impl Connection {
    /// A new connection, whose first request must begin within [`REQUEST_TIMEOUT`].
    pub(super) fn new(number: u64, client: Option<ClientKey>) -> Self {
        Self {
            number,
            client,
            is_of_replica: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: Phase::Opened,
                has_body: false,
                unwritten: None,
                first_bytes: Some(Vec::new()),
                since: now(),
            }),
            body_arrived: Arc::default(),
            ended: CancellationToken::new(),
            discards_unread: AtomicBool::new(false),
        }
    }

    /// Whether another replica has opened the connection.
    pub(super) fn is_of_replica(&self) -> bool {
        self.is_of_replica.load(Ordering::Relaxed)
    }

    /// Notes that another replica has opened the connection. Returns whether this is new.
    pub(super) fn exempt(&self) -> bool {
        !self.is_of_replica.swap(true, Ordering::Relaxed)
    }

    /// Whether the connection and its unread bytes count for a client.
    pub(super) fn is_counted(&self) -> bool {
        self.client.is_some() && !self.is_of_replica()
    }

    /// Begins to handle a request whose headers have arrived. Returns the progress of its body, with the deadline.
    pub(super) fn begin_service(&self, has_body: bool) -> BodyProgress {
        let mut state = self.state.lock();
        let until = match state.phase {
            Phase::Receiving { until } => until,
            _ => clock::deadline(REQUEST_TIMEOUT),
        };
        state.phase = Phase::Handled;
        state.first_bytes = None;
        state.has_body = has_body;
        state.since = now();
        self.body_arrived.store(!has_body, Ordering::Relaxed);
        BodyProgress::new(until, Arc::clone(&self.body_arrived))
    }

    /// Notes that a response is ready, with a body of this many bytes. After it the connection may be idle for `keep_alive`.
    pub(super) fn end_service(&self, keep_alive: Duration, bytes: usize) {
        let mut state = self.state.lock();
        state.phase = Phase::Idle { keep_alive };
        state.since = now();
        state.unwritten = Some(Unwritten { since: state.since, bytes });
    }

    /// Notes that the response switches protocols: from now on no time limit of HTTP applies.
    pub(super) fn begin_upgraded(&self, received: Option<Received>) {
        self.state.lock().phase = Phase::Upgraded { received };
    }

    /// What waits to be written of a response.
    pub(super) fn unwritten(&self) -> Option<Unwritten> {
        self.state.lock().unwritten
    }

    /// Since when the connection has waited for its client; `None` while a handler has a request with all of its body, and for a WebSocket.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let is_busy = match state.phase {
            Phase::Opened | Phase::Idle { .. } | Phase::Receiving { .. } => false,
            Phase::Handled => self.body_arrived.load(Ordering::Relaxed),
            Phase::Upgraded { .. } => true,
        };
        if is_busy { None } else { Some(state.since) }
    }

    /// Whether unread bytes of a request may be on their way.
    pub(super) fn may_have_unread(&self) -> bool {
        !self.is_upgraded() && self.state.lock().has_body
    }

    pub(super) fn is_upgraded(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Upgraded { .. })
    }

    /// The first bytes of the connection. `None` once the head of its first request is complete.
    pub(super) fn first_bytes(&self) -> Option<Vec<u8>> {
        self.state.lock().first_bytes.clone()
    }

    /// Notes bytes that have arrived. `false` if the connection must end.
    pub(super) fn received(&self, bytes: &[u8]) -> bool {
        let mut state = self.state.lock();
        if let Some(first) = &mut state.first_bytes {
            first.extend(bytes.iter().take(FIRST_BYTES - first.len()));
        }
        match &state.phase {
            Phase::Opened | Phase::Idle { .. } => {
                state.phase = Phase::Receiving { until: clock::deadline(REQUEST_TIMEOUT) };
                true
            }
            Phase::Upgraded { received: Some(received) } => (received.0)(bytes.len(), now()),
            Phase::Receiving { .. } | Phase::Handled | Phase::Upgraded { received: None } => true,
        }
    }

    /// Notes that the system has taken this many bytes, because the client reads. The idle time begins again. A flush does not restart the
    /// idle time, because hyper flushes after every read, even of a head that arrives byte by byte.
    pub(super) fn sent(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.since = now();
        if let Some(unwritten) = &mut state.unwritten {
            unwritten.bytes = unwritten.bytes.saturating_sub(bytes);
        }
    }

    /// Notes that everything that was ready has been written. If bytes of the response are left, they come later from the leader.
    pub(super) fn written(&self) {
        let mut state = self.state.lock();
        state.unwritten = state.unwritten.filter(|unwritten| unwritten.bytes > 0);
    }

    /// Until when the connection may wait; `None` while a handler has the request, and for a WebSocket. `is_crowded`: whether half of all
    /// sockets are open.
    pub(super) fn deadline(&self, is_crowded: bool) -> Option<Instant> {
        let state = self.state.lock();
        // Another replica closes its idle connections itself, and relies on the usual time.
        let is_shorter = is_crowded && !self.is_of_replica();
        let longest = |usual: Duration| if is_shorter { usual.min(KEEP_ALIVE_CROWDED) } else { usual };
        match state.phase {
            Phase::Opened => Some(state.since + longest(REQUEST_TIMEOUT)),
            Phase::Idle { keep_alive } => Some(state.since + longest(keep_alive)),
            Phase::Receiving { until } => Some(until),
            Phase::Handled | Phase::Upgraded { .. } => None,
        }
    }

    /// Makes the system discard, when the socket is closed, what the client has not read.
    pub(super) fn discard_unread(&self) {
        self.discards_unread.store(true, Ordering::Relaxed);
    }

    /// Whether the system must discard what the client has not read.
    pub(super) fn discards_unread(&self) -> bool {
        self.discards_unread.load(Ordering::Relaxed)
    }
}

fn now() -> Instant {
    clock::timer_now()
}

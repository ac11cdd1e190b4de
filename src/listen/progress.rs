//! The state of a connection: what it waits for, until when, and what of its latest response is not written. It is idle while it
//! waits for its client: for a head, for a body, or for the client to read a response. An idle connection can be told to close, which
//! makes room for another one of the same peer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::not_http::FIRST_BYTES;
use turn_base::body::{BodyProgress, REQUEST_TIMEOUT};
use turn_base::clock;
use turn_base::response::Received;

/// The longest idle time between requests while half of all sockets are open.
const KEEP_ALIVE_CROWDED: Duration = Duration::from_secs(2);

/// The state of a connection, shared by its socket, its service, and the table of peers.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<SocketState>,
    /// Whether the body of the current request has arrived.
    body_arrived: Arc<AtomicBool>,
    request_close: Notify,
    /// Whether the system must discard what the client has not read when the socket is closed.
    discard_unread: AtomicBool,
    /// Bytes that were thrown away, of all connections.
    discarded: Counter,
}

#[derive(Debug)]
struct SocketState {
    phase: Phase,
    /// Whether the latest request has a body, of which a part may be unread.
    has_body: bool,
    /// The latest response, until all of it has been written.
    unwritten: Option<Unwritten>,
    /// The first bytes of the connection, until the head of its first request is complete.
    first_bytes: Option<Vec<u8>>,
    /// The latest of: the connection was opened, a head was complete, the client read a part of a response.
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

#[derive(Clone, Debug)]
enum Phase {
    /// No byte of the first request has arrived.
    Opened,
    /// No byte of the next request has arrived.
    Idle { keep_alive: Duration },
    /// A request is arriving.
    Receiving { until: Instant },
    /// A handler has the request and enforces the deadline of its body.
    Handled,
    /// The connection is a WebSocket, whose protocol has timers of its own. What arrives is counted.
    Upgraded { received: Option<Received> },
}

impl Progress {
    /// The state of a new socket, whose first request must begin within [`REQUEST_TIMEOUT`].
    pub(super) fn new(discarded: Counter) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(SocketState {
                phase: Phase::Opened,
                first_bytes: Some(Vec::new()),
                has_body: false,
                unwritten: None,
                since: now(),
            }),
            body_arrived: Arc::default(),
            request_close: Notify::new(),
            discard_unread: AtomicBool::new(false),
            discarded,
        }))
    }

    /// Begins to handle a request whose headers have arrived. Returns the deadline of its body.
    pub(super) fn begin_service(&self, has_body: bool) -> BodyProgress {
        let mut state = self.0.state.lock();
        let until = match state.phase {
            Phase::Receiving { until } => until,
            _ => clock::deadline(REQUEST_TIMEOUT),
        };
        state.phase = Phase::Handled;
        state.first_bytes = None;
        state.has_body = has_body;
        state.since = now();
        self.0.body_arrived.store(!has_body, Ordering::Relaxed);
        BodyProgress::new(until, Arc::clone(&self.0.body_arrived))
    }

    /// A response with a body of so many bytes is ready. The connection may be idle for `keep_alive`.
    pub(super) fn end_service(&self, keep_alive: Duration, bytes: usize) {
        let mut state = self.0.state.lock();
        state.phase = Phase::Idle { keep_alive };
        state.since = now();
        state.unwritten = Some(Unwritten { since: state.since, bytes });
    }

    /// What waits to be written of a response.
    pub(super) fn unwritten(&self) -> Option<Unwritten> {
        self.0.state.lock().unwritten
    }

    /// The response switches protocols: from now on no time limit of HTTP applies.
    pub(super) fn begin_upgraded(&self, received: Option<Received>) {
        self.0.state.lock().phase = Phase::Upgraded { received };
    }

    /// Since when the connection has waited for its client; `None` while a request is handled, and once it is upgraded.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.0.state.lock();
        let is_busy = match state.phase {
            Phase::Opened | Phase::Idle { .. } | Phase::Receiving { .. } => false,
            Phase::Handled => self.0.body_arrived.load(Ordering::Relaxed),
            Phase::Upgraded { .. } => true,
        };
        (!is_busy).then_some(state.since)
    }

    /// Whether unread bytes of a request may be on their way.
    pub(super) fn may_have_unread(&self) -> bool {
        let state = self.0.state.lock();
        state.has_body && !matches!(state.phase, Phase::Upgraded { .. })
    }

    /// Tells the connection to close.
    pub(super) fn request_close(&self) {
        self.0.request_close.notify_one();
    }

    /// Tells the connection to close. What its client has not read is discarded.
    pub(super) fn request_discard(&self) {
        self.discard_unread();
        self.request_close();
    }

    /// When the socket is closed, what its client has not read is discarded.
    pub(super) fn discard_unread(&self) {
        self.0.discard_unread.store(true, Ordering::Relaxed);
    }

    /// Whether the system must discard what the client has not read.
    pub(super) fn discards_unread(&self) -> bool {
        self.0.discard_unread.load(Ordering::Relaxed)
    }

    /// Counts bytes of a request that were thrown away.
    pub(super) fn discarded(&self, bytes: usize) {
        self.0.discarded.inc_by(u64::try_from(bytes).unwrap_or(0));
    }

    /// Resolves when [`Progress::request_close`] was called.
    pub(super) async fn close_requested(&self) {
        self.0.request_close.notified().await;
    }

    /// The first bytes of a connection on which there was no request.
    pub(super) fn first_bytes(&self) -> Option<Vec<u8>> {
        self.0.state.lock().first_bytes.clone()
    }

    /// Bytes have arrived. `false` if the connection must end.
    pub(super) fn received(&self, bytes: &[u8]) -> bool {
        let mut state = self.0.state.lock();
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

    /// Records that the client has read something, so its idle time begins again. A flush does not count, because hyper flushes after every
    /// read, even of a head that arrives byte by byte.
    pub(super) fn sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written @ 1..)) = written {
            let mut state = self.0.state.lock();
            state.since = now();
            if let Some(unwritten) = &mut state.unwritten {
                unwritten.bytes = unwritten.bytes.saturating_sub(*written);
            }
        }
    }

    /// All that was ready has been written. The rest of a response that another replica sends may come later.
    pub(super) fn written(&self) {
        let mut state = self.0.state.lock();
        state.unwritten = state.unwritten.filter(|unwritten| unwritten.bytes > 0);
    }

    /// When the connection must end. `is_crowded`: while half of all sockets are open.
    pub(super) fn deadline(&self, is_crowded: bool) -> Option<Instant> {
        let state = self.0.state.lock();
        match state.phase {
            Phase::Opened => Some(state.since + REQUEST_TIMEOUT),
            Phase::Idle { keep_alive } if is_crowded => {
                Some(state.since + keep_alive.min(KEEP_ALIVE_CROWDED))
            }
            Phase::Idle { keep_alive } => Some(state.since + keep_alive),
            Phase::Receiving { until } => Some(until),
            Phase::Handled | Phase::Upgraded { .. } => None,
        }
    }
}

fn now() -> Instant {
    clock::deadline(Duration::ZERO)
}

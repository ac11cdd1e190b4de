//! A client's socket with three time limits. A request must arrive within [`REQUEST_TIMEOUT`] of its first byte, body
//! included. The first request must begin within the same time after the connection is opened. Between requests a connection
//! may be idle for [`KEEP_ALIVE`]. Proxies use shorter times, so the proxy closes first and never sends into a closing
//! socket. A client that does not read its response is disconnected after [`STALL_MAX`]. What follows a request that was answered
//! before its body had arrived is read and thrown away, within bounds: a socket that is closed with unread bytes is reset, and then
//! the client, or a proxy such as nginx, may lose the response.
//!
//! The system's buffer for what is sent to a client is small, and what does not fit there waits here. So the broker knows how many
//! bytes of a response it keeps for a client that does not read.
//!
//! A connection is idle while it waits for its client: for a head, for a body, or for the client to read a response. An idle
//! connection can be told to close, which makes room for another one of the same peer.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock;
use crate::http::body::{BodyProgress, REQUEST_TIMEOUT};
use crate::signal::inbox::Inbox;

/// The longest time from a response to the first byte of the next request.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The longest time in which a client may read nothing of a response.
pub const STALL_MAX: Duration = Duration::from_secs(20);

/// For how long a socket that closes reads what is left of a request.
pub const LINGER_MAX: Duration = Duration::from_secs(3);

/// The most bytes that a socket that closes reads of what is left of a request.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;

/// The system's buffer for what is sent to a client, in bytes. Linux doubles it for its own structures. A client far away gets so much
/// in one round trip.
pub(super) const SEND_BUFFER: usize = 8 * 1024;

/// The most bytes of one write. The system takes one write more than its buffer holds.
const WRITE_MAX: usize = 8 * 1024;

/// The most pieces of one write: a head, and the parts of a body.
const PARTS_MAX: usize = 16;

/// The most memory of the system for what was written to a client, in bytes.
pub(super) const SYSTEM_BYTES: usize = 2 * SEND_BUFFER + WRITE_MAX;

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
    /// No byte of the next request has arrived.
    Idle { until: Instant },
    /// A request is arriving.
    Receiving { until: Instant },
    /// A handler has the request and enforces the deadline of its body.
    Handled,
    /// The connection is a WebSocket, whose protocol has timers of its own. What arrives is counted in its inbox.
    Upgraded { inbox: Option<Arc<Inbox>> },
}

impl Progress {
    /// The state of a new socket, whose first request must begin within [`REQUEST_TIMEOUT`].
    pub(super) fn new(discarded: Counter) -> Self {
        let phase = Phase::Idle { until: clock::deadline(REQUEST_TIMEOUT) };
        Self(Arc::new(Shared {
            state: Mutex::new(SocketState { phase, has_body: false, unwritten: None, since: now() }),
            body_arrived: Arc::default(),
            request_close: Notify::new(),
            discard_unread: AtomicBool::new(false),
            discarded,
        }))
    }

    /// Begins to handle a request whose headers have arrived. Returns the deadline of its body.
    pub(super) fn begin_service(&self, has_body: bool) -> BodyProgress {
        let mut state = self.lock();
        let until = match state.phase {
            Phase::Receiving { until } => until,
            Phase::Idle { .. } | Phase::Handled | Phase::Upgraded { .. } => clock::deadline(REQUEST_TIMEOUT),
        };
        state.phase = Phase::Handled;
        state.has_body = has_body;
        state.since = now();
        self.0.body_arrived.store(!has_body, Ordering::Relaxed);
        BodyProgress::new(until, Arc::clone(&self.0.body_arrived))
    }

    /// A response with a body of so many bytes is ready. The connection may be idle for `keep_alive`.
    pub(super) fn end_service(&self, keep_alive: Duration, bytes: usize) {
        let mut state = self.lock();
        state.phase = Phase::Idle { until: clock::deadline(keep_alive) };
        state.since = now();
        state.unwritten = Some(Unwritten { since: state.since, bytes });
    }

    /// What waits to be written of a response.
    pub(super) fn unwritten(&self) -> Option<Unwritten> {
        self.lock().unwritten
    }

    /// The response switches protocols: from now on no time limit of HTTP applies.
    pub(super) fn begin_upgraded(&self, inbox: Option<Arc<Inbox>>) {
        self.lock().phase = Phase::Upgraded { inbox };
    }

    /// Since when the connection has waited for its client; `None` while a request is handled, and once it is upgraded.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_busy = match state.phase {
            Phase::Idle { .. } | Phase::Receiving { .. } => false,
            Phase::Handled => self.0.body_arrived.load(Ordering::Relaxed),
            Phase::Upgraded { .. } => true,
        };
        (!is_busy).then_some(state.since)
    }

    /// Whether unread bytes of a request may be on their way.
    fn may_have_unread(&self) -> bool {
        let state = self.lock();
        state.has_body && !matches!(state.phase, Phase::Upgraded { .. })
    }

    /// Tells the connection to close.
    pub(super) fn request_close(&self) {
        self.0.request_close.notify_one();
    }

    /// Tells the connection to close. What its client has not read is discarded.
    pub(super) fn request_discard(&self) {
        self.0.discard_unread.store(true, Ordering::Relaxed);
        self.request_close();
    }

    /// Resolves when [`Progress::request_close`] was called.
    pub(super) async fn close_requested(&self) {
        self.0.request_close.notified().await;
    }

    /// Bytes have arrived. `false` if the connection must end.
    fn received(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        match &state.phase {
            Phase::Idle { .. } => {
                state.phase = Phase::Receiving { until: clock::deadline(REQUEST_TIMEOUT) };
                true
            }
            Phase::Upgraded { inbox: Some(inbox) } => inbox.received(bytes, now()),
            Phase::Receiving { .. } | Phase::Handled | Phase::Upgraded { inbox: None } => true,
        }
    }

    /// Records that the client has read something. A flush does not count, because hyper flushes after every read, even of a
    /// head that arrives byte by byte.
    fn sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written @ 1..)) = written {
            let mut state = self.lock();
            state.since = now();
            if let Some(unwritten) = &mut state.unwritten {
                unwritten.bytes = unwritten.bytes.saturating_sub(*written);
            }
        }
    }

    /// All that was ready has been written.
    fn written(&self) {
        self.lock().unwritten = None;
    }

    fn deadline(&self) -> Option<Instant> {
        match self.lock().phase {
            Phase::Idle { until } | Phase::Receiving { until } => Some(until),
            Phase::Handled | Phase::Upgraded { .. } => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, SocketState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Instant {
    clock::deadline(Duration::ZERO)
}

/// What an open socket occupies.
pub(super) trait Occupies: Unpin {
    /// Whether what is sent to the client counts against its share.
    fn is_counted(&self) -> bool;

    /// A part of a response waits because the client does not read.
    fn stalled(&self);
}

/// A socket that fails with [`io::ErrorKind::TimedOut`] when a time limit has passed. It holds what its connection occupies.
pub(super) struct TimedSocket<H: Occupies> {
    socket: TcpStream,
    progress: Progress,
    /// Freed when the socket is closed.
    held: H,
    alarm: Pin<Box<Sleep>>,
    /// Set while a write waits for the client.
    stall: Option<Pin<Box<Sleep>>>,
    /// Set while the socket closes: how many bytes may still be thrown away.
    discards: Option<usize>,
}

impl<H: Occupies> TimedSocket<H> {
    /// `held` is freed when the socket is closed.
    pub(super) fn new(socket: TcpStream, progress: Progress, held: H) -> Self {
        // Responses are small, so waiting to fill a packet only delays them. The error of a closed socket appears on its
        // first use.
        let _ = socket.set_nodelay(true);
        if held.is_counted() {
            let _ = set_socket_send_buffer_size(&socket, SEND_BUFFER);
        }
        let alarm = Box::pin(sleep_until(clock::deadline(KEEP_ALIVE)));
        Self { socket, progress, held, alarm, stall: None, discards: None }
    }

    /// Ready when the client has closed its side, or has used up what may be thrown away.
    fn poll_discard(&mut self, mut left: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4 * 1024];
        while left > 0 {
            let most = left.min(bytes.len());
            let mut buffer = ReadBuf::new(&mut bytes[..most]);
            match Pin::new(&mut self.socket).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => left -= buffer.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    self.discards = Some(left);
                    return self.alarm.as_mut().poll(context);
                }
            }
            self.progress.0.discarded.inc_by(u64::try_from(buffer.filled().len()).unwrap_or(0));
        }
        Poll::Ready(())
    }

    /// Ready when the current phase has lasted too long.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.progress.deadline() else { return Poll::Pending };
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(context)
    }

    /// The result of a write, or an error if the client has read nothing for too long.
    fn limit_stall<T>(
        &mut self,
        sent: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stall = None;
            return sent;
        }
        if self.stall.is_none() && self.progress.unwritten().is_some() {
            self.held.stalled();
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep_until(clock::deadline(STALL_MAX))));
        ready!(stall.as_mut().poll(context));
        self.progress.0.discard_unread.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The most bytes of one write.
    fn write_max(&self) -> usize {
        if self.held.is_counted() { WRITE_MAX } else { usize::MAX }
    }
}

impl<H: Occupies> Drop for TimedSocket<H> {
    fn drop(&mut self) {
        if self.progress.0.discard_unread.load(Ordering::Relaxed) {
            let _ = self.socket.set_zero_linger();
        }
    }
}

impl<H: Occupies> AsyncRead for TimedSocket<H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(context, buffer) {
            Poll::Ready(result) => {
                let arrived = buffer.filled().len() - before;
                if arrived > 0 && !self.progress.received(arrived) {
                    return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_deadline(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<H: Occupies> AsyncWrite for TimedSocket<H> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = bytes.get(..self.write_max()).unwrap_or(bytes);
        let sent = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.progress.sent(&sent);
        self.limit_stall(sent, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.socket).poll_flush(context);
        if sent.is_ready() {
            self.progress.written();
        }
        self.limit_stall(sent, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = if let Some(left) = self.discards {
            left
        } else {
            ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
            if !self.progress.may_have_unread() {
                return Poll::Ready(Ok(()));
            }
            self.alarm.as_mut().reset(clock::deadline(LINGER_MAX));
            LINGER_BYTES_MAX
        };
        self.poll_discard(left, context).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut parts = [io::IoSlice::new(&[]); PARTS_MAX];
        let parts = first_part(slices, self.write_max(), &mut parts);
        let sent = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.progress.sent(&sent);
        self.limit_stall(sent, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// The first bytes of `slices`, at most `max`.
fn first_part<'p, 's>(
    slices: &'s [io::IoSlice<'s>],
    max: usize,
    parts: &'p mut [io::IoSlice<'s>; PARTS_MAX],
) -> &'p [io::IoSlice<'s>] {
    let (mut left, mut count) = (max, 0);
    for (part, slice) in parts.iter_mut().zip(slices) {
        *part = io::IoSlice::new(slice.get(..left).unwrap_or(slice));
        left -= part.len();
        count += 1;
        if left == 0 {
            break;
        }
    }
    &parts[..count]
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    impl Occupies for () {
        fn is_counted(&self) -> bool {
            true
        }

        fn stalled(&self) {}
    }

    /// Writes until the system takes no more. Returns how much it has taken.
    async fn fill(progress: &Progress) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(4 * 1024).unwrap();
        let _client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = TimedSocket::new(listener.accept().await.unwrap().0, progress.clone(), ());
        let (head, body) = ([b'h'; 200], vec![b'b'; 1024 * 1024]);
        let mut context = Context::from_waker(Waker::noop());
        let mut taken = 0;
        let parts = [io::IoSlice::new(&head), io::IoSlice::new(&body)];
        while let Poll::Ready(sent) = Pin::new(&mut socket).poll_write_vectored(&mut context, &parts) {
            taken += sent.unwrap();
        }
        taken
    }

    #[tokio::test]
    async fn the_system_takes_little_of_a_response_that_is_not_read_and_the_rest_is_counted() {
        let progress = Progress::new(Counter::default());
        progress.end_service(KEEP_ALIVE, 1024 * 1024);
        let taken = fill(&progress).await;
        assert!(taken < 2 * SYSTEM_BYTES + 16 * 1024, "{taken} with what the client's system takes");
        assert_eq!(progress.unwritten().unwrap().bytes, 1024 * 1024 - taken);
    }

    #[test]
    fn a_write_has_the_first_bytes_of_what_is_ready() {
        let first = |slices: &[&[u8]], max| {
            let slices: Vec<_> = slices.iter().map(|slice| io::IoSlice::new(slice)).collect();
            first_part(&slices, max, &mut [io::IoSlice::new(&[]); PARTS_MAX])
                .iter()
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect::<Vec<_>>()
                .join("|")
        };
        assert_eq!(first(&[b"head", b"body", b"more"], 100), "head|body|more");
        assert_eq!(first(&[b"head", b"body", b"more"], 6), "head|bo");
        assert_eq!(first(&[b"head", b"body"], 4), "head");
        assert_eq!(first(&[b"head"], 3), "hea");
        assert_eq!(first(&[&b"x"[..]; 20], usize::MAX).len(), 2 * PARTS_MAX - 1);
        assert_eq!(first(&[], 3), "");
    }

    #[tokio::test]
    async fn only_a_whole_head_or_a_part_of_a_response_restarts_the_idle_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let progress = Progress::new(Counter::default());
        let opened = progress.idle_since().unwrap();
        let mut socket = TimedSocket::new(listener.accept().await.unwrap().0, progress.clone(), ());
        for _ in 0..3 {
            client.write_all(b"G").await.unwrap();
            socket.read_exact(&mut [0]).await.unwrap();
            socket.flush().await.unwrap();
        }
        assert_eq!(progress.idle_since(), Some(opened), "a head that arrives byte by byte");
        let body = progress.begin_service(true);
        let begun = progress.idle_since();
        assert!(begun > Some(opened), "waits for the body since the head is complete");
        body.arrived();
        assert_eq!(progress.idle_since(), None);
        progress.end_service(KEEP_ALIVE, 0);
        let ended = progress.idle_since();
        socket.write_all(b"HTTP/1.1 200 OK").await.unwrap();
        assert!(begun < ended && ended < progress.idle_since());
    }
}

//! A client's socket with patience of three kinds. A request that has begun is there, body included, within
//! [`REQUEST_TIMEOUT`] of its first byte, and a new connection begins one in that time. Between requests a connection
//! may rest for [`KEEP_ALIVE`], longer than proxies keep theirs, so that the proxy closes first and never sends into a
//! closing socket. And a client that does not read its answer is given up after [`STALL_MAX`].

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock;
use crate::http::body::{BodyDeadline, REQUEST_TIMEOUT};

/// Between an answer and the next request's first byte.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// For a client that does not take what is sent.
pub const STALL_MAX: Duration = Duration::from_secs(20);

/// Where a connection stands; shared by its socket and its service.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Phase>>);

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing of a request has come.
    Resting { until: Instant },
    /// A request has begun to come.
    Coming { until: Instant },
    /// A handler has it, and watches over its body.
    Served,
}

impl Progress {
    /// Of a new socket: it was opened to ask something.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Phase::Resting { until: clock::deadline(REQUEST_TIMEOUT) })))
    }

    /// The headers are there; by when the body has to be.
    pub(super) fn begin_service(&self) -> BodyDeadline {
        let mut phase = self.lock();
        let until = match *phase {
            Phase::Coming { until } => until,
            Phase::Resting { .. } | Phase::Served => clock::deadline(REQUEST_TIMEOUT),
        };
        *phase = Phase::Served;
        BodyDeadline(until)
    }

    /// The answer is made; the connection may rest so long.
    pub(super) fn end_service(&self, rest: Duration) {
        *self.lock() = Phase::Resting { until: clock::deadline(rest) };
    }

    fn heard(&self) {
        let mut phase = self.lock();
        if let Phase::Resting { .. } = *phase {
            *phase = Phase::Coming { until: clock::deadline(REQUEST_TIMEOUT) };
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match *self.lock() {
            Phase::Resting { until } | Phase::Coming { until } => Some(until),
            Phase::Served => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's invariant.
pub(super) struct PatientSocket {
    socket: TcpStream,
    progress: Progress,
    alarm: Pin<Box<Sleep>>,
    /// Runs while something waits to be sent.
    stall: Option<Pin<Box<Sleep>>>,
}

impl PatientSocket {
    pub(super) fn new(socket: TcpStream, progress: Progress) -> Self {
        let alarm = Box::pin(sleep_until(clock::deadline(KEEP_ALIVE)));
        Self { socket, progress, alarm, stall: None }
    }

    /// Ready when the client has been waited for long enough.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.progress.deadline() else { return Poll::Pending };
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(context)
    }

    /// What came of sending; an error when nothing was taken for too long.
    fn watch_sending<T>(
        &mut self,
        sent: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stall = None;
            return sent;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep_until(clock::deadline(STALL_MAX))));
        stall.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for PatientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    self.progress.heard();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_patience(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncWrite for PatientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.watch_sending(sent, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.socket).poll_flush(context);
        self.watch_sending(sent, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.watch_sending(sent, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

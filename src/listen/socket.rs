//! A client's socket with three time limits. A request must arrive within `REQUEST_TIMEOUT` of its first byte, body
//! included. The first request must begin within the same time after the connection is opened. Between requests a connection
//! may be idle for `KEEP_ALIVE_SECONDS`. Proxies use shorter times, so the proxy closes first and never sends into a closing
//! socket. A client that does not read its response is disconnected after [`STALL_MAX`]. What follows a request that was answered
//! before its body had arrived is read and thrown away, within bounds: a socket that is closed with unread bytes is reset, and then
//! the client, or a proxy such as nginx, may lose the response.
//!
//! The system's buffer for what is sent to a client is small, and what does not fit there waits here. So the broker knows how many
//! bytes of a response it keeps for a client that does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

use super::progress::Progress;
use turn_base::body::REQUEST_TIMEOUT;
use turn_base::clock;

/// The longest time in which a client may read nothing of a response.
pub const STALL_MAX: Duration = Duration::from_secs(20);

/// For how long a socket that closes reads what is left of a request.
pub const LINGER_MAX: Duration = Duration::from_secs(3);

/// The most bytes that a socket that closes reads of what is left of a request.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;

/// The system's buffer for what is sent to a client, in bytes. Linux doubles it for its own structures. A client far away gets so much
/// in one round trip.
pub(super) const SEND_BUFFER: usize = 8 * 1024;

/// The most bytes of one read: fewer than hyper's first buffer has room for. A read that fills the buffer doubles the next one, and a
/// request that never ends would keep that.
const READ_MAX: u64 = 8 * 1024 - 1;

/// The most bytes of one write. The system takes one write more than its buffer holds.
const WRITE_MAX: usize = 8 * 1024;

/// The most pieces of one write: a head, and the parts of a body.
const PARTS_MAX: usize = 16;

/// The most memory of the system for what was written to a client, in bytes.
pub(super) const SYSTEM_BYTES: usize = 2 * SEND_BUFFER + WRITE_MAX;

/// What an open socket occupies.
pub(super) trait Occupies: Unpin {
    /// Whether what is sent to the client counts against its share.
    fn is_counted(&self) -> bool;

    /// Whether an idle connection must end sooner, because few sockets are free.
    fn is_crowded(&self) -> bool;

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
        let alarm = Box::pin(sleep_until(clock::deadline(REQUEST_TIMEOUT)));
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
            self.progress.discarded(buffer.filled().len());
        }
        Poll::Ready(())
    }

    /// Ready when the current phase has lasted too long.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.progress.deadline(self.held.is_crowded()) else { return Poll::Pending };
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
        self.progress.discard_unread();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The most bytes of one write.
    fn write_max(&self) -> usize {
        if self.held.is_counted() { WRITE_MAX } else { usize::MAX }
    }
}

impl<H: Occupies> Drop for TimedSocket<H> {
    fn drop(&mut self) {
        if self.progress.discards_unread() {
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
        let mut part = (&mut self.socket).take(READ_MAX);
        match Pin::new(&mut part).poll_read(context, buffer) {
            Poll::Ready(result) => {
                let arrived = &buffer.filled()[before..];
                if !arrived.is_empty() && !self.progress.received(arrived) {
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
#[path = "socket_tests.rs"]
mod tests;

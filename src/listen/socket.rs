//! A client's socket. Its time limits are those of its connection: a request must arrive within `REQUEST_TIMEOUT` of its first byte, body
//! included. The first request must begin within the same time after the connection is opened. Between requests a connection
//! may be idle for `KEEP_ALIVE_SECONDS`. Proxies use shorter times, so the proxy closes first and never sends into a closing
//! socket. A client that does not read its response is disconnected after [`STALL_MAX`]. If a request was answered before its body
//! had arrived, the rest of the body is read and thrown away, within bounds: a socket that is closed with unread bytes is reset, and
//! then the client, or a proxy such as nginx, may lose the response.
//!
//! The system's buffer for what is sent to a client is small, and what does not fit there waits here. So the broker knows how many
//! bytes of a response it keeps for a client that does not read.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy, sink};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep_until};

use super::connection::{SEND_BUFFER, WRITE_MAX};
use super::peers::Slot;
use super::prelude::*;

/// The longest time in which a client may read nothing of a response.
pub const STALL_MAX: Duration = Duration::from_secs(20);

/// How long a socket that closes reads what is left of a request.
pub const LINGER_MAX: Duration = Duration::from_secs(3);

/// The most bytes that a socket that closes reads of the rest of a request.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;

/// The most bytes that a WebSocket that closes reads: the longest frame that a client would send by mistake.
const WEB_SOCKET_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The most bytes of one read: less than hyper's first buffer. After a read that fills its buffer, hyper doubles the buffer, and a request
/// that never ends would keep the larger one.
const READ_MAX: u64 = 8 * 1024 - 1;

/// A socket that fails with [`io::ErrorKind::TimedOut`] when its client does not read. It holds the row and the place of its connection.
pub(super) struct TimedSocket {
    socket: TcpStream,
    slot: Arc<Slot>,
    /// Set while a write waits for the client, and while the socket closes.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Set while the socket closes: how many bytes may still be thrown away.
    discards: Option<usize>,
    _place: OwnedSemaphorePermit,
}

impl TimedSocket {
    /// `place`: its permit among [`Process::sockets`](crate::app::process::Process::sockets).
    pub(super) fn new(socket: TcpStream, slot: Arc<Slot>, place: OwnedSemaphorePermit) -> Self {
        // Responses are small, so waiting to fill a packet only delays them. The error of a closed socket appears on its
        // first use.
        let _ = socket.set_nodelay(true);
        if slot.connection.is_counted() {
            let _ = set_socket_send_buffer_size(&socket, SEND_BUFFER);
        }
        Self { socket, slot, alarm: None, discards: None, _place: place }
    }

    /// Ready when the client has closed its side, when `left` bytes were thrown away, or after [`LINGER_MAX`].
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
                    return self.poll_alarm(LINGER_MAX, context);
                }
            }
            let discarded = u64::try_from(buffer.filled().len()).unwrap_or(0);
            self.slot.peers.metrics.discarded_bytes.inc_by(discarded);
        }
        Poll::Ready(())
    }

    /// Ready when `span` has passed since the alarm was set. The first call sets the alarm.
    fn poll_alarm(&mut self, span: Duration, context: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(clock::deadline(span))));
        alarm.as_mut().poll(context)
    }

    /// The result of a write, or an error if the client has read nothing for too long.
    fn limit_stall<T>(
        &mut self,
        sent: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            // A socket that closes is flushed again and again, and that must not restart its alarm.
            if self.discards.is_none() {
                self.alarm = None;
            }
            return sent;
        }
        // A write begins to wait for the client: the broker may now keep too much for this client.
        if self.alarm.is_none() && self.slot.connection.unwritten().is_some() {
            self.slot.peers.stalled(&self.slot.connection);
        }
        ready!(self.poll_alarm(STALL_MAX, context));
        self.slot.connection.discard_unread();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Takes note of what a write has sent.
    fn sent(&mut self, sent: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes @ 1..)) = sent {
            self.slot.connection.sent(bytes);
        }
        self.limit_stall(sent, context)
    }

    /// The most bytes of one write.
    fn write_max(&self) -> usize {
        if self.slot.connection.is_counted() { WRITE_MAX } else { usize::MAX }
    }
}

impl Drop for TimedSocket {
    fn drop(&mut self) {
        if self.slot.connection.discards_unread() {
            let _ = self.socket.set_zero_linger();
        } else if self.slot.connection.is_upgraded()
            && let (Ok(socket), Ok(runtime)) =
                (self.socket.as_fd().try_clone_to_owned(), Handle::try_current())
        {
            runtime.spawn(end_web_socket(socket, Arc::clone(&self.slot)));
        }
    }
}

/// Reads what a client still sends on a WebSocket that has ended, within bounds. A socket that is closed with unread bytes is reset, and
/// then the client loses the close frame. The socket counts for its peer until this ends.
async fn end_web_socket(socket: OwnedFd, _slot: Arc<Slot>) {
    let Ok(mut socket) = TcpStream::from_std(socket.into()) else { return };
    let rest = async {
        socket.shutdown().await?;
        copy(&mut socket.take(WEB_SOCKET_BYTES_MAX), &mut sink()).await
    };
    let _ = timeout(LINGER_MAX, rest).await;
}

impl AsyncRead for TimedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let mut part = (&mut self.socket).take(READ_MAX);
        let result = ready!(Pin::new(&mut part).poll_read(context, buffer));
        let arrived = &buffer.filled()[before..];
        if !arrived.is_empty() && !self.slot.connection.received(arrived) {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for TimedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = bytes.get(..self.write_max()).unwrap_or(bytes);
        let sent = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.sent(sent, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.socket).poll_flush(context);
        if sent.is_ready() {
            self.slot.connection.written();
        }
        self.limit_stall(sent, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = if let Some(left) = self.discards {
            left
        } else {
            ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
            if !self.slot.connection.may_have_unread() {
                return Poll::Ready(Ok(()));
            }
            self.alarm = None;
            LINGER_BYTES_MAX
        };
        self.poll_discard(left, context).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if bytes > self.write_max() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |first| first));
        }
        let sent = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.sent(sent, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;

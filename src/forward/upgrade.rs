//! A WebSocket through a standby: bytes are passed on in both directions. The leader has the protocol, with its limits and timers. Only the
//! frame that closes it can be the standby's own. It never stands within another frame, or after the leader's.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf, copy_buf, sink, split,
};
use tokio::time::timeout;

/// The buffer of each direction. Bytes.
const BUFFER: usize = 4 * 1024;
/// The longest time to close a socket.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// The code of a close frame: this replica ends.
pub(super) const GOING_AWAY: u16 = 1001;
/// The same: the leader was replaced.
pub(super) const SERVICE_RESTART: u16 = 1012;

/// Passes bytes on until one side has closed, or until `cut` says with which code to close.
pub(super) async fn pass_on(client: OnUpgrade, leader: OnUpgrade, cut: impl Future<Output = u16>) {
    let mut cut = pin!(cut);
    let both = async { tokio::try_join!(client, leader) };
    let both = tokio::select! {
        both = both => both,
        _ = &mut cut => return,
    };
    let Ok((client, leader)) = both else { return };
    pass_between(TokioIo::new(client), TokioIo::new(leader), cut).await;
}

async fn pass_between<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    mut leader: S,
    cut: impl Future<Output = u16>,
) {
    let may_close = Arc::new(AtomicBool::new(true));
    let mut client = Client { socket: client, frames: Frames::default(), may_close: Arc::clone(&may_close) };
    let code = {
        let mut passed_on = pin!(both_ways(&mut client, &mut leader, &may_close));
        let code = tokio::select! {
            _ = &mut passed_on => return,
            code = cut => code,
        };
        let rest = std::future::poll_fn(|context| {
            let may_close = || may_close.load(Ordering::Relaxed);
            let is_over = may_close() || passed_on.as_mut().poll(context).is_ready() || may_close();
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        });
        if timeout(CLOSE_MAX, rest).await.is_err() || !may_close.load(Ordering::Relaxed) {
            return;
        }
        code
    };
    let close = async {
        client.socket.write_all(&close_frame(code)).await?;
        client.socket.shutdown().await?;
        // What is unread when a socket is closed can cost the client the frame.
        while client.socket.read(&mut [0; BUFFER]).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(CLOSE_MAX, close).await;
}

fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

/// Returns when both sides have closed. Once the leader has, nothing bounds the socket any more, so the client has to close it soon. A
/// leader that died has sent no frame that closes the socket, so the standby sends one.
async fn both_ways(
    client: impl AsyncRead + AsyncWrite + Unpin,
    leader: impl AsyncRead + AsyncWrite + Unpin,
    may_close: &AtomicBool,
) -> io::Result<()> {
    let ((from_client, mut to_client), (from_leader, mut to_leader)) = (split(client), split(leader));
    let mut up = pin!(async {
        let mut from_client = BufReader::with_capacity(BUFFER, from_client);
        let _ = copy_buf(&mut from_client, &mut to_leader).await;
        let _ = to_leader.shutdown().await;
        // What is unread when a socket is closed can cost the client the frame that closes it.
        copy_buf(&mut from_client, &mut sink()).await
    });
    let mut down = pin!(async {
        let _ = copy_buf(&mut BufReader::with_capacity(BUFFER, from_leader), &mut to_client).await;
        if may_close.load(Ordering::Relaxed) {
            to_client.write_all(&close_frame(SERVICE_RESTART)).await?;
        }
        to_client.shutdown().await
    });
    tokio::select! {
        biased;
        closed = &mut down => {
            closed?;
            let _ = timeout(CLOSE_MAX, up).await;
            Ok(())
        }
        closed = &mut up => {
            closed?;
            down.await
        }
    }
}

/// The client's socket, which knows where the frames are that are written to it.
struct Client<S> {
    socket: S,
    frames: Frames,
    /// Whether a frame that closes the socket may follow.
    may_close: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Client<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Client<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(context, bytes))?;
        self.frames.pass(&bytes[..written]);
        self.may_close.store(self.frames.may_close(), Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Finds the ends of the frames of a server, which are not masked. RFC 6455, section 5.2.
#[derive(Default)]
struct Frames {
    /// The part of a frame's header that has passed.
    header: Vec<u8>,
    /// Bytes of the payload that have not passed.
    left: usize,
    /// Whether the frame that closes the socket has begun.
    has_closed: bool,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.header.push(*first);
            bytes = rest;
            if let Some(length) = payload_length(&self.header) {
                self.left = length;
                self.has_closed |= self.header[0] & 0x0f == 8;
                self.header.clear();
            }
        }
    }

    fn may_close(&self) -> bool {
        self.header.is_empty() && self.left == 0 && !self.has_closed
    }
}

/// `None` while bytes of the header are missing.
fn payload_length(header: &[u8]) -> Option<usize> {
    let (length, extended) = (*header.get(1)? & 0x7f, &header[2..]);
    match length {
        126 => Some(u16::from_be_bytes(extended.try_into().ok()?).into()),
        127 => usize::try_from(u64::from_be_bytes(extended.try_into().ok()?)).ok(),
        short => Some(short.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_close_after_the_leader_has_no_socket() {
        let ((mut client, client_side), (leader, mut leader_side)) =
            (tokio::io::duplex(64), tokio::io::duplex(64));
        let close = async {
            leader_side.write_all(&[0x88, 0]).await.unwrap();
            leader_side.shutdown().await.unwrap();
        };
        tokio::join!(pass_between(client_side, leader, pending()), close);
        let mut got = vec![];
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, [0x88, 0]);
        assert!(client.write_all(b"x").await.is_err(), "nobody reads it");
    }

    #[tokio::test]
    async fn an_upgrade_that_fails_leaves_nothing_behind() {
        let none = || hyper::upgrade::on(hyper::Request::new(()));
        pass_on(none(), none(), pending()).await;
    }

    #[tokio::test]
    async fn a_leader_that_dies_between_two_frames_is_told_to_the_client() {
        for (sent, told) in [
            (&[0x81, 1, b'x'][..], &[0x81, 1, b'x', 0x88, 2, 3, 0xf4][..]),
            (&[0x81, 2, b'x'], &[0x81, 2, b'x']),
            (&[0x88, 2, 3, 0xe8], &[0x88, 2, 3, 0xe8]),
        ] {
            let ((mut client, client_side), (leader, mut leader_side)) =
                (tokio::io::duplex(64), tokio::io::duplex(64));
            let die = async {
                leader_side.write_all(sent).await.unwrap();
                drop(leader_side);
            };
            // What the client sends meanwhile reaches nobody.
            let mut read = async || {
                client.write_all(&[0; 1_024]).await.unwrap();
                let mut got = vec![];
                client.read_to_end(&mut got).await.unwrap();
                got
            };
            let ((), (), got) = tokio::join!(pass_between(client_side, leader, pending()), die, read());
            assert_eq!(got, told);
        }
    }

    #[test]
    fn the_end_of_a_frame_is_found_however_its_bytes_arrive() {
        for (header, length) in [
            (&[0x81, 0][..], 0),
            (&[0x81, 125], 125),
            (&[0x01, 126, 0, 126], 126),
            (&[0x82, 126, 0xff, 0xff], 65_535),
            (&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        ] {
            let frame = [header, &vec![0x81; length]].concat();
            for step in [1, 3, frame.len()] {
                let mut frames = Frames::default();
                let (mut passed, twice) = (0, frame.repeat(2));
                for part in twice.chunks(step) {
                    frames.pass(part);
                    passed += part.len();
                    assert_eq!(frames.may_close(), passed % frame.len() == 0, "{header:?} {passed}");
                }
            }
        }
    }
}

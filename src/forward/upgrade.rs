//! A WebSocket through a standby: bytes are passed on in both directions. The leader has the protocol, with its limits and timers. The only
//! frame that a standby sends itself is a close frame. It never sends one within another frame, or after a close frame of the leader: then
//! the socket just ends.

use std::io::Cursor;
use std::pin::pin;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy_buf, sink, split};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};
use tokio_util::io::InspectWriter;

/// The buffer of each direction. Bytes.
const BUFFER: usize = 4 * 1024;
/// The longest time to close a socket.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// The code of a close frame: this replica ends.
pub(super) const GOING_AWAY: u16 = 1001;
/// The code of a close frame: the leader was replaced, or has died.
pub(super) const SERVICE_RESTART: u16 = 1012;

/// Passes bytes on until one side has closed, or until `cut` says with which code to close.
pub(super) async fn pass_on(client: OnUpgrade, leader: OnUpgrade, cut: impl Future<Output = u16>) {
    let mut cut = pin!(cut);
    let both = tokio::select! {
        both = async { tokio::try_join!(client, leader) } => both,
        _ = &mut cut => return,
    };
    if let Ok((client, leader)) = both {
        pass_between(TokioIo::new(client), TokioIo::new(leader), cut).await;
    }
}

/// The two directions end independently: what a leader has sent before it stopped reading still reaches the client.
async fn pass_between<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    leader: S,
    cut: impl Future<Output = u16>,
) {
    let ((from_client, to_client), (from_leader, mut to_leader)) = (split(client), split(leader));
    let mut up = pin!(async {
        let mut from_client = BufReader::with_capacity(BUFFER, from_client);
        let _ = copy_buf(&mut from_client, &mut to_leader).await;
        let _ = to_leader.shutdown().await;
        // A socket that is closed with unread bytes is reset, and then the client may lose the close frame.
        copy_buf(&mut from_client, &mut sink()).await
    });
    let mut down = pin!(async {
        let mut frames = Frames::default();
        let mut from_leader = BufReader::with_capacity(BUFFER, from_leader);
        let mut inspected = InspectWriter::new(to_client, |bytes| frames.pass(bytes));
        let code = tokio::select! {
            _ = copy_buf(&mut from_leader, &mut inspected) => SERVICE_RESTART,
            code = cut => code,
        };
        let mut to_client = inspected.into_inner();
        let close = async {
            if frames.may_close() {
                let [high, low] = code.to_be_bytes();
                to_client.write_all(&[0x88, 2, high, low]).await?;
            }
            to_client.shutdown().await
        };
        timeout(CLOSE_MAX, close).await?
    });
    tokio::select! {
        biased;
        // Once the leader has closed, its limits and timers no longer bound the socket, so the client has to close it soon.
        closed = &mut down => if closed.is_ok() {
            let _ = timeout(CLOSE_MAX, up).await;
        },
        _ = &mut up => drop(down.await),
    }
}

/// Finds the ends of the frames of a server, which are not masked.
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
    /// Notes that these bytes have passed.
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= payload.len();
            // The bytes of a header are added one at a time, until they are a whole header.
            let (header, rest) = rest.split_at(rest.len().min(1));
            bytes = rest;
            self.header.extend_from_slice(header);
            match FrameHeader::parse(&mut Cursor::new(&self.header)) {
                Ok(None) => continue,
                Ok(Some((header, length))) => {
                    self.left = usize::try_from(length).unwrap_or(usize::MAX);
                    self.has_closed |= header.opcode == OpCode::Control(Control::Close);
                }
                // In what follows no frame can be found, so never send a close frame.
                Err(_) => (self.left, self.has_closed) = (usize::MAX, true),
            }
            self.header.clear();
        }
    }

    /// Whether a frame that closes the socket may follow.
    fn may_close(&self) -> bool {
        self.header.is_empty() && self.left == 0 && !self.has_closed
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_close_after_the_leader_loses_its_socket() {
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
    async fn if_a_leader_dies_between_two_frames_the_client_gets_a_close_frame() {
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

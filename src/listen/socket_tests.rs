use std::task::Waker;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use super::*;
use crate::listen::connection::SYSTEM_BYTES;
use crate::listen::peers::tests::peers;

const KEEP_ALIVE: Duration = Duration::from_secs(620);

fn slot() -> Arc<Slot> {
    peers().admit([192, 0, 2, 1].into()).unwrap()
}

/// The broker's socket, and that of its client.
async fn accepted(slot: &Arc<Slot>) -> (TimedSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4 * 1024).unwrap();
    let client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    (TimedSocket::new(listener.accept().await.unwrap().0, Arc::clone(slot), place), client)
}

#[tokio::test]
async fn the_system_takes_little_of_a_response_that_is_not_read_and_the_rest_is_counted() {
    let slot = slot();
    let connection = &slot.connection;
    connection.end_service(KEEP_ALIVE, 1024 * 1024);
    let (mut socket, _client) = accepted(&slot).await;
    let (head, body) = ([b'h'; 200], vec![b'b'; 1024 * 1024]);
    let mut context = Context::from_waker(Waker::noop());
    let mut taken = 0;
    loop {
        let parts = [io::IoSlice::new(head.get(taken..).unwrap_or(&[])), io::IoSlice::new(&body)];
        match Pin::new(&mut socket).poll_write_vectored(&mut context, &parts) {
            Poll::Ready(sent) => taken += sent.unwrap(),
            Poll::Pending => break,
        }
    }
    assert!(taken < 2 * SYSTEM_BYTES + 16 * 1024, "{taken} with what the client's system takes");
    assert_eq!(connection.unwritten().unwrap().bytes, 1024 * 1024 - taken);
}

#[tokio::test]
async fn a_short_response_is_written_at_once_and_of_a_long_one_its_first_part() {
    let slot = slot();
    let (mut socket, mut client) = accepted(&slot).await;
    let mut context = Context::from_waker(Waker::noop());
    let mut write = |parts: [&[u8]; 3]| {
        let Poll::Ready(written) =
            Pin::new(&mut socket).poll_write_vectored(&mut context, &parts.map(io::IoSlice::new))
        else {
            panic!("the system takes it")
        };
        written.unwrap()
    };
    assert_eq!(write([b"", b"head", b"body"]), 8);
    assert_eq!(write([b"", b"head", &[b'b'; WRITE_MAX]]), 4);
    assert_eq!(write([&[b'b'; WRITE_MAX + 1], b"", b""]), WRITE_MAX);
    let mut text = [0; 12];
    client.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"headbodyhead");
}

#[test]
fn a_response_that_comes_in_pieces_is_counted_to_its_end() {
    let slot = slot();
    let connection = &slot.connection;
    connection.end_service(KEEP_ALIVE, 100);
    for (sent, left) in [(40, Some(60)), (80, None)] {
        connection.sent(sent);
        connection.written();
        assert_eq!(connection.unwritten().map(|unwritten| unwritten.bytes), left);
    }
}

#[tokio::test]
async fn only_a_whole_head_or_a_part_of_a_response_restarts_the_idle_time() {
    let slot = slot();
    let connection = &slot.connection;
    let opened = connection.idle_since().unwrap();
    let (mut socket, mut client) = accepted(&slot).await;
    for _ in 0..3 {
        client.write_all(b"G").await.unwrap();
        socket.read_exact(&mut [0]).await.unwrap();
        socket.flush().await.unwrap();
    }
    assert_eq!(connection.idle_since(), Some(opened), "a head that arrives byte by byte");
    let body = connection.begin_service(true);
    let begun = connection.idle_since();
    assert!(begun > Some(opened), "waits for the body since the head is complete");
    body.arrived();
    assert_eq!((connection.idle_since(), connection.deadline(true)), (None, None));
    connection.end_service(KEEP_ALIVE, 0);
    let [ended, deadline] = [connection.idle_since(), connection.deadline(false)];
    socket.write_all(b"HTTP/1.1 200 OK").await.unwrap();
    assert!(begun < ended && ended < connection.idle_since() && deadline < connection.deadline(false));
}

#[test]
fn in_a_crowd_the_waits_for_a_request_to_begin_are_shorter() {
    let slot = slot();
    let connection = &slot.connection;
    let shorter_by = || connection.deadline(false).unwrap() - connection.deadline(true).unwrap();
    assert_eq!(shorter_by(), REQUEST_TIMEOUT.saturating_sub(Duration::from_secs(2)));
    connection.end_service(KEEP_ALIVE, 0);
    assert_eq!(shorter_by(), KEEP_ALIVE.saturating_sub(Duration::from_secs(2)));
    connection.end_service(Duration::from_secs(1), 0);
    assert_eq!(connection.deadline(true), connection.deadline(false), "shorter than the time in a crowd");
    assert!(connection.received(b"G"));
    assert_eq!(connection.deadline(true), connection.deadline(false), "a request arrives");
}

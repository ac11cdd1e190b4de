use std::task::Waker;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::*;

const KEEP_ALIVE: Duration = Duration::from_secs(620);

impl Occupies for () {
    fn is_counted(&self) -> bool {
        true
    }

    fn is_crowded(&self) -> bool {
        false
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
fn a_response_that_comes_in_pieces_is_counted_to_its_end() {
    let progress = Progress::new(Counter::default());
    progress.end_service(KEEP_ALIVE, 100);
    progress.sent(&Poll::Ready(Ok(40)));
    progress.written();
    assert_eq!(progress.unwritten().map(|unwritten| unwritten.bytes), Some(60));
    progress.sent(&Poll::Ready(Ok(80)));
    progress.written();
    assert_eq!(progress.unwritten(), None);
}

#[test]
fn a_client_that_goes_on_reading_may_take_longer_than_the_idle_time() {
    let progress = Progress::new(Counter::default());
    progress.end_service(KEEP_ALIVE, 0);
    let ended = progress.deadline(false);
    progress.sent(&Poll::Ready(Ok(1)));
    let read = progress.deadline(false);
    assert!(read > ended, "the idle time begins again");
    progress.sent(&Poll::Pending);
    assert_eq!(progress.deadline(false), read, "nothing was read");
}

#[test]
fn in_a_crowd_only_the_time_between_requests_is_shorter() {
    let progress = Progress::new(Counter::default());
    assert_eq!(progress.deadline(true), progress.deadline(false), "its first request may come late");
    let _ = progress.begin_service(false);
    assert_eq!(progress.deadline(true), None);
    progress.end_service(KEEP_ALIVE, 0);
    let [crowded, usual] = [true, false].map(|is_crowded| progress.deadline(is_crowded).unwrap());
    assert_eq!(usual - crowded, KEEP_ALIVE.saturating_sub(Duration::from_secs(2)));
    progress.end_service(Duration::from_secs(1), 0);
    assert_eq!(progress.deadline(true), progress.deadline(false), "shorter than the time in a crowd");
    assert!(progress.received(b"G"));
    assert_eq!(progress.deadline(true), progress.deadline(false), "a request arrives");
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

//! The bounds on the sockets of one address.

use turn_broker::listen::{SOCKETS_PER_PEER_MAX, UNREAD_PER_PEER_MAX};

use crate::support::prelude::*;

const LIMITED: &str = "turn_broker_sockets_limited_total{outcome=\"closed_idle\"}";

/// Sockets that have sent `bytes`, opened one after another.
async fn open(broker: &TestBroker, count: usize, bytes: &str) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(broker.address).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    sockets
}

#[tokio::test]
async fn at_the_limit_of_an_address_its_longest_idle_socket_is_closed_and_its_health_check_is_served() {
    let half_body = format!(
        "POST /api/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {REPORTER}\r\nContent-Length: 9\r\n\r\n{{"
    );
    for unfinished in ["", "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", &half_body] {
        let broker = TestBroker::start(&[("TRUSTED_PROXIES", "")]).await;
        let sockets = open(&broker, SOCKETS_PER_PEER_MAX, unfinished).await;
        // Each check needs a new connection, because the test's HTTP client keeps one open.
        let check = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        for _ in 0..3 {
            let mut answer = String::new();
            open(&broker, 1, check).await.remove(0).read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{unfinished:?}: {answer}");
        }
        // Each check needed one slot at most, and so does the request for this figure.
        let closed = broker.metric(LIMITED).await.unwrap();
        assert!((1..=4).contains(&closed), "{unfinished:?}: {closed}");
        let is_closed = |socket: &TcpStream| match socket.try_read(&mut [0; 1]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        eventually("an idle socket is closed", async || sockets.iter().any(is_closed)).await;
    }
}

#[tokio::test]
async fn a_trusted_proxy_may_have_as_many_sockets_as_its_clients_need() {
    let broker = TestBroker::start(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let mut sockets = open(&broker, SOCKETS_PER_PEER_MAX + 44, "GET /health HTTP/1.1\r\nHost: x\r\n").await;
    for socket in &mut sockets {
        socket.write_all(b"Connection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(broker.metric(LIMITED).await, None);
}

#[tokio::test]
async fn a_slot_is_free_again_once_its_socket_is_closed() {
    let broker = TestBroker::start(&[("TRUSTED_PROXIES", "")]).await;
    for _ in 0..3 {
        drop(open(&broker, SOCKETS_PER_PEER_MAX / 2, "").await);
        let check = async || broker.get("/health").await.status == 200;
        eventually("the next sockets are accepted", check).await;
    }
}

/// The address whose clients do not read. A test's HTTP client has another one.
const UNREADING: &str = "127.0.0.2:0";
/// More than the systems of both sides keep of a response that is not read.
const IN_SYSTEMS_MAX: usize = 64 * 1024;

/// Asks for a long response, and reads nothing of it.
async fn ask(broker: &TestBroker, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    let mut socket = socket.connect(broker.address).await.unwrap();
    socket.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    // The response has begun, so that those of later sockets are later.
    socket.peek(&mut [0]).await.unwrap();
    socket
}

/// How much of a response can still be read.
async fn read(socket: &mut TcpStream) -> usize {
    let mut bytes = vec![];
    let _ = socket.read_to_end(&mut bytes).await;
    bytes.len()
}

#[tokio::test]
async fn the_oldest_unread_responses_of_an_address_are_ended_and_others_are_served() {
    let broker = TestBroker::start(&[("TRUSTED_PROXIES", "")]).await;
    let length = broker.get("/openapi.json").await.text.len();
    let kept_max = UNREAD_PER_PEER_MAX / (length - IN_SYSTEMS_MAX);
    let mut slow_neighbor = ask(&broker, "127.0.0.3:0").await;
    let mut sockets = vec![];
    for _ in 0..2 * kept_max {
        sockets.push(ask(&broker, UNREADING).await);
    }
    assert!(sockets.len() < SOCKETS_PER_PEER_MAX, "{length}");
    let closed = "turn_broker_sockets_limited_total{outcome=\"closed_unread\"}";
    let are_closed =
        async || broker.metric(closed).await.is_some_and(|closed| closed >= kept_max.try_into().unwrap());
    eventually("the oldest responses are ended", are_closed).await;

    let mut whole = vec![];
    for socket in &mut sockets {
        whole.push(read(socket).await > length);
    }
    assert_eq!((whole.first(), whole.last()), (Some(&false), Some(&true)));
    let kept = whole.iter().filter(|is_whole| **is_whole).count();
    assert!((1..=kept_max).contains(&kept), "{kept} of {length} bytes");
    assert!(whole.is_sorted(), "the oldest end first: {whole:?}");
    assert!(read(&mut slow_neighbor).await > length, "a client at another address");
}

#[tokio::test]
async fn a_client_that_reads_gets_one_long_response_after_another() {
    let broker = TestBroker::start(&[("TRUSTED_PROXIES", "")]).await;
    let length = broker.get("/openapi.json").await.text.len();
    for _ in 0..2 * UNREAD_PER_PEER_MAX / length {
        let mut socket = ask(&broker, UNREADING).await;
        assert!(read(&mut socket).await > length);
    }
    assert_eq!(broker.metric("turn_broker_sockets_limited_total{outcome=\"closed_unread\"}").await, None);
}

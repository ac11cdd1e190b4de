//! Limits on time and size below HTTP, and shutdown.

use crate::support::prelude::*;
use turn_base::{COMING_PER_CLIENT_MAX, PARTS_MAX, REQUEST_TIMEOUT};
use turn_broker::listen::LINGER_BYTES_MAX;

async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut bytes = vec![];
    // A reset ends the connection too.
    let _ = finished("it is closed", socket.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The head of a report, with further lines.
fn report(lines: &str) -> String {
    format!(
        "POST /api/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {REPORTER}\r\n{lines}\r\n\r\n"
    )
}

/// Sends the head, then one byte after another until the connection is closed. Returns what was received.
async fn send_slowly(broker: &TestBroker, head: &str, byte: &'static [u8]) -> String {
    let (mut reading, mut writing) = TcpStream::connect(broker.address).await.unwrap().into_split();
    writing.write_all(head.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        while writing.write_all(byte).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let mut bytes = vec![];
    let _ = finished("it is closed", reading.read_to_end(&mut bytes)).await;
    dripping.abort();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_client_that_never_finishes_its_headers_is_disconnected() {
    let broker = TestBroker::start(&[]).await;
    let answer = send_slowly(&broker, "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"a").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_body_that_arrives_byte_by_byte_gets_a_400() {
    let broker = TestBroker::start(&[]).await;
    let head = report("Content-Length: 9999") + "{";
    let answer = send_slowly(&broker, &head, b" ").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("INVALID_REQUEST"), "{answer}");
}

#[tokio::test]
async fn slow_bodies_of_a_forwarded_address_end_each_other_and_no_body_of_another_one() {
    let broker = TestBroker::start(&[]).await;
    let slow = async |address: &str| {
        let mut socket = TcpStream::connect(broker.address).await.unwrap();
        let lines = format!("X-Forwarded-For: {address}\r\nContent-Length: 9999");
        socket.write_all((report(&lines) + "{").as_bytes()).await.unwrap();
        socket
    };
    let coming = async |count: usize| {
        eventually("the bodies come", async || broker.app.bodies.coming.count() == count).await;
    };
    let mut other = slow("198.51.100.7").await;
    coming(1).await;
    let mut first = slow("203.0.113.9").await;
    coming(2).await;
    let mut held = vec![];
    for _ in 1..=COMING_PER_CLIENT_MAX {
        held.push(slow("203.0.113.9").await);
    }
    let answer = read_to_end(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("RATE_LIMITED"), "{answer}");
    assert_eq!(broker.app.bodies.coming.count(), 1 + COMING_PER_CLIENT_MAX);
    assert!(other.try_read(&mut [0]).is_err(), "it is still coming");
    let rest = " ".repeat(9_997) + "}";
    other.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"HTTP/1.1 201", "it has come");
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_request_may_take() {
    let broker = TestBroker::start(&[]).await;
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    for rest in [REQUEST_TIMEOUT + Duration::from_millis(500), Duration::ZERO] {
        socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4_096];
        let length = socket.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "still open");
        tokio::time::sleep(rest).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_idle_for_longer_than_the_setting_is_closed() {
    let [patient, impatient] = [&[("KEEP_ALIVE_SECONDS", "7200")], &[("KEEP_ALIVE_SECONDS", "1")]];
    let (patient, impatient) = (TestBroker::start(patient).await, TestBroker::start(impatient).await);
    let is_answered = async |socket: &mut TcpStream| {
        let _ = socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut answer = vec![0; 4_096];
        let length = socket.read(&mut answer).await.unwrap_or(0);
        answer[..length].starts_with(b"HTTP/1.1 200 ")
    };
    let mut kept = TcpStream::connect(patient.address).await.unwrap();
    let mut closed = TcpStream::connect(impatient.address).await.unwrap();
    assert!(is_answered(&mut kept).await && is_answered(&mut closed).await);
    assert_eq!(read_to_end(&mut closed).await, "");
    assert!(is_answered(&mut kept).await, "it was idle for longer, as its setting allows");
}

#[tokio::test]
async fn a_socket_without_a_request_is_closed() {
    let broker = TestBroker::start(&[]).await;
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    assert_eq!(read_to_end(&mut socket).await, "");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_responses_is_disconnected() {
    let broker = TestBroker::start(&[]).await;
    let socket = TcpStream::connect(broker.address).await.unwrap();
    let (_unread, mut writing) = socket.into_split();
    let asking =
        async { while writing.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok() {} };
    // Writing fails only when the other side has closed.
    finished("it is closed", asking).await;
}

#[tokio::test]
async fn an_open_connection_still_gets_503_from_ready_during_shutdown() {
    const { assert!(turn_broker::listen::DRAIN_MAX.as_secs() <= 10) };
    let broker = TestBroker::start(&[]).await;
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    // A request that has begun before the end is finished.
    socket.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    // A later connection was served, so this one is open at the broker too.
    assert_eq!(broker.get("/health").await.status, 200);
    broker.shut_down();
    eventually("nobody listens", async || TcpStream::connect(broker.address).await.is_err()).await;
    socket.write_all(b"\r\n").await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("SHUTTING_DOWN"), "{answer}");
}

#[tokio::test]
async fn a_body_whose_announced_length_is_too_long_is_rejected_before_it_arrives() {
    let broker = TestBroker::start(&[]).await;
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    let head = report("Content-Length: 20000000");
    socket.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
}

/// A socket that is closed with unread bytes is reset. A proxy that still sends then answers 502 in place of our response.
#[tokio::test]
async fn a_client_that_sends_a_body_that_is_too_long_gets_its_413_and_no_reset() {
    let broker = TestBroker::start(&[]).await;
    let body = vec![b' '; LINGER_BYTES_MAX - 64 * 1024];
    for framing in [format!("Content-Length: {}", body.len()), "Transfer-Encoding: chunked".to_owned()] {
        let mut socket = TcpStream::connect(broker.address).await.unwrap();
        let head = report(&framing);
        socket.write_all(head.as_bytes()).await.unwrap();
        if framing.starts_with("Transfer") {
            socket.write_all(format!("{:x}\r\n", body.len()).as_bytes()).await.unwrap();
        }
        // The broker answers before the last part.
        let (first, rest) = body.split_at(64 * 1024);
        socket.write_all(first).await.unwrap();
        socket.peek(&mut [0]).await.unwrap();
        socket.write_all(rest).await.expect("the broker reads on");
        let mut answer = String::new();
        let read = finished("it is closed", socket.read_to_string(&mut answer)).await;
        assert!(read.is_ok(), "{read:?}");
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
    }
    assert!(broker.metric("turn_broker_discarded_bytes_total").await > Some(100_000));
}

#[tokio::test]
async fn what_follows_a_response_is_read_up_to_a_number_of_bytes_and_for_a_short_time() {
    let broker = TestBroker::start(&[]).await;
    let head = report("Content-Length: 999999999");
    for (part, pause) in [(vec![0; 64 * 1024], Duration::ZERO), (vec![0; 1], Duration::from_millis(100))] {
        let mut socket = TcpStream::connect(broker.address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        // Writing fails once the broker has closed the socket.
        let sending = async {
            while socket.write_all(&part).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        };
        finished("it is closed", sending).await;
    }
    let discarded = broker.metric("turn_broker_discarded_bytes_total").await.unwrap();
    assert!(discarded < u64::try_from(LINGER_BYTES_MAX * 5 / 4).unwrap(), "{discarded}");
}

/// Each part needs more memory than its bytes, so chunks of one byte would need a hundred times as much memory as the body.
#[tokio::test]
async fn a_body_in_too_many_parts_is_refused_and_one_in_as_many_as_allowed_is_not() {
    let broker = TestBroker::start(&[]).await;
    let head = report("Transfer-Encoding: chunked\r\nConnection: close");
    for (parts, status, code) in [(PARTS_MAX, 201, "connectionId"), (PARTS_MAX + 1, 400, "INVALID_REQUEST")] {
        let mut socket = TcpStream::connect(broker.address).await.unwrap();
        let body = "1\r\n{\r\n1\r\n}\r\n".to_owned() + &"1\r\n \r\n".repeat(parts - 2) + "0\r\n\r\n";
        socket.write_all((head.clone() + &body).as_bytes()).await.unwrap();
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{answer}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_are_counted_and_named_in_one_warning_a_minute() {
    let mut broker = Process::start(&[("OPERATOR_TOKEN", OPERATOR), ("LOG_FORMAT", "json")]);
    let address = format!("127.0.0.1:{}", broker.port);
    // It is HTTP, but too long.
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(40_000));
    let send = async |bytes: &[u8]| {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        let _ = socket.write_all(bytes).await;
        read_to_end(&mut socket).await;
    };
    let are_counted = async |expected: &[&str]| {
        let text = broker.operator("/metrics").await.text;
        let counts = text.lines().filter_map(|line| line.strip_prefix("turn_broker_not_http_total"));
        let mut counts: Vec<_> = counts.filter(|line| !line.ends_with(" 0")).collect();
        counts.sort_unstable();
        counts == expected
    };
    send(long.as_bytes()).await;
    send(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("the first is counted", async || are_counted(&[r#"{kind="proxy_header"} 1"#]).await).await;
    for bytes in [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        send(bytes).await;
    }
    let expected =
        [r#"{kind="http2"} 1"#, r#"{kind="proxy_header"} 2"#, r#"{kind="tls"} 1"#, r#"{kind="unknown"} 1"#];
    eventually("all are counted", async || are_counted(&expected).await).await;
    let line: Value = serde_json::from_str(&broker.read_until("is not HTTP")).unwrap();
    assert_eq!(json!([line["level"], line["kind"]]), json!(["WARN", "proxy_header"]), "{line}");
    assert_eq!(line["first_bytes"], "PROXY TCP4 1", "{line}");
    broker.signal("-TERM");
    assert_eq!(broker.finish().0.matches("is not HTTP").count(), 1);
}

#[tokio::test]
async fn shutdown_finishes_requests_in_progress_and_accepts_no_more() {
    let (cloudflare, broker) = with_cloudflare().await;
    cloudflare.next(Fault::Held);
    let request = broker.request(reqwest::Method::GET, "/api/turn-credentials");
    let running = tokio::spawn(crate::support::Answer::of(request));
    eventually("the provider is asked", async || cloudflare.history().mints() > 0).await;
    broker.shut_down();
    eventually("nobody listens", async || TcpStream::connect(broker.address).await.is_err()).await;
    cloudflare.release();
    assert_eq!(running.await.unwrap().json()["source"], "cloudflare");
}

#[tokio::test]
async fn a_request_that_is_on_its_way_on_an_idle_connection_at_the_shutdown_is_answered() {
    let broker = TestBroker::start(&[]).await;
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 4096];
    assert!(socket.read(&mut first).await.unwrap() > 0);
    broker.shut_down();
    socket.write_all(report("Content-Length: 2\r\n\r\n{}").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("connection: close"), "{answer}");
}

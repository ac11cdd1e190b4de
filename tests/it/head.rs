//! The rules of a request's head: one `Host`, the hosts that are served, and where a body ends. The tests write to sockets
//! directly, because no HTTP client sends these requests.

use crate::support::prelude::*;

/// Everything that the broker sends until it closes the connection.
async fn exchange(broker: &TestBroker, request: &str) -> String {
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![];
    // A reset ends the connection too.
    let _ = socket.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The status of a `GET` with these header lines; the connection is closed after it.
async fn status(broker: &TestBroker, target: &str, version: &str, lines: &str) -> (u16, String) {
    let answer =
        exchange(broker, &format!("GET {target} {version}\r\n{lines}Connection: close\r\n\r\n")).await;
    let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
    (status, answer)
}

#[tokio::test]
async fn a_request_names_exactly_one_well_formed_host() {
    let broker = TestBroker::start(&[]).await;
    for (version, lines, expected) in [
        ("HTTP/1.1", "", 400),
        ("HTTP/1.1", "Host: a\r\nHost: a\r\n", 400),
        ("HTTP/1.1", "Host: a\r\nHost: b\r\n", 400),
        ("HTTP/1.0", "Host: a\r\nHost: b\r\n", 400),
        ("HTTP/1.1", "Host: a, b\r\n", 400),
        ("HTTP/1.1", "Host: a b\r\n", 400),
        ("HTTP/1.1", "Host: user@a\r\n", 400),
        ("HTTP/1.1", "Host: a/b\r\n", 400),
        ("HTTP/1.1", "Host: \u{fc}\r\n", 400),
        ("HTTP/1.1", "Host: a\r\n", 200),
        ("HTTP/1.1", "host: turn_broker.example:3001\r\n", 200),
        ("HTTP/1.1", "Host: [::1]:3001\r\n", 200),
        ("HTTP/1.1", "Host:\r\n", 200),
        ("HTTP/1.0", "Host: a\r\n", 200),
        ("HTTP/1.0", "", 200),
    ] {
        for target in ["/health", "/api/turn-credentials"] {
            let (found, answer) = status(&broker, target, version, lines).await;
            assert_eq!(found, expected, "{target} {version} {lines:?}: {answer}");
            let is_in_form = answer.contains(r#""code":"INVALID_REQUEST","requestId":""#);
            assert_eq!(is_in_form, expected == 400, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_websocket_whose_upgrade_a_proxy_has_dropped_is_told_so_on_every_path() {
    let broker = TestBroker::start(&[("SIGNALING", "ayame,rooms,peerjs,yjs")]).await;
    let lines = "Host: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for target in ["/signaling", "/yjs", "/parties/rooms/r", "/peerjs/peerjs?key=peerjs", "/", "/unknown"] {
        let (found, answer) = status(&broker, target, "HTTP/1.1", lines).await;
        assert_eq!(found, 426, "{target}: {answer}");
        assert!(answer.contains("a proxy in between dropped the Upgrade header"), "{target}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"), "{target}: {answer}");
    }
}

fn chunked(lines: &str) -> String {
    let head =
        format!("POST /api/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {REPORTER}\r\n{lines}");
    // A further request, as if it were hidden in the body.
    format!("{head}\r\n2\r\n{{}}\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn any_transfer_encoding_but_chunked_alone_is_refused_and_the_connection_closed() {
    let broker = TestBroker::start(&[]).await;
    for lines in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
    ] {
        let answer = exchange(&broker, &chunked(lines)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lines:?}: {answer}");
    }
    for lines in ["Transfer-Encoding: chunked\r\n", "transfer-encoding: Chunked\r\n"] {
        let answer = exchange(&broker, &chunked(lines)).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{lines:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "a connection is used again: {answer}");
    }
}

/// A proxy that uses the other header finds another end of the body. So whatever follows the body must not be a request.
#[tokio::test]
async fn after_a_request_with_both_a_length_and_an_encoding_nothing_more_is_read() {
    let broker = TestBroker::start(&[]).await;
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4, 4\r\n",
    ] {
        let answer = exchange(&broker, &chunked(lines)).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lines:?}: {answer}");
    }
}

#[tokio::test]
async fn with_allowed_hosts_another_host_is_misdirected_and_mints_nothing() {
    let hosts = ("ALLOWED_HOSTS", "turn.example, Broker.Example:8080, 192.0.2.7, [2001:db8::1]");
    let (cloudflare, broker) = with_cloudflare_and(&[hosts]).await;
    let mint = "/api/turn-credentials";
    for (target, version, lines) in [
        (mint, "HTTP/1.1", "Host: evil.example\r\n"),
        (mint, "HTTP/1.1", "Host: turn.example.evil.example\r\n"),
        (mint, "HTTP/1.1", "Host: evil-turn.example\r\n"),
        (mint, "HTTP/1.1", "Host: 127.0.0.1\r\n"),
        (mint, "HTTP/1.1", "Host:\r\n"),
        (mint, "HTTP/1.0", ""),
        ("http://evil.example/api/turn-credentials", "HTTP/1.1", "Host: turn.example\r\n"),
        ("/api/bandwidth-status", "HTTP/1.1", "Host: evil.example\r\n"),
        ("/turn-client.js", "HTTP/1.1", "Host: evil.example\r\n"),
        ("/nope", "HTTP/1.1", "Host: evil.example\r\n"),
    ] {
        let (found, answer) = status(&broker, target, version, lines).await;
        assert_eq!(found, 421, "{target} {lines:?}: {answer}");
        assert!(answer.contains(r#""code":"MISDIRECTED_REQUEST","requestId":""#), "{answer}");
    }
    assert_eq!(cloudflare.history().mints(), 0);
    for (target, lines) in [
        (mint, "Host: turn.example\r\n"),
        (mint, "Host: TURN.example.:443\r\n"),
        (mint, "Host: broker.example\r\n"),
        (mint, "Host: 192.0.2.7:3001\r\n"),
        (mint, "Host: [2001:DB8:0::1]:3001\r\n"),
        ("http://turn.example/api/turn-credentials", "Host: turn.example\r\n"),
        // The probes of a container platform use an address as host.
        ("/health", "Host: 10.1.2.3:3001\r\n"),
        ("/ready", "Host: 10.1.2.3:3001\r\n"),
    ] {
        let (found, answer) = status(&broker, target, "HTTP/1.1", lines).await;
        assert_eq!(found, 200, "{target} {lines:?}: {answer}");
    }
    assert_eq!(status(&broker, "/health", "HTTP/1.0", "").await.0, 200);
    let check = exchange(&broker, "OPTIONS / HTTP/1.0\r\n\r\n").await;
    assert!(check.starts_with("HTTP/1.0 200 "), "HAProxy's check: {check}");
    let scrape = format!("Host: evil.example\r\nAuthorization: Bearer {OPERATOR}\r\n");
    assert_eq!(status(&broker, "/metrics", "HTTP/1.1", &scrape).await.0, 421, "also with the token");
}

/// Mints with one request of each client. Returns the statuses.
async fn mint_as(broker: &TestBroker, header: &str, clients: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for client in clients {
        let answer = broker.get_with("/api/turn-credentials", &[(header, client)]).await;
        statuses.push(answer.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_in_the_header_of_the_setting_and_in_no_other() {
    let clients = ["203.0.113.1", "203.0.113.2", "203.0.113.1"];
    let settings = [("CLIENT_ADDRESS_HEADER", "CF-Connecting-IP"), ("RATE_LIMIT_REQUESTS", "1")];
    let broker = TestBroker::start(&settings).await;
    assert_eq!(mint_as(&broker, "cf-connecting-ip", &clients).await, [200, 200, 429]);
    assert_eq!(mint_as(&broker, "x-forwarded-for", &clients).await, [200, 429, 429], "all are the proxy");

    let untrusted = [settings.as_slice(), &[("TRUSTED_PROXIES", "")]].concat();
    let broker = TestBroker::start(&untrusted).await;
    assert_eq!(mint_as(&broker, "cf-connecting-ip", &clients).await, [200, 429, 429]);
    let hint = broker.hint("PROXY_NOT_TRUSTED").await.unwrap();
    assert!(hint.contains("had the header cf-connecting-ip"), "{hint}");
}

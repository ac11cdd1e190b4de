//! An HTTP client that also reports incomplete responses and resets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::FakeCloudflare;

/// The path of a mint, with an arbitrary key id.
pub(super) const MINT: &str = "/v1/turn/keys/some-key/credentials/generate-ice-servers";

/// The bytes received until the stream ended or the client stopped reading.
pub(super) struct Reply {
    /// 0 without a status line.
    pub(super) status: u16,
    /// Lower case, without the status line.
    pub(super) head: String,
    /// As on the wire: chunk marks included.
    pub(super) body: Vec<u8>,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
    StillOpen,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }
}

/// One request on its own connection. The response is read until the stream ends or no byte arrives for `patience`.
pub(super) struct Ask {
    pub(super) line: String,
    pub(super) token: &'static str,
    pub(super) body: String,
    pub(super) patience: Duration,
    /// Stops reading after this many bytes, as after `patience`.
    pub(super) enough: usize,
}

impl Ask {
    pub(super) fn mint(ttl: u64) -> Self {
        let body = json!({ "ttl": ttl, "customIdentifier": "grant-7" }).to_string();
        Self { body, ..Self::path("POST", MINT) }
    }

    pub(super) fn path(method: &str, path: &str) -> Self {
        let line = format!("{method} {path} HTTP/1.1");
        Self {
            line,
            token: "token",
            body: String::new(),
            patience: Duration::from_secs(5),
            enough: usize::MAX,
        }
    }

    /// For responses that never end. The caller checks separately that the request arrived.
    pub(super) fn impatient(self) -> Self {
        Self { patience: Duration::from_millis(60), enough: 600, ..self }
    }

    pub(super) async fn of(self, fake: &FakeCloudflare) -> Reply {
        let address = address(fake);
        tokio::task::spawn_blocking(move || self.blocking(address)).await.expect("the client does not panic")
    }

    pub(super) fn blocking(self, address: SocketAddr) -> Reply {
        let mut socket = TcpStream::connect(address).expect("the fake listens");
        socket.set_read_timeout(Some(self.patience)).expect("a time limit can be set");
        let (line, token, body) = (&self.line, self.token, &self.body);
        let length = body.len();
        let request = format!(
            "{line}\r\nHost: fake\r\nAuthorization: Bearer {token}\r\nUser-Agent: self-test\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).expect("the fake reads");
        let (bytes, end) = read_to_the_end(&mut socket, self.enough);
        parse(&bytes, end)
    }
}

fn read_to_the_end(socket: &mut TcpStream, enough: usize) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while bytes.len() < enough {
        match socket.read(&mut chunk) {
            Ok(0) => return (bytes, End::Closed),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (bytes, End::Reset),
            Err(_) => break,
        }
    }
    (bytes, End::StillOpen)
}

fn parse(bytes: &[u8], end: End) -> Reply {
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = split.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 4..]));
    let head = String::from_utf8_lossy(head).to_lowercase();
    let (line, head) = head.split_once("\r\n").unwrap_or((&head, ""));
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned(), end }
}

pub(super) fn address(fake: &FakeCloudflare) -> SocketAddr {
    fake.base_url()
        .strip_prefix("http://")
        .and_then(|address| address.parse().ok())
        .expect("http://ADDRESS:PORT")
}

/// Waits until the fake has recorded this many mints. An impatient client may disconnect before.
pub(super) async fn mints_arrived(fake: &FakeCloudflare, count: usize) {
    let arrived = async {
        while fake.history().mints() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("the fake records the mints");
}

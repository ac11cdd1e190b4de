//! The two ends of a connection between replicas, made by hand.

use std::sync::OnceLock;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use turn_broker::forward::{CHALLENGE, CountedSocket, FORWARDED, ForwardKey, Hop, Nonce, PROOF};

use super::TestReplica;
use crate::support::prelude::*;

/// The key of the ledger of [`FakeDatabase`].
pub(super) fn key() -> ForwardKey {
    ForwardKey::derived_from(&[7; 64])
}

#[derive(Default)]
struct Socket(OnceLock<Nonce>);

impl CountedSocket for Socket {
    fn exempt(&self) {}

    fn nonce(&self) -> &OnceLock<Nonce> {
        &self.0
    }
}

/// The bytes up to the end of a head; empty at the end of the connection.
pub(super) async fn head(socket: &mut TcpStream) -> String {
    let mut bytes = vec![];
    while !bytes.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The only value of a header.
fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// An address that the ledger names as that of the leader. It proves that it is one, and nothing more.
pub(super) struct FakeLeader {
    pub(super) listener: TcpListener,
    pub(super) url: String,
}

impl FakeLeader {
    pub(super) async fn start(database: &FakeDatabase) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let leader = Some(url.clone());
        database.change_row(|row| {
            (row.is_held, row.has_session, row.leader, row.epoch) = (true, true, leader, 1);
        });
        Self { listener, url }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Proves that a leader is here. What comes next on the connection is a request that is forwarded. `None`: it has ended.
    pub(super) async fn prove(&self, mut socket: TcpStream) -> Option<TcpStream> {
        let asked = head(&mut socket).await;
        let counted: Arc<dyn CountedSocket> = Arc::new(Socket::default());
        let request = Request::builder().header(CHALLENGE, value(&asked, CHALLENGE.as_str())?);
        let proof = key().prove(&request.extension(counted).body(()).unwrap(), &self.url).unwrap();
        let proof = format!("HTTP/1.1 200 OK\r\n{PROOF}: {}\r\n\r\n", proof.to_str().unwrap());
        socket.write_all(proof.as_bytes()).await.ok()?;
        value(&head(&mut socket).await, FORWARDED.as_str())?;
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
        Some(socket)
    }
}

/// A replica that forwards to a leader.
pub(super) struct ByHand {
    pub(super) socket: TcpStream,
    nonce: Nonce,
}

impl ByHand {
    /// `None`: no leader is there.
    pub(super) async fn open(leader: &TestReplica) -> Option<Self> {
        let (mut socket, challenge) =
            (TcpStream::connect(leader.address).await.unwrap(), Nonce::random().unwrap());
        let ask = format!("HEAD /leader HTTP/1.1\r\nhost: a\r\n{CHALLENGE}: {challenge}\r\n\r\n");
        socket.write_all(ask.as_bytes()).await.unwrap();
        let answer = head(&mut socket).await;
        let proof = HeaderValue::from_str(value(&answer, PROOF.as_str())?).unwrap();
        let nonce = key().proven(challenge, &leader.url, &HeaderMap::from_iter([(PROOF, proof)])).unwrap();
        Some(Self { socket, nonce })
    }

    /// The header for a request of this client.
    pub(super) fn sign(&self, method: &str, path: &str, client: &str) -> String {
        let client = client.parse().unwrap();
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let header = key().sign(self.nonce, Hop { client, peer: client }, &request).unwrap();
        header.to_str().unwrap().to_owned()
    }

    /// Sends a request of this client, and reads the response.
    pub(super) async fn ask(&mut self, method: &str, path: &str, client: &str) -> String {
        let signature = self.sign(method, path, client);
        self.send(method, path, &signature).await
    }

    /// The same with any signature.
    pub(super) async fn send(&mut self, method: &str, path: &str, signature: &str) -> String {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{FORWARDED}: {signature}\r\n\r\n"
        );
        self.socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 8192];
        let length = self.socket.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }
}

//! One HTTP client with its own address: a stranger or an honest client. It uses only public routes, and counts what each
//! exchange costs it: requests, sockets, bytes sent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::table::count;

/// How long a client waits for a response.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an attack costs the attacker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) requests: u64,
    pub(crate) sockets: u64,
    pub(crate) bytes: u64,
}

impl Cost {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            sockets: self.sockets + other.sockets,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The grant token, if a credential was minted.
    pub(crate) fn grant(&self) -> Option<String> {
        Some(self.json()["grant"].as_str()?.to_owned())
    }
}

/// A client that keeps its socket open between requests.
pub(crate) struct Client {
    server: SocketAddr,
    /// The address of the socket. The system chooses it if it is `None`.
    from: Option<IpAddr>,
    /// The value of `X-Forwarded-For`.
    forwarded: Option<Vec<u8>>,
    stream: Option<TcpStream>,
    pub(crate) cost: Cost,
}

impl Client {
    /// A client that is directly connected.
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, from: None, forwarded: None, stream: None, cost: Cost::default() }
    }

    /// A client behind the trusted proxy.
    pub(crate) fn behind_proxy(server: SocketAddr, address: &str) -> Self {
        Self { forwarded: Some(address.as_bytes().to_vec()), ..Self::new(server) }
    }

    /// A directly connected client with this address of the loopback network.
    pub(crate) fn at(server: SocketAddr, from: [u8; 4]) -> Self {
        Self { from: Some(from.into()), ..Self::new(server) }
    }

    /// Sets the bytes of `X-Forwarded-For`.
    pub(crate) fn forward(&mut self, value: &[u8]) {
        self.forwarded = Some(value.to_vec());
    }

    /// The bytes of a request.
    pub(crate) fn head(&self, method: &str, path: &str, lines: &[&str], body: &str) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.server).into_bytes();
        if let Some(address) = &self.forwarded {
            head.extend_from_slice(b"X-Forwarded-For: ");
            head.extend_from_slice(address);
            head.extend_from_slice(b"\r\n");
        }
        for line in lines {
            head.extend_from_slice(format!("{line}\r\n").as_bytes());
        }
        if !body.is_empty() {
            head.extend_from_slice(
                format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()).as_bytes(),
            );
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(body.as_bytes());
        head
    }

    /// `GET` with more header lines.
    pub(crate) async fn get(&mut self, path: &str, lines: &[&str]) -> Option<Reply> {
        let request = self.head("GET", path, lines, "");
        self.send(&request).await
    }

    /// `POST` with a token.
    pub(crate) async fn post(&mut self, path: &str, token: &str, body: &Value) -> Option<Reply> {
        let request =
            self.head("POST", path, &[&format!("Authorization: Bearer {token}")], &body.to_string());
        self.send(&request).await
    }

    /// Mints. Returns the grant, if there is one.
    pub(crate) async fn mint(&mut self, query: &str) -> Option<String> {
        self.get(&format!("/api/turn-credentials{query}"), &[]).await?.grant()
    }

    /// Renews a grant.
    pub(crate) async fn renew(&mut self, grant: &str, query: &str) -> Option<String> {
        let bearer = format!("Authorization: Bearer {grant}");
        self.get(&format!("/api/turn-credentials{query}"), &[&bearer]).await?.grant()
    }

    /// Opens a connection. Returns whether it is open.
    pub(crate) async fn open(&mut self, token: &str, id: &str) -> bool {
        let reply = self.post("/api/connections", token, &json!({"connectionId": id})).await;
        reply.is_some_and(|reply| reply.status == 200 || reply.status == 201)
    }

    /// Reports bytes. Returns the status, or 0 without a response.
    pub(crate) async fn beat(&mut self, token: &str, id: &str, bytes: u64) -> u16 {
        let path = format!("/api/connections/{id}/heartbeat");
        let reply = self.post(&path, token, &json!({"bytesReceived": bytes})).await;
        reply.map_or(0, |reply| reply.status)
    }

    /// The bytes of a request that reports bytes.
    pub(crate) fn false_report(&self, token: &str, id: &str, bytes: u64) -> Vec<u8> {
        let bearer = format!("Authorization: Bearer {token}");
        let body = json!({"bytesReceived": bytes}).to_string();
        self.head("POST", &format!("/api/connections/{id}/heartbeat"), &[&bearer], &body)
    }

    /// Keeps a connection alive without a report.
    pub(crate) async fn beat_silently(&mut self, token: &str, id: &str) -> u16 {
        let reply = self.post(&format!("/api/connections/{id}/heartbeat"), token, &json!({})).await;
        reply.map_or(0, |reply| reply.status)
    }

    /// Sends one request unchanged, and reads its response. `None` if none comes in time.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Option<Reply> {
        self.cost.requests += 1;
        let reply = timeout(PATIENCE, self.exchange(request)).await.ok().flatten();
        if reply.is_none() {
            self.stream = None;
        }
        reply
    }

    /// Sends all requests in one write, and reads a status for each.
    pub(crate) async fn pipeline(&mut self, requests: &[Vec<u8>]) -> Vec<u16> {
        self.cost.requests += count(requests.len());
        let bytes = requests.concat();
        let exchange = async {
            let mut statuses = Vec::with_capacity(requests.len());
            let (mut stream, mut unread) = (self.connected().await?, Vec::new());
            stream.write_all(&bytes).await.ok()?;
            while statuses.len() < requests.len() {
                let (reply, _) = read_reply(&mut stream, &mut unread).await?;
                statuses.push(reply.status);
            }
            self.cost.bytes += count(bytes.len());
            self.stream = Some(stream);
            Some(statuses)
        };
        timeout(PATIENCE * 4, exchange).await.ok().flatten().unwrap_or_default()
    }

    async fn exchange(&mut self, request: &[u8]) -> Option<Reply> {
        let mut stream = self.connected().await?;
        self.cost.bytes += count(request.len());
        stream.write_all(request).await.ok()?;
        let (reply, keeps_open) = read_reply(&mut stream, &mut Vec::new()).await?;
        self.stream = keeps_open.then_some(stream);
        Some(reply)
    }

    async fn connected(&mut self) -> Option<TcpStream> {
        if let Some(stream) = self.stream.take() {
            return Some(stream);
        }
        self.cost.sockets += 1;
        connect(self.server, self.from).await
    }
}

/// A socket from this address.
async fn connect(server: SocketAddr, from: Option<IpAddr>) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0)).ok()?;
    }
    let stream = timeout(PATIENCE, socket.connect(server)).await.ok()?.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// The next response, and whether the server keeps the socket open. `unread` has bytes that arrived already.
async fn read_reply(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<(Reply, bool)> {
    let head_end = loop {
        if let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&unread[..head_end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = value("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
    while unread.len() < head_end + length {
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
    let keeps_open = value("connection:") != Some("close");
    let body = String::from_utf8_lossy(&unread[head_end..head_end + length]).into_owned();
    unread.drain(..head_end + length);
    Some((Reply { status, body }, keeps_open))
}

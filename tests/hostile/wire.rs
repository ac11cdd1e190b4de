//! Bare sockets from chosen loopback addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// An honest client gives up after this time.
const PATIENCE: Duration = Duration::from_secs(3);
/// Honest health checks during one attack.
const CHECKS: u64 = 20;

/// A further address of this machine, from 127.0.1.1 on.
pub(crate) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + number)
}

/// A connection from this address.
pub(crate) async fn connect(from: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Everything that the broker sends until it closes the connection; nothing if it takes too long.
pub(crate) async fn exchange(from: Ipv4Addr, port: u16, request: &str) -> String {
    let asked = async {
        let mut socket = connect(from, port).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // After a reset, what came before counts.
        let _ = socket.read_to_end(&mut answer).await;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(PATIENCE, asked).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// A `GET` with further header lines, each with its end.
pub(crate) async fn get(from: Ipv4Addr, port: u16, path: &str, host: &str, lines: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n");
    exchange(from, port, &request).await
}

/// Health checks one after another: how many of how many were served.
pub(crate) async fn health_checks(from: Ipv4Addr, port: u16) -> (u64, u64) {
    let mut served = 0;
    for _ in 0..CHECKS {
        let answer = get(from, port, "/health", "localhost", "").await;
        served += u64::from(answer.starts_with("HTTP/1.1 200 "));
    }
    (served, CHECKS)
}

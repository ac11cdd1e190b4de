//! `turn-broker healthcheck`: requests `/health` from the service on this machine, for an image without a shell.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::ServerConfig;

/// The time limit for connecting, and for each read.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Enough for the status line.
const HEAD_MAX: u64 = 64;

/// Success if the response is a 200.
pub fn run(server: &ServerConfig) -> std::io::Result<ExitCode> {
    let mut socket = TcpStream::connect_timeout(&server.reachable(), TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    socket.take(HEAD_MAX).read_to_end(&mut head)?;
    Ok(if head.starts_with(b"HTTP/1.1 200 ") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

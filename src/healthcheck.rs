//! `turn-broker healthcheck`: requests `/health` from the service on this machine, for an image without a shell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::ServerConfig;

/// The time limit for connecting, and for each read.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Enough for the status line.
const HEAD_MAX: u64 = 64;

/// Success if the response is a 200.
pub fn run(server: &ServerConfig) -> std::io::Result<ExitCode> {
    let mut socket =
        TcpStream::connect_timeout(&SocketAddr::new(reachable(server.host), server.port), TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    socket.take(HEAD_MAX).read_to_end(&mut head)?;
    Ok(if head.starts_with(b"HTTP/1.1 200 ") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The address to connect to: loopback for a listener on all addresses.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0".parse().unwrap()).to_string(), "127.0.0.1");
        assert_eq!(reachable("::".parse().unwrap()).to_string(), "::1");
        assert_eq!(reachable("192.0.2.1".parse().unwrap()).to_string(), "192.0.2.1");
    }
}

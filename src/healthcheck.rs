//! `turn-broker healthcheck`: requests `/health` from the service on this machine, for an image without a shell.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ServerConfig;

/// The time limit for connecting and the answer together.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How a good answer begins.
const GOOD: &[u8; 13] = b"HTTP/1.1 200 ";

/// Success if the response is a 200.
pub fn run(server: &ServerConfig) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_up = runtime.block_on(is_up(server.reachable(), TIMEOUT))?;
    Ok(if is_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn is_up(address: SocketAddr, within: Duration) -> io::Result<bool> {
    let asked = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut head = [0; GOOD.len()];
        socket.read_exact(&mut head).await?;
        Ok(head == *GOOD)
    };
    timeout(within, asked).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that answers one request with these bytes, one each millisecond.
    async fn answers(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            for byte in bytes {
                tokio::time::sleep(Duration::from_millis(1)).await;
                socket.write_all(&[*byte]).await.unwrap();
            }
            // Silence, until the client gives up.
            let _ = socket.read_to_end(&mut Vec::new()).await;
        });
        address
    }

    #[tokio::test]
    async fn only_a_200_is_good() {
        let minute = Duration::from_secs(60);
        for (answer, is_good) in
            [(&b"HTTP/1.1 200 OK\r\n"[..], true), (b"HTTP/1.1 503 Service Unavailable\r\n", false)]
        {
            assert_eq!(is_up(answers(answer).await, minute).await.unwrap(), is_good);
        }
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_is_given_up() {
        let error = is_up(answers(b"HTTP/1.1 ").await, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

//! A client of any TURN server over UDP, which finds out whether a credential relays there. It makes an allocation and sends datagrams
//! through it to the allocation itself, because an allocation alone proves nothing about peers. The allocation is released in any case.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::longest::LongestSocket;

/// The time limit for an allocation, and for a permission. The library sends a lost request again.
const STEP: Duration = Duration::from_secs(5);
/// The waits for one datagram, which is sent at 0, 0.5 and 1.5 s.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(1_500)];
/// The payload of a datagram, in bytes. It fits into one packet on every path.
const PAYLOAD: u16 = 1_000;
const ALLOCATION: &str = "the allocation request";
const PERMISSION: &str = "the permission for itself as a peer";

/// Why a credential does not relay. Each text can be a part of a sentence. No text comes from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// No socket, or no route.
    #[error("this machine has no route to it")]
    Unreachable,
    /// No answer.
    #[error("no answer in time: {0}")]
    Timeout(&'static str),
    /// The server answered with an error.
    #[error("{step} was answered with {code}")]
    Refused {
        /// What was asked.
        step: &'static str,
        /// A code of RFC 8489 or RFC 8656.
        code: u16,
    },
    /// No datagram comes out of the allocation.
    #[error("it makes allocations, but no datagram comes through one, so calls fail")]
    NothingThrough,
    /// The server's answer has no error code, or no challenge for the credential.
    #[error("the server asks for no credential, or is no TURN server")]
    NoChallenge,
}

impl RelayError {
    /// Finds the server's error code. The library has the code only in its text, before the server's own text.
    fn of(step: &'static str, text: &str) -> Self {
        let code = text.split_once("(error ").and_then(|(_, rest)| rest.split(':').next()?.parse().ok());
        code.map_or(Self::NoChallenge, |code| Self::Refused { step, code })
    }
}

/// Relays this many datagrams of [`PAYLOAD`] bytes through a new allocation to itself, one after the other. Returns the relayed address.
pub async fn relay_to_itself(
    server: SocketAddr,
    username: &str,
    password: &str,
    datagrams: u16,
) -> Result<SocketAddr, RelayError> {
    let socket = Arc::new(socket_to(server).await?);
    let allocation = Allocation::open(server, username, password, socket).await?;
    let relayed = allocation.relay(datagrams).await;
    allocation.close().await;
    relayed
}

/// An allocation, which the library refreshes until it is closed.
pub struct Allocation {
    client: Client,
    conn: Box<dyn Conn + Send + Sync>,
    server: SocketAddr,
    socket: Option<Arc<LongestSocket>>,
}

impl Allocation {
    /// Makes an allocation with the longest LIFETIME that the server grants.
    pub async fn open_longest(
        server: SocketAddr,
        username: &str,
        password: &str,
    ) -> Result<Self, RelayError> {
        let socket = Arc::new(LongestSocket::new(socket_to(server).await?, username, password));
        let allocation = Self::open(server, username, password, socket.clone()).await?;
        Ok(Self { socket: Some(socket), ..allocation })
    }

    /// Makes an allocation.
    async fn open(
        server: SocketAddr,
        username: &str,
        password: &str,
        conn: Arc<dyn Conn + Send + Sync>,
    ) -> Result<Self, RelayError> {
        let config = ClientConfig {
            stun_serv_addr: String::new(),
            turn_serv_addr: server.to_string(),
            username: username.to_owned(),
            password: password.to_owned(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn,
            vnet: None,
        };
        let client = Client::new(config).await.map_err(|_| RelayError::Unreachable)?;
        client.listen().await.map_err(|_| RelayError::Unreachable)?;
        let allocated = match timeout(STEP, client.allocate()).await {
            Err(_) => Err(RelayError::Timeout(ALLOCATION)),
            // The library has this error only for a request that could not be sent.
            Ok(Err(turn::Error::Util(_))) => Err(RelayError::Unreachable),
            Ok(Err(error)) => Err(RelayError::of(ALLOCATION, &error.to_string())),
            Ok(Ok(conn)) => Ok(Box::new(conn)),
        };
        match allocated {
            Ok(conn) => Ok(Self { client, conn, server, socket: None }),
            Err(error) => {
                let _ = client.close().await;
                Err(error)
            }
        }
    }

    /// Asks again for the longest LIFETIME. Nothing happens with an allocation that was not opened with it.
    pub async fn refresh(&self) {
        if let Some(socket) = &self.socket {
            socket.refresh(self.server).await;
        }
    }

    /// The longest LIFETIME that the server has granted last, in seconds. `None`: none was asked for.
    pub fn granted(&self) -> Option<u32> {
        self.socket.as_ref().map(|socket| socket.granted())
    }

    /// Relays this many datagrams to itself, one after the other. Returns the relayed address.
    pub async fn relay(&self, datagrams: u16) -> Result<SocketAddr, RelayError> {
        let itself = self.conn.local_addr().map_err(|_| RelayError::Unreachable)?;
        for _ in 0..datagrams {
            there_and_back(&*self.conn, itself).await?;
        }
        Ok(itself)
    }

    /// Releases the allocation.
    pub async fn close(self) {
        let _ = self.conn.close().await;
        let _ = self.client.close().await;
    }
}

/// A socket of this machine with which the server can be reached.
async fn socket_to(server: SocketAddr) -> Result<UdpSocket, RelayError> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind(SocketAddr::new(any, 0)).await.map_err(|_| RelayError::Unreachable)
}

/// Sends a datagram through the allocation to itself, again while it does not come back.
async fn there_and_back(allocation: &(dyn Conn + Send + Sync), itself: SocketAddr) -> Result<(), RelayError> {
    let payload = vec![0; PAYLOAD.into()];
    let mut received = payload.clone();
    for pause in PAUSES {
        let sent = timeout(STEP, allocation.send_to(&payload, itself)).await;
        let sent = sent.map_err(|_| RelayError::Timeout(PERMISSION))?;
        sent.map_err(|error| RelayError::of(PERMISSION, &error.to_string()))?;
        if let Ok(Ok(_)) = timeout(pause, allocation.recv_from(&mut received)).await {
            return Ok(());
        }
    }
    Err(RelayError::NothingThrough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_refusal_is_read_and_the_servers_words_are_not_repeated() {
        let text = "CreatePermission error response (error 403: Forbidden (error 1: x))";
        let refused = RelayError::of(PERMISSION, text);
        assert_eq!(refused, RelayError::Refused { step: PERMISSION, code: 403 });
        assert_eq!(refused.to_string(), "the permission for itself as a peer was answered with 403");
        assert_eq!(RelayError::of(PERMISSION, "attribute not found"), RelayError::NoChallenge);
    }
}

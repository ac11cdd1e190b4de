//! A client of any TURN server over UDP, which finds out whether a credential relays there. It makes an allocation and sends datagrams
//! through it to the allocation itself, because an allocation alone proves nothing about peers. The allocation is released in any case.

use std::net::Ipv6Addr;

use turn::client::{Client, ClientConfig};

use crate::client_socket::{ClientSocket, Refusal};
use crate::prelude::*;

pub use crate::client_socket::UdpRelay;

/// The time limit for an allocation, and for a permission. The library sends a lost request again.
pub(crate) const STEP: Duration = Duration::from_secs(5);
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
    /// The server sends its clients to another one, which makes no allocation.
    #[error("it answers 300 (Try Alternate), and the server that it names, {0}, makes no allocation")]
    Alternate(SocketAddr),
    /// The server's answer has no error code, or no challenge for the credential.
    #[error("the server asks for no credential, or is no TURN server")]
    NoChallenge,
}

impl RelayError {
    /// Why the server's last answer ended a step.
    fn of(step: &'static str, refusal: Option<Refusal>) -> Self {
        match refusal {
            Some(Refusal { alternate: Some(server), .. }) => Self::Alternate(server),
            Some(Refusal { code, .. }) => Self::Refused { step, code },
            None => Self::NoChallenge,
        }
    }
}

/// Relays this many datagrams of [`PAYLOAD`] bytes through a new allocation to itself, one after the other. Returns the relayed address.
pub async fn relay_to_itself(relay: &UdpRelay, datagrams: u16) -> Result<SocketAddr, RelayError> {
    let allocation = Allocation::open(relay, false).await?;
    let relayed = allocation.relay(datagrams).await;
    allocation.close().await;
    relayed
}

/// An allocation, which the library refreshes until it is closed.
pub struct Allocation {
    client: Client,
    conn: Box<dyn Conn + Send + Sync>,
    socket: Arc<ClientSocket>,
}

impl Allocation {
    /// Makes an allocation. `is_longest`: with the longest LIFETIME that the server grants. If the server names another one in its place,
    /// makes it there: once, because that one may name another, too.
    pub async fn open(relay: &UdpRelay, is_longest: bool) -> Result<Self, RelayError> {
        let opened = Self::open_at(relay.clone(), is_longest).await;
        let Err(RelayError::Alternate(alternate)) = opened else { return opened };
        match Self::open_at(UdpRelay { address: alternate, ..relay.clone() }, is_longest).await {
            Err(error) if error != RelayError::Unreachable => Err(RelayError::Alternate(alternate)),
            opened => opened,
        }
    }

    async fn open_at(relay: UdpRelay, is_longest: bool) -> Result<Self, RelayError> {
        let socket = socket_to(relay.address).await?;
        let socket = Arc::new(ClientSocket::new(socket, relay.clone(), is_longest));
        let config = ClientConfig {
            stun_serv_addr: String::new(),
            turn_serv_addr: relay.address.to_string(),
            username: relay.username,
            password: relay.password,
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: socket.clone(),
            vnet: None,
        };
        let client = Client::new(config).await.map_err(|_| RelayError::Unreachable)?;
        client.listen().await.map_err(|_| RelayError::Unreachable)?;
        let allocated = match timeout(STEP, client.allocate()).await {
            Err(_) => Err(RelayError::Timeout(ALLOCATION)),
            // The library has this error only for a request that could not be sent.
            Ok(Err(turn::Error::Util(_))) => Err(RelayError::Unreachable),
            Ok(Err(_)) => Err(RelayError::of(ALLOCATION, socket.refusal())),
            Ok(Ok(conn)) => Ok(Box::new(conn)),
        };
        match allocated {
            Ok(conn) => Ok(Self { client, conn, socket }),
            Err(error) => {
                let _ = client.close().await;
                Err(error)
            }
        }
    }

    /// Asks again for the longest LIFETIME. Nothing happens with an allocation that was not opened with it.
    pub async fn refresh(&self) {
        self.socket.refresh().await;
    }

    /// The LIFETIME that the server has granted last, in seconds.
    pub fn granted(&self) -> u32 {
        self.socket.granted()
    }

    /// Relays this many datagrams to itself, one after the other. Returns the relayed address.
    pub async fn relay(&self, datagrams: u16) -> Result<SocketAddr, RelayError> {
        let itself = self.conn.local_addr().map_err(|_| RelayError::Unreachable)?;
        for _ in 0..datagrams {
            self.there_and_back(itself).await?;
        }
        Ok(itself)
    }

    /// Whether the server lets it send to this peer. An empty datagram goes there if so.
    pub(crate) async fn permits(&self, peer: SocketAddr) -> bool {
        matches!(timeout(STEP, self.conn.send_to(&[], peer)).await, Ok(Ok(_)))
    }

    /// Sends a datagram to itself, again while it does not come back.
    async fn there_and_back(&self, itself: SocketAddr) -> Result<(), RelayError> {
        let payload = vec![0; PAYLOAD.into()];
        let mut received = payload.clone();
        for pause in PAUSES {
            let sent = timeout(STEP, self.conn.send_to(&payload, itself)).await;
            let sent = sent.map_err(|_| RelayError::Timeout(PERMISSION))?;
            sent.map_err(|_| RelayError::of(PERMISSION, self.socket.refusal()))?;
            if let Ok(Ok(_)) = timeout(pause, self.conn.recv_from(&mut received)).await {
                return Ok(());
            }
        }
        Err(RelayError::NothingThrough)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_with_its_code() {
        let refused = RelayError::of(PERMISSION, Some(Refusal { code: 403, alternate: None }));
        assert_eq!(refused, RelayError::Refused { step: PERMISSION, code: 403 });
        assert_eq!(refused.to_string(), "the permission for itself as a peer was answered with 403");
        assert_eq!(RelayError::of(PERMISSION, None), RelayError::NoChallenge);
    }
}

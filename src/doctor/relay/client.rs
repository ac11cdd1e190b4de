//! The dialogue with a STUN or TURN server over UDP, TCP or TLS: one binding request, or an allocation with the credential, through
//! which a datagram goes before it is released. Each step ends within [`STEP`], even if the server never answers. Over UDP a request
//! is retransmitted until then, as in RFC 8489.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use stun_types::message::TransactionId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::{CONNECT, ProbeError};
use super::message::{self, ANSWER_MAX, Credential, LongTermCredential, RequestKind, StunResponse};
use crate::ice::url::{IceUrl, Transport};
use turn_base::random;

/// The time limit for connecting, for a handshake, and for one request.
const STEP: Duration = Duration::from_secs(3);
/// The waits for what a datagram causes: it is sent at 0, 0.5 and 1.5 s.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(1_500)];
/// The step that sends a datagram through the allocation.
const DATAGRAM: &str = "the datagram through the allocation";
/// Challenges that are answered: the first, and one more for a stale nonce.
const CHALLENGES_MAX: usize = 2;

/// The result of a successful dialogue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// Our address as the server sees it.
    pub(super) mapped: Option<SocketAddr>,
    /// The relayed address; `None` after a binding request.
    pub(super) relayed: Option<SocketAddr>,
    /// It relays without a credential.
    pub(super) is_open: bool,
    /// What came through the allocation; `None` after a binding request.
    pub(super) through: Option<Through>,
}

/// Where a datagram came from that came out of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    /// A socket of this machine, like any peer.
    Peer,
    /// The allocation itself, because the server refuses this machine's address as a peer: most refuse private ones.
    ItselfOnly,
    /// The allocation itself. From this machine nothing came: it has no way for UDP, or the relay's ports are closed.
    NotByUdp,
}

impl Through {
    /// What a datagram from the allocation itself proves after this error of a peer on this machine; `None` if the error concerns
    /// every peer.
    fn without_peer(error: &ProbeError, seen: IpAddr, transport: Transport) -> Option<Self> {
        match error {
            ProbeError::Code { code: 403, .. } if is_private(seen) => Some(Self::ItselfOnly),
            // The allocation is IPv4, this machine's address IPv6.
            ProbeError::Code { code: 443, .. } => Some(Self::ItselfOnly),
            ProbeError::NothingThrough if transport != Transport::Udp => Some(Self::NotByUdp),
            _ => None,
        }
    }
}

/// Whether only machines near this one can have the address as a peer.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local()
        }
    }
}

/// One server, at one address.
pub(super) struct Target<'a> {
    pub(super) url: &'a IceUrl,
    pub(super) address: IpAddr,
    pub(super) trust: &'a TlsConnector,
}

impl Target<'_> {
    /// Asks for an allocation with a credential, sends a datagram through it and releases it, or asks for our address without one.
    pub(super) async fn ask(&self, credential: Option<&Credential>) -> Result<Served, ProbeError> {
        let mut link = Link { wire: self.open().await?, credential, proof: None };
        if credential.is_none() {
            return link.served(RequestKind::Binding).await;
        }
        let mut served = link.served(RequestKind::Allocate).await?;
        let through = link.relays(&served, self.url.transport()).await;
        link.release().await;
        served.through = Some(through?);
        Ok(served)
    }

    async fn open(&self) -> Result<Wire, ProbeError> {
        let address = SocketAddr::from((self.address, self.url.port()));
        let broken = |error| ProbeError::of_io(CONNECT, error);
        let transport = self.url.transport();
        if transport == Transport::Udp {
            let socket = any_socket(self.address).await?;
            // A connected socket reports ICMP errors, such as a closed port.
            socket.connect(address).await.map_err(broken)?;
            return Ok(Wire::Datagrams(socket));
        }
        let socket = within(CONNECT, async { TcpStream::connect(address).await.map_err(broken) }).await?;
        if transport == Transport::Tcp {
            return Ok(Wire::Stream(Box::new(socket), Vec::new()));
        }
        let name = ServerName::try_from(self.url.host().to_owned()).map_err(|_| {
            ProbeError::Tls(format!("{} is not a valid name in a certificate", self.url.host()))
        })?;
        let handshake = self.trust.connect(name, socket);
        let failed = |error: io::Error| ProbeError::Tls(error.to_string());
        let stream = within("the TLS handshake", async { handshake.await.map_err(failed) }).await?;
        Ok(Wire::Stream(Box::new(stream), Vec::new()))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open connection to a server.
enum Wire {
    Datagrams(UdpSocket),
    /// With what was read of the next message.
    Stream(Box<dyn Stream>, Vec<u8>),
}

/// A dialogue with a server.
struct Link<'a> {
    wire: Wire,
    /// The answer to a challenge.
    credential: Option<&'a Credential>,
    /// What the server accepted; `None` while it has asked for nothing.
    proof: Option<LongTermCredential>,
}

impl Link<'_> {
    /// Sends a request until it is served: a challenge is answered with the credential.
    async fn served(&mut self, kind: RequestKind) -> Result<Served, ProbeError> {
        let mut challenges = 0;
        loop {
            match self.ask(kind).await? {
                StunResponse::Done { mapped, relayed } => {
                    let is_open = self.proof.is_none();
                    return Ok(Served { mapped, relayed, is_open, through: None });
                }
                StunResponse::Refused { code, challenge } => {
                    let is_challenge = code == 438 || code == 401 && self.proof.is_none();
                    challenges += 1;
                    match (challenge, self.credential) {
                        (Some(challenge), Some(credential))
                            if is_challenge && challenges <= CHALLENGES_MAX =>
                        {
                            self.proof = Some(LongTermCredential::new(credential, challenge));
                        }
                        _ => {
                            let with_credential = self.proof.is_some();
                            return Err(ProbeError::Code { code, step: kind.into(), with_credential });
                        }
                    }
                }
            }
        }
    }

    /// Sends a datagram through the allocation: from this machine, or else from the allocation itself.
    async fn relays(&mut self, served: &Served, transport: Transport) -> Result<Through, ProbeError> {
        let (Some(seen), Some(relayed)) = (served.mapped, served.relayed) else {
            return Err(ProbeError::NothingThrough);
        };
        let Err(error) = self.hears(seen, relayed).await else { return Ok(Through::Peer) };
        let Some(through) = Through::without_peer(&error, seen.ip(), transport) else { return Err(error) };
        self.hears(relayed, relayed).await?;
        Ok(through)
    }

    /// Whether a datagram from this peer comes out of the allocation. The peer is the allocation itself, or a socket of this machine.
    async fn hears(&mut self, peer: SocketAddr, relayed: SocketAddr) -> Result<(), ProbeError> {
        self.served(RequestKind::Permit(peer)).await?;
        let socket = any_socket(relayed.ip()).await?;
        let to_itself = message::send_indication(relayed, transaction()).map_err(|_| ProbeError::TooLong)?;
        for pause in PAUSES {
            if peer == relayed {
                self.wire.send(&to_itself, DATAGRAM).await?;
            } else {
                // Without a route to the relayed address, nothing comes through.
                let _ = socket.send_to(message::PAYLOAD, relayed).await;
            }
            if let Ok(heard) = timeout(pause, self.wire.next(DATAGRAM, message::is_payload)).await {
                return heard.map(drop);
            }
        }
        Err(ProbeError::NothingThrough)
    }

    /// A failed release is not a failure of the probe: the allocation expires by itself.
    async fn release(&mut self) {
        let _ = self.ask(RequestKind::Release).await;
    }

    async fn ask(&mut self, kind: RequestKind) -> Result<StunResponse, ProbeError> {
        let (id, step, proof) = (transaction(), kind.into(), self.proof.as_ref());
        let request = message::request(kind, id, proof).map_err(|_| ProbeError::TooLong)?;
        let pauses = if matches!(self.wire, Wire::Datagrams(_)) { &PAUSES[..] } else { &[STEP] };
        for pause in pauses {
            self.wire.send(&request, step).await?;
            let answer = self.wire.next(step, |bytes| message::answers(bytes, id));
            if let Ok(answer) = timeout(*pause, answer).await {
                return message::read(&answer?, kind, proof);
            }
        }
        Err(ProbeError::Timeout(step))
    }
}

impl Wire {
    async fn send(&mut self, bytes: &[u8], step: &'static str) -> Result<(), ProbeError> {
        let broken = |error| ProbeError::of_io(step, error);
        match self {
            Self::Datagrams(socket) => socket.send(bytes).await.map(drop).map_err(broken),
            Self::Stream(stream, _) => {
                let sent = async {
                    stream.write_all(bytes).await.map_err(broken)?;
                    stream.flush().await.map_err(broken)
                };
                within(step, sent).await
            }
        }
    }

    /// The next message that is wanted. Others may come first, and datagrams from anyone. A wait that is dropped loses nothing.
    async fn next(
        &mut self,
        step: &'static str,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, ProbeError> {
        let broken = |error| ProbeError::of_io(step, error);
        loop {
            let message = match self {
                Self::Datagrams(socket) => {
                    let mut datagram = vec![0; ANSWER_MAX];
                    let length = socket.recv(&mut datagram).await.map_err(broken)?;
                    datagram.truncate(length);
                    datagram
                }
                Self::Stream(stream, read) => {
                    if let Some(message) = message::take(read)? {
                        message
                    } else {
                        if stream.read_buf(read).await.map_err(broken)? == 0 {
                            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
                        }
                        continue;
                    }
                }
            };
            if is_wanted(&message) {
                return Ok(message);
            }
        }
    }
}

/// Zero if no random bytes are available. The requests on one socket are sent one after the other, so a repeated id does no harm.
fn transaction() -> TransactionId {
    random::bytes().map(u128::from_be_bytes).unwrap_or_default().into()
}

/// A socket for addresses of this family.
async fn any_socket(address: IpAddr) -> Result<UdpSocket, ProbeError> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).await.map_err(|error| ProbeError::of_io(CONNECT, error))
}

/// The result of a step, or its timeout.
async fn within<T>(
    step: &'static str,
    run: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    timeout(STEP, run).await.unwrap_or(Err(ProbeError::Timeout(step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocation_itself_is_tried_only_where_a_peer_on_this_machine_proves_nothing() {
        let forbidden = || ProbeError::Code { code: 403, step: DATAGRAM, with_credential: true };
        for (error, seen, transport, expected) in [
            (forbidden(), "192.168.1.7", Transport::Udp, Some(Through::ItselfOnly)),
            (forbidden(), "8.8.8.8", Transport::Udp, None),
            (ProbeError::NothingThrough, "8.8.8.8", Transport::Udp, None),
            (ProbeError::NothingThrough, "8.8.8.8", Transport::Tls, Some(Through::NotByUdp)),
            (ProbeError::Timeout(DATAGRAM), "192.168.1.7", Transport::Tcp, None),
        ] {
            let through = Through::without_peer(&error, seen.parse().unwrap(), transport);
            assert_eq!(through, expected, "{error} at {seen} over {transport}");
        }
    }
}

//! The dialogue with a STUN or TURN server over UDP, TCP or TLS: one binding request, or an allocation with the credential that
//! is released at once. Each step ends within [`STEP`], even if the server never answers. Over UDP a request
//! is retransmitted until then, as in RFC 8489.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::{CONNECT, ProbeError};
use super::message::{self, Credential, HEADER, LongTermCredential, Request, RequestKind, StunResponse};
use crate::ice::url::{IceUrl, Transport};
use turn_base::random;

/// The time limit for connecting, for a handshake, and for one request.
const STEP: Duration = Duration::from_secs(3);
/// The waits for a response: the request is sent at 0, 0.5 and 1.5 s.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(1_500)];
/// The longest response. Real ones have under 200 bytes.
const ANSWER_MAX: usize = 2_048;

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
}

/// One server, at one address.
pub(super) struct Target<'a> {
    pub(super) url: &'a IceUrl,
    pub(super) address: IpAddr,
    pub(super) trust: &'a TlsConnector,
}

impl Target<'_> {
    /// Asks for an allocation with a credential and releases it, or asks for our address without one.
    pub(super) async fn ask(&self, credential: Option<&Credential>) -> Result<Served, ProbeError> {
        let (mut link, mut proof) = (self.open().await?, None);
        let Some(credential) = credential else {
            return link.served(RequestKind::Binding, None, &mut proof).await;
        };
        let served = link.served(RequestKind::Allocate, Some(credential), &mut proof).await?;
        link.release(proof.as_ref()).await;
        Ok(served)
    }

    async fn open(&self) -> Result<Link, ProbeError> {
        let address = SocketAddr::from((self.address, self.url.port()));
        let broken = |error| ProbeError::of_io(CONNECT, error);
        let transport = self.url.transport();
        if transport == Transport::Udp {
            let any = if self.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await.map_err(broken)?;
            // A connected socket reports ICMP errors, such as a closed port.
            socket.connect(address).await.map_err(broken)?;
            return Ok(Link::Datagrams(socket));
        }
        let socket = within(CONNECT, async { TcpStream::connect(address).await.map_err(broken) }).await?;
        if transport == Transport::Tcp {
            return Ok(Link::Stream(Box::new(socket)));
        }
        let name = ServerName::try_from(self.url.host().to_owned()).map_err(|_| {
            ProbeError::Tls(format!("{} is not a valid name in a certificate", self.url.host()))
        })?;
        let handshake = self.trust.connect(name, socket);
        let failed = |error: std::io::Error| ProbeError::Tls(error.to_string());
        let stream = within("the TLS handshake", async { handshake.await.map_err(failed) }).await?;
        Ok(Link::Stream(Box::new(stream)))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open connection to a server.
enum Link {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>),
}

impl Link {
    /// Sends a request until it is served: a challenge is answered with the credential. `proof`: the one that the server
    /// accepted; `None` if it asked for none.
    async fn served(
        &mut self,
        kind: RequestKind,
        credential: Option<&Credential>,
        proof: &mut Option<LongTermCredential>,
    ) -> Result<Served, ProbeError> {
        let mut challenges = 0;
        loop {
            match self.ask(kind, proof.as_ref()).await? {
                StunResponse::Done { mapped, relayed } => {
                    return Ok(Served { mapped, relayed, is_open: proof.is_none() });
                }
                StunResponse::Refused { code, challenge } => {
                    let is_challenge = code == 438 || code == 401 && proof.is_none();
                    challenges += 1;
                    match (challenge, credential) {
                        (Some(challenge), Some(credential))
                            if is_challenge && challenges <= CHALLENGES_MAX =>
                        {
                            *proof = Some(LongTermCredential::new(credential, challenge));
                        }
                        _ => {
                            let with_credential = proof.is_some();
                            return Err(ProbeError::Code { code, step: kind.into(), with_credential });
                        }
                    }
                }
            }
        }
    }

    /// A failed release is not a failure of the probe: the allocation expires by itself.
    async fn release(&mut self, proof: Option<&LongTermCredential>) {
        let _ = self.ask(RequestKind::Release, proof).await;
    }

    async fn ask(
        &mut self,
        kind: RequestKind,
        proof: Option<&LongTermCredential>,
    ) -> Result<StunResponse, ProbeError> {
        // Zero if no random bytes are available. The requests on one socket are sent one after the other, so a repeated id
        // does no harm.
        let id = random::bytes().map(u128::from_be_bytes).unwrap_or_default().into();
        let request = message::request(kind, id, proof).map_err(|_| ProbeError::TooLong)?;
        let step = kind.into();
        let answer = match self {
            Self::Datagrams(socket) => ask_with_retransmission(socket, &request, step).await?,
            Self::Stream(stream) => within(step, ask_once(stream, &request, step)).await?,
        };
        message::read(&answer, kind, proof)
    }
}

/// The result of a step, or its timeout.
async fn within<T>(
    step: &'static str,
    run: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    timeout(STEP, run).await.unwrap_or(Err(ProbeError::Timeout(step)))
}

async fn ask_with_retransmission(
    socket: &UdpSocket,
    request: &Request,
    step: &'static str,
) -> Result<Vec<u8>, ProbeError> {
    for pause in PAUSES {
        socket.send(&request.bytes).await.map_err(|error| ProbeError::of_io(step, error))?;
        if let Ok(answer) = timeout(pause, receive(socket, request, step)).await {
            return answer;
        }
    }
    Err(ProbeError::Timeout(step))
}

/// The next datagram that is a response; others may send to this port too.
async fn receive(socket: &UdpSocket, request: &Request, step: &'static str) -> Result<Vec<u8>, ProbeError> {
    let mut datagram = [0; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut datagram).await.map_err(|error| ProbeError::of_io(step, error))?;
        let bytes = datagram.get(..length).unwrap_or_default();
        if message::answers(bytes, request.id) {
            return Ok(bytes.to_vec());
        }
    }
}

async fn ask_once(
    stream: &mut Box<dyn Stream>,
    request: &Request,
    step: &'static str,
) -> Result<Vec<u8>, ProbeError> {
    let broken = |error| ProbeError::of_io(step, error);
    stream.write_all(&request.bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header).await.map_err(broken)?;
        let length = message::body_length(&header).filter(|length| length + HEADER <= ANSWER_MAX);
        let mut bytes = header.to_vec();
        bytes.resize(HEADER + length.ok_or(ProbeError::NotStun)?, 0);
        let (_, body) = bytes.split_at_mut(HEADER);
        stream.read_exact(body).await.map_err(broken)?;
        if message::answers(&bytes, request.id) {
            return Ok(bytes);
        }
    }
}

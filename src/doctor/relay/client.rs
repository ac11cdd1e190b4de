//! The dialogue with a STUN or TURN server over UDP, TCP or TLS: one binding request, or an allocation with the credential that
//! is released at once or kept for a time. Each step ends within [`STEP`], even if the server never answers. Over UDP a request
//! is retransmitted until then, as in RFC 8489.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use stun_types::message::TransactionId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::super::connect::Trust;
use super::error::{ProbeError, Step};
use super::message::{self, Answer, Credential, HEADER, Proof, Request, RequestKind, Unusable};
use crate::clock::Clock;
use crate::ice::url::{IceUrl, Transport};
use crate::random;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// Our address as the server sees it.
    pub(super) mapped: Option<SocketAddr>,
    /// The relayed address; `None` after a binding request.
    pub(super) relayed: Option<SocketAddr>,
    /// It relays without a credential.
    pub(super) is_open: bool,
    /// It accepts SHA-256 only, which browsers do not support.
    pub(super) is_sha256_only: bool,
    /// The allocation was not released; it expires by itself.
    pub(super) is_left: bool,
}

/// How long an allocation is kept.
pub(super) struct Hold<'a> {
    pub(super) until: Instant,
    /// The time between two refreshes.
    pub(super) pause: Duration,
    pub(super) clock: &'a dyn Clock,
}

/// An allocation that was kept.
pub(super) struct Held {
    /// When it was allocated or refreshed last.
    pub(super) last: Instant,
    pub(super) end: End,
}

/// Why an allocation is no longer kept.
pub(super) enum End {
    /// The time is over.
    Open,
    /// The server refused to refresh it.
    Refused { code: u16, at: Instant },
    /// The server could not be asked.
    Lost(ProbeError),
}

/// One server, at one address.
pub(super) struct Target<'a> {
    pub(super) url: &'a IceUrl,
    pub(super) address: IpAddr,
    pub(super) trust: &'a Trust,
}

impl Target<'_> {
    /// Asks for an allocation with a credential and releases it, or asks for our address without one.
    pub(super) async fn ask(&self, credential: Option<&Credential>) -> Result<Served, ProbeError> {
        let mut link = self.open().await?;
        if let Some(credential) = credential {
            let (served, proof) = open_allocation(&mut link, credential).await?;
            return Ok(release(&mut link, proof.as_ref(), served).await);
        }
        match ask(&mut link, RequestKind::Binding, None).await? {
            Answer::Done { mapped, .. } => Ok(Served { mapped, ..Served::default() }),
            Answer::Refused { code, .. } => {
                Err(ProbeError::Code { code, step: Step::Binding, with_credential: false })
            }
        }
    }

    /// Asks for an allocation, and refreshes it until the server refuses, or until the hold ends.
    pub(super) async fn hold(&self, credential: &Credential, hold: Hold<'_>) -> Result<Held, ProbeError> {
        let Hold { until, pause, clock } = hold;
        let mut link = self.open().await?;
        let (served, mut proof) = open_allocation(&mut link, credential).await?;
        let mut last = clock.instant();
        while clock.instant() < until {
            tokio::time::sleep(pause).await;
            match refresh(&mut link, credential, &mut proof).await {
                Ok(None) => last = clock.instant(),
                Ok(Some(code)) => return Ok(Held { last, end: End::Refused { code, at: clock.instant() } }),
                Err(error) => return Ok(Held { last, end: End::Lost(error) }),
            }
        }
        release(&mut link, proof.as_ref(), served).await;
        Ok(Held { last, end: End::Open })
    }

    async fn open(&self) -> Result<Link, ProbeError> {
        let address = SocketAddr::from((self.address, self.url.port()));
        let broken = |error| ProbeError::of_io(Step::Connect, error);
        let transport = self.url.transport();
        match transport {
            Transport::Udp => {
                let any: IpAddr = match self.address {
                    IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0)).await.map_err(broken)?;
                // A connected socket reports ICMP errors, such as a closed port.
                socket.connect(address).await.map_err(broken)?;
                return Ok(Link::Datagrams(socket));
            }
            Transport::Dtls => return Err(ProbeError::Dtls),
            Transport::Tcp | Transport::Tls => {}
        }
        let socket =
            within(Step::Connect, async { TcpStream::connect(address).await.map_err(broken) }).await?;
        if transport == Transport::Tcp {
            return Ok(Link::Stream(Box::new(socket)));
        }
        let handshake = self.trust.handshake(self.url.host(), socket);
        let stream = within(Step::Handshake, async { handshake.await.map_err(ProbeError::Tls) }).await?;
        Ok(Link::Stream(Box::new(stream)))
    }
}

/// Asks for an allocation. Returns the proof that the server accepted; `None` if it asked for none.
async fn open_allocation(
    link: &mut Link,
    credential: &Credential,
) -> Result<(Served, Option<Proof>), ProbeError> {
    let mut proof = None;
    for _ in 0..=CHALLENGES_MAX {
        match ask(link, RequestKind::Allocate, proof.as_ref()).await? {
            Answer::Done { mapped, relayed } => {
                let served = Served {
                    mapped,
                    relayed,
                    is_open: proof.is_none(),
                    is_sha256_only: proof.as_ref().is_some_and(Proof::needs_sha256),
                    is_left: false,
                };
                return Ok((served, proof));
            }
            Answer::Refused { code, challenge } => {
                let is_first = code == 401 && proof.is_none();
                match challenge.filter(|_| is_first || code == 438) {
                    Some(challenge) => proof = Some(Proof::new(credential, challenge)),
                    None => return Err(refused(code, proof.is_some())),
                }
            }
        }
    }
    Err(refused(438, true))
}

/// Refreshes an allocation; a stale nonce is replaced once. Returns the code of a refusal.
async fn refresh(
    link: &mut Link,
    credential: &Credential,
    proof: &mut Option<Proof>,
) -> Result<Option<u16>, ProbeError> {
    for is_first in [true, false] {
        match ask(link, RequestKind::Refresh, proof.as_ref()).await? {
            Answer::Done { .. } => return Ok(None),
            Answer::Refused { code: 438, challenge: Some(challenge) } if is_first => {
                *proof = Some(Proof::new(credential, challenge));
            }
            Answer::Refused { code, .. } => return Ok(Some(code)),
        }
    }
    Ok(Some(438))
}

fn refused(code: u16, with_credential: bool) -> ProbeError {
    ProbeError::Code { code, step: Step::Allocate, with_credential }
}

/// A failed release is not a failure of the probe: the allocation expires by itself.
async fn release(link: &mut Link, proof: Option<&Proof>, served: Served) -> Served {
    let answer = ask(link, RequestKind::Release, proof).await;
    Served { is_left: !matches!(answer, Ok(Answer::Done { .. })), ..served }
}

async fn ask(link: &mut Link, kind: RequestKind, proof: Option<&Proof>) -> Result<Answer, ProbeError> {
    let step = match kind {
        RequestKind::Binding => Step::Binding,
        RequestKind::Allocate => Step::Allocate,
        RequestKind::Refresh => Step::Refresh,
        RequestKind::Release => Step::Release,
    };
    let request = message::request(kind, fresh_id(), proof).map_err(|_| ProbeError::TooLong)?;
    let answer = link.ask(&request, step).await?;
    message::read(&answer, kind, proof).map_err(|unusable| match unusable {
        Unusable::NotStun => ProbeError::NotStun,
        Unusable::Unsigned => ProbeError::Unsigned,
    })
}

/// Zero if no random bytes are available. The requests on one socket are sent one after the other, so a repeated id does no harm.
fn fresh_id() -> TransactionId {
    random::bytes().map(u128::from_be_bytes).unwrap_or_default().into()
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open connection to a server.
enum Link {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>),
}

impl Link {
    /// Sends a request, and returns the bytes of the response.
    async fn ask(&mut self, request: &Request, step: Step) -> Result<Vec<u8>, ProbeError> {
        match self {
            Self::Datagrams(socket) => ask_with_retransmission(socket, request, step).await,
            Self::Stream(stream) => within(step, ask_once(stream, request, step)).await,
        }
    }
}

/// The result of a step, or its timeout.
async fn within<T>(step: Step, run: impl Future<Output = Result<T, ProbeError>>) -> Result<T, ProbeError> {
    timeout(STEP, run).await.unwrap_or(Err(ProbeError::Timeout(step)))
}

async fn ask_with_retransmission(
    socket: &UdpSocket,
    request: &Request,
    step: Step,
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
async fn receive(socket: &UdpSocket, request: &Request, step: Step) -> Result<Vec<u8>, ProbeError> {
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
    step: Step,
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

//! One request and its response, over UDP, TCP or TLS. Each step ends within [`STEP`], even if the server never answers.
//! Over UDP the request is retransmitted until then, as in RFC 8489.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::super::tls::Trust;
use super::error::{ProbeError, Step};
use super::message::{self, HEADER, Request};
use crate::ice::url::{IceUrl, Transport};

/// The time limit for connecting, for a handshake, and for one request.
pub(super) const STEP: Duration = Duration::from_secs(3);
/// The waits for a response: the request is sent at 0, 0.5 and 1.5 s.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(1_500)];
/// The longest response. Real ones have under 200 bytes.
const ANSWER_MAX: usize = 2_048;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open connection to a server.
pub(super) enum Link {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>),
}

impl Link {
    /// Connects. `trust` holds the trusted authorities.
    pub(super) async fn open(url: &IceUrl, address: SocketAddr, trust: &Trust) -> Result<Self, ProbeError> {
        match url.transport() {
            Transport::Udp => datagrams(address).await,
            Transport::Tcp => Ok(Self::Stream(Box::new(connect(address).await?))),
            Transport::Tls => {
                let socket = connect(address).await?;
                let shaken = timeout(STEP, trust.handshake(url.host(), socket)).await;
                let stream = shaken.map_err(|_| ProbeError::Timeout(Step::Handshake))?;
                Ok(Self::Stream(Box::new(stream.map_err(|error| ProbeError::Tls(error.to_string()))?)))
            }
            Transport::Dtls => Err(ProbeError::Dtls),
        }
    }

    /// Sends a request, and returns the bytes of the response.
    pub(super) async fn ask(&mut self, request: &Request, step: Step) -> Result<Vec<u8>, ProbeError> {
        match self {
            Self::Datagrams(socket) => ask_with_retransmission(socket, request, step).await,
            Self::Stream(stream) => {
                let asked = timeout(STEP, ask_once(stream, request, step)).await;
                asked.unwrap_or(Err(ProbeError::Timeout(step)))
            }
        }
    }
}

async fn datagrams(address: SocketAddr) -> Result<Link, ProbeError> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let broken = |error| ProbeError::of_io(Step::Connect, error);
    let socket = UdpSocket::bind(any).await.map_err(broken)?;
    // A connected socket reports ICMP errors, such as a closed port.
    socket.connect(address).await.map_err(broken)?;
    Ok(Link::Datagrams(socket))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    let connected = timeout(STEP, TcpStream::connect(address)).await;
    let connected = connected.map_err(|_| ProbeError::Timeout(Step::Connect))?;
    connected.map_err(|error| ProbeError::of_io(Step::Connect, error))
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

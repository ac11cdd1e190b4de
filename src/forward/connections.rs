//! The connections to the leader. On each new connection, first the leader proves that it leads, then this process proves that it is a
//! replica. A request goes out only after that. An idle connection is used again.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::HOST;
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tower::Service;
use turn_base::clock;

use super::mac::{CHALLENGE, FORWARDED, ForwardKey, Hop, Nonce};

/// The longest time until a new connection has proven that a leader is there.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The most connections that are being opened at the same time. Until the leader knows that a replica opens them, it counts them as those
/// of one client.
pub const CONNECTING_MAX: usize = 128;
/// The most idle connections to the leader.
const IDLE_MAX: usize = 64;
/// How long an idle connection may be used again. The leader closes an idle connection later than that, even one without a request.
const IDLE_TIME_MAX: Duration = Duration::from_secs(8);
/// A leader whose machine acknowledges nothing for this long is gone. The machine of a process that only hangs still acknowledges.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
/// How often a machine of which nothing is heard is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The system's buffer for what the leader sends to a WebSocket, in bytes. Linux doubles it. What does not fit there waits at the leader,
/// which bounds what it keeps for a client that does not read. Other connections have the usual buffer, because a small one delays long
/// responses.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// A connection on which the leader has proven that it is one.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) nonce: Nonce,
    leader: Arc<Leader>,
    idle_since: Instant,
}

/// The idle connections, and the places of connections that are being opened.
#[derive(Debug)]
pub(super) struct Connections {
    idle: Arc<Mutex<Vec<Connection>>>,
    connecting: Semaphore,
}

impl Default for Connections {
    fn default() -> Self {
        Self { idle: Arc::default(), connecting: Semaphore::new(CONNECTING_MAX) }
    }
}

impl Connections {
    /// A connection to this leader; `None` if no leader is there. `is_socket`: whether it is for a WebSocket, which needs a new connection.
    pub(super) async fn get(&self, leader: &Arc<Leader>, is_socket: bool) -> Option<Connection> {
        if !is_socket && let Some(idle) = self.idle(leader) {
            return Some(idle);
        }
        let _place = self.connecting.acquire().await.ok()?;
        timeout(CONNECT_MAX, open(leader, is_socket.then_some(RECEIVE_BUFFER))).await.ok()?
    }

    /// An idle connection to this leader. Drops those that are too old, to another leader, or closed.
    fn idle(&self, leader: &Leader) -> Option<Connection> {
        let (mut idle, now) = (self.idle.lock(), clock::timer_now());
        idle.retain(|connection| {
            let is_young = now.duration_since(connection.idle_since) < IDLE_TIME_MAX;
            is_young && *connection.leader == *leader && connection.sender.is_ready()
        });
        idle.pop()
    }

    /// Keeps a connection for another request, once the response to the present one has been read.
    pub(super) fn keep(&self, mut connection: Connection) {
        let idle = Arc::clone(&self.idle);
        tokio::spawn(async move {
            if connection.sender.ready().await.is_ok() {
                connection.idle_since = clock::timer_now();
                let mut idle = idle.lock();
                if idle.len() < IDLE_MAX {
                    idle.push(connection);
                }
            }
        });
    }
}

/// Opens a connection, and asks for the proof. `None`: no leader answers there.
async fn open(leader: &Arc<Leader>, receive_buffer: Option<usize>) -> Option<Connection> {
    let socket = connector(receive_buffer).call(Uri::try_from(&leader.url).ok()?).await.ok()?;
    let (mut sender, driver) = handshake(socket).await.ok()?;
    tokio::spawn(driver.with_upgrades());
    let challenge = Nonce::random().ok()?;
    let answer = ask(leader, &mut sender, CHALLENGE, |_| challenge.to_string().try_into().ok()).await?;
    let nonce = leader.key.proven(challenge, &leader.url, &answer)?;
    // From this request on, the leader does not count the connection as one of a client.
    ask(leader, &mut sender, FORWARDED, |own| leader.key.sign(nonce, Hop::NO_CLIENT, own)).await?;
    let idle_since = clock::timer_now();
    Some(Connection { sender, nonce, leader: Arc::clone(leader), idle_since })
}

/// Sends a request of the replica itself, whose response has no body. `value`: makes the value of the header `name` from the request.
/// Returns the headers of the response.
async fn ask(
    leader: &Leader,
    sender: &mut SendRequest<Full<Bytes>>,
    name: HeaderName,
    value: impl FnOnce(&Request<Full<Bytes>>) -> Option<HeaderValue>,
) -> Option<HeaderMap> {
    let request = Request::head("/leader").header(HOST, leader.address.as_str());
    let mut request = request.body(Full::default()).ok()?;
    let line = value(&request)?;
    request.headers_mut().insert(name, line);
    sender.ready().await.ok()?;
    Some(sender.send_request(request).await.ok()?.into_parts().0.headers)
}

fn connector(receive_buffer: Option<usize>) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_MAX));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(PROBE_INTERVAL));
    connector.set_keepalive_interval(Some(PROBE_INTERVAL));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    connector.set_recv_buffer_size(receive_buffer);
    connector
}

// Where requests go: to this replica, to another one that leads, or to nobody yet.

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// This replica does not lead. `None`: there is no leader, or it is not known.
    Leader(Option<Arc<Leader>>),
    /// This replica leads.
    Here(Router),
}

/// Another replica that leads.
#[derive(Debug)]
pub struct Leader {
    /// The number of its lead.
    pub(super) epoch: i64,
    /// Where the others reach it, as it says itself.
    pub(super) url: String,
    /// The host and port of the URL.
    pub(super) address: Authority,
    pub(super) key: ForwardKey,
}

impl Leader {
    /// `None` unless the URL is `http://host:port`.
    pub fn at(url: &str, epoch: i64, key: ForwardKey) -> Option<Self> {
        let parsed: Uri = url.parse().ok()?;
        let is_plain = parsed.scheme() == Some(&Scheme::HTTP);
        let address = if is_plain { parsed.into_parts().authority } else { None }?;
        Some(Self { epoch, url: url.to_owned(), address, key })
    }
}

/// Two values are equal if they have the same epoch and the same URL.
impl PartialEq for Leader {
    fn eq(&self, other: &Self) -> bool {
        (self.epoch, &self.url) == (other.epoch, &other.url)
    }
}

impl Target {
    /// Whether requests go to this leader. `None`: whether they go to nobody.
    pub(super) fn is_leader(&self, leader: Option<&Leader>) -> bool {
        matches!(self, Self::Leader(known) if known.as_deref() == leader)
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{
        set_socket_send_buffer_size, socket_keepalive, tcp_keepidle, tcp_keepintvl, tcp_user_timeout,
    };
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;
    use tower::Service;

    use super::*;

    #[tokio::test]
    async fn a_machine_that_is_gone_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let connection = connector(None).call(url).await.unwrap();
        let socket = connection.inner();
        assert!(socket_keepalive(socket).unwrap());
        assert_eq!(tcp_keepidle(socket).unwrap(), PROBE_INTERVAL);
        assert_eq!(tcp_keepintvl(socket).unwrap(), PROBE_INTERVAL);
        assert_eq!(tcp_user_timeout(socket).unwrap(), 5_000);
    }

    #[tokio::test]
    async fn what_a_leader_sends_to_a_socket_whose_client_does_not_read_waits_at_the_leader() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let _unread = connector(Some(RECEIVE_BUFFER)).call(url).await.unwrap();
        let (mut leader, _) = listener.accept().await.unwrap();
        set_socket_send_buffer_size(&leader, 1).unwrap();
        let mut sent = 0;
        while let Ok(written) = timeout(Duration::from_millis(100), leader.write(&[0; 1024])).await {
            sent += written.unwrap();
        }
        assert!(sent < 4 * RECEIVE_BUFFER, "{sent}");
    }
}

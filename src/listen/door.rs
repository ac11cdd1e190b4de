//! The listener and its connections. They outlive the role of a replica: each request goes to the routes of the moment.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Method, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::crowd::{Crowd, Place};
use super::not_http::NotHttp;
use super::peers::{Peers, Slot};
use super::progress::Progress;
use super::socket::{Occupies, TimedSocket};
use crate::app::process::Process;
use crate::forward::CountedSocket;
use crate::http::head::{ADDED_BYTES_MAX, ADDED_HEADERS_MAX, HEAD_MAX, HEADERS_MAX};
use crate::telemetry::metrics::Metrics;
use turn_base::body::REQUEST_TIMEOUT;
use turn_base::clock::Clock;
use turn_base::throttle::Throttle;

/// Maximum number of open sockets. Further connections wait in the system's queue.
pub const SOCKETS_MAX: usize = 8_192;
/// Pause after a failed accept (for example, out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An open listener with its connections.
pub(super) struct Door {
    accepting: JoinHandle<()>,
    connections: TaskTracker,
    crowd: Arc<Crowd>,
    requests: TaskTracker,
    handed_over: CancellationToken,
    cut: CancellationToken,
}

impl Door {
    /// Accepts connections until `drain`. `is_replica`: other replicas forward requests to this one.
    pub(super) fn open(
        listener: TcpListener,
        routes: watch::Receiver<Router>,
        process: &Process,
        is_replica: bool,
        drain: CancellationToken,
    ) -> Self {
        let (crowd, cut) = (Crowd::new(SOCKETS_MAX), CancellationToken::new());
        let (connections, requests) = (TaskTracker::new(), TaskTracker::new());
        let handed_over = CancellationToken::new();
        let inside = Inside {
            routes,
            is_replica,
            keep_alive: process.keep_alive,
            not_http: Arc::new(NotHttp::new(Arc::clone(&process.clock), Arc::clone(&process.metrics))),
            requests: requests.clone(),
            drain,
            handed_over: handed_over.clone(),
            cut: cut.clone(),
        };
        let (clock, metrics) = (Arc::clone(&process.clock), Arc::clone(&process.metrics));
        let peers = Peers::new(process.trusted_proxies.clone(), Arc::clone(&clock), Arc::clone(&metrics));
        let acceptor = Acceptor { listener, crowd: Arc::clone(&crowd), clock, failures: Throttle::new() };
        let accepting = tokio::spawn(accept_all(acceptor, peers, metrics, inside, connections.clone()));
        Self { accepting, connections, crowd, requests, handed_over, cut }
    }

    /// The requests in progress. Waiting for them ends when there is none.
    pub(super) fn requests(&self) -> TaskTracker {
        self.requests.close();
        self.requests.clone()
    }

    /// Closes the connections of other replicas once their requests are answered, as `drain` does with all others.
    pub(super) fn hand_over(&self) {
        self.handed_over.cancel();
    }

    /// Returns once no connection is open and none can come.
    pub(super) async fn emptied(&mut self) {
        if !self.accepting.is_finished() {
            // The panic hook has logged a panic.
            let _ = (&mut self.accepting).await;
        }
        self.connections.close();
        self.connections.wait().await;
    }

    /// The open sockets.
    pub(super) fn sockets(&self) -> usize {
        self.crowd.open()
    }

    /// Closes all connections.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

/// A door that is dropped is closed.
impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept_all(
    acceptor: Acceptor,
    peers: Arc<Peers>,
    metrics: Arc<Metrics>,
    inside: Inside,
    connections: TaskTracker,
) {
    while let Some((socket, peer, place)) = acceptor.next(&inside.drain).await {
        let progress = Progress::new(metrics.discarded_bytes.clone());
        // Without a slot, the socket is closed at once.
        if let Some(slot) = peers.admit(peer.ip(), &progress).map(Arc::new) {
            let crowd = Arc::clone(place.crowd());
            let socket = TimedSocket::new(socket, progress.clone(), (place, Arc::clone(&slot)));
            let connection = Connection { socket, peer, slot, progress, crowd };
            connections.spawn(connection.serve(inside.clone()));
        }
    }
}

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    crowd: Arc<Crowd>,
    clock: Arc<dyn Clock>,
    failures: Throttle,
}

impl Acceptor {
    /// The next connection, or `None` at shutdown.
    async fn next(&self, end: &CancellationToken) -> Option<(TcpStream, SocketAddr, Place)> {
        tokio::select! {
            biased;
            () = end.cancelled() => None,
            accepted = self.accept() => accepted,
        }
    }

    async fn accept(&self) -> Option<(TcpStream, SocketAddr, Place)> {
        let permit = self.crowd.reserve().await?;
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => return Some((socket, peer, self.crowd.take(permit))),
                Err(error) => {
                    if let Some(held_back) = self.failures.pass(self.clock.instant()) {
                        tracing::warn!(%error, held_back, "a connection could not be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// An accepted connection. Its socket holds its place and its slot, also after an upgrade.
struct Connection {
    socket: TimedSocket<(Place, Arc<Slot>)>,
    peer: SocketAddr,
    slot: Arc<Slot>,
    progress: Progress,
    crowd: Arc<Crowd>,
}

/// What all connections share.
#[derive(Clone)]
struct Inside {
    /// The routes of this replica's role at the moment.
    routes: watch::Receiver<Router>,
    is_replica: bool,
    /// How long a connection may be idle after a response.
    keep_alive: Duration,
    not_http: Arc<NotHttp>,
    requests: TaskTracker,
    /// Requests in progress may finish.
    drain: CancellationToken,
    /// Other replicas know that they may finish. A request that comes while its connection is closed would be lost.
    handed_over: CancellationToken,
    /// Everything ends now.
    cut: CancellationToken,
}

impl Connection {
    /// Serves requests until either side closes, or until the request in progress at the drain is answered.
    async fn serve(self, inside: Inside) {
        let Self { socket, peer, slot, progress, crowd } = self;
        let Inside { routes, is_replica, keep_alive, not_http, requests, drain, handed_over, cut } = inside;
        let of = Served { progress: progress.clone(), slot: Arc::clone(&slot), keep_alive };
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let router = routes.borrow().clone();
            requests.track_future(serve_one(router, of.clone(), peer, request))
        });
        let ends = async {
            drain.cancelled().await;
            if slot.is_of_replica() {
                handed_over.cancelled().await;
            }
        };
        let connection = http(is_replica).serve_connection(TokioIo::new(socket), service).with_upgrades();
        let mut connection = pin!(connection);
        let served = async {
            tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = ends => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        let ended = tokio::select! {
            biased;
            () = progress.close_requested() => return,
            () = cut.cancelled() => return,
            never = crowd.wake() => match never {},
            ended = served => ended,
        };
        if let Err(error) = ended {
            let is_http = !error.is_parse() || error.is_parse_too_large();
            if let Some(first) = progress.first_bytes().filter(|_| !is_http) {
                not_http.report(peer, &first);
            }
            tracing::debug!(%error, "a connection failed");
        }
    }
}

/// A head that never ends occupies no more than the longest one.
fn http(is_replica: bool) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_header_size(HEAD_MAX).max_buf_size(HEAD_MAX);
    if is_replica {
        let bytes_max = HEAD_MAX + ADDED_BYTES_MAX;
        http.max_headers(HEADERS_MAX + ADDED_HEADERS_MAX).max_header_size(bytes_max).max_buf_size(bytes_max);
    }
    http
}

impl Occupies for (Place, Arc<Slot>) {
    fn is_counted(&self) -> bool {
        self.1.is_counted()
    }

    /// A replica keeps its connections for a time that it knows, and closes them itself.
    fn is_crowded(&self) -> bool {
        self.0.crowd().is_crowded() && !self.1.is_of_replica()
    }

    fn stalled(&self) {
        self.1.stalled();
    }
}

/// The connection of a request.
#[derive(Clone)]
struct Served {
    progress: Progress,
    slot: Arc<Slot>,
    keep_alive: Duration,
}

async fn serve_one(
    router: Router,
    Served { progress, slot, keep_alive }: Served,
    peer: SocketAddr,
    mut request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let (has_body, is_head) = (!request.body().is_end_stream(), request.method() == Method::HEAD);
    request.extensions_mut().insert(ConnectInfo(peer));
    let socket: Arc<dyn CountedSocket> = slot.clone();
    request.extensions_mut().insert(socket);
    request.extensions_mut().insert(progress.begin_service(has_body));
    let Ok(mut response) = router.oneshot(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        progress.begin_upgraded(response.extensions_mut().remove());
    } else {
        // A body without a length is made while it is sent, so only a small part of it waits. The response to a HEAD is sent without one.
        let bytes = response.body().size_hint().exact().filter(|_| !is_head).unwrap_or(0);
        // A replica closes its connections itself, within the time that one without a request has.
        let keep_alive = if slot.is_of_replica() { keep_alive.max(REQUEST_TIMEOUT) } else { keep_alive };
        progress.end_service(keep_alive, usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    Ok(response)
}

//! The listener and its connections. They stay when the role of a replica changes: each request goes to the routes of the current role.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderValue, Method, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::not_http::NotHttp;
use super::peers::{Peers, Slot};
use super::prelude::*;
use super::socket::TimedSocket;
use crate::app::process::Process;
use crate::forward::CountedSocket;

/// Pause after a failed accept (for example, out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest head that is read, in bytes, and the most headers. [`head`](crate::http) has lower limits, beyond which a request gets an
/// error in our own form. The difference is room for what a replica adds to a request: id, signature, length and host.
const HEAD_READ_MAX: usize = 20 * 1024;
const HEADERS_READ_MAX: usize = 128;
/// How long an idle connection stays open at the drain. Otherwise a request that is on its way would be lost, and no proxy repeats a POST.
pub(super) const LAST_REQUESTS: Duration = Duration::from_millis(250);
/// How often connections that wait for too long are ended.
const OVERDUE_INTERVAL: Duration = Duration::from_millis(250);

/// An open listener with its connections. Dropping it closes all of them.
pub(super) struct Door(pub(super) Arc<DoorShared>);

/// What the connections share.
pub(super) struct DoorShared {
    pub(super) peers: Arc<Peers>,
    /// The routes of this replica's current role.
    routes: watch::Receiver<Router>,
    /// How long a connection may be idle after a response.
    keep_alive: Duration,
    not_http: NotHttp,
    /// The connections, and the loop that accepts them.
    connections: TaskTracker,
    requests: TaskTracker,
    /// Once canceled, no connection is accepted any more. Requests in progress may finish.
    drain: CancellationToken,
    /// Once canceled, connections of other replicas may be closed, too. Earlier, a replica that still forwards here would lose a request.
    pub(super) handed_over: CancellationToken,
    /// Once canceled, everything ends.
    pub(super) cut: CancellationToken,
}

impl Door {
    /// Accepts connections until `drain`.
    pub(super) fn open(
        listener: TcpListener,
        routes: watch::Receiver<Router>,
        process: &Process,
        drain: &CancellationToken,
    ) -> Self {
        let (clock, metrics) = (Arc::clone(&process.clock), Arc::clone(&process.metrics));
        let trusted = process.config.access.trusted_proxies.clone();
        let shared = Arc::new(DoorShared {
            peers: Peers::new(trusted, process.sockets_max, Arc::clone(&clock), Arc::clone(&metrics)),
            routes,
            keep_alive: process.config.server.keep_alive,
            not_http: NotHttp::new(clock, metrics),
            connections: TaskTracker::new(),
            requests: TaskTracker::new(),
            drain: drain.child_token(),
            handed_over: CancellationToken::new(),
            cut: CancellationToken::new(),
        });
        shared.connections.spawn(accept_all(listener, Arc::clone(&process.sockets), Arc::clone(&shared)));
        let overdue = end_overdue(Arc::clone(&shared.peers));
        tokio::spawn(shared.cut.clone().run_until_cancelled_owned(overdue));
        Self(shared)
    }

    /// Returns once no request is in progress.
    pub(super) async fn wait_for_requests(&self) {
        self.0.requests.close();
        self.0.requests.wait().await;
    }

    /// Returns once no connection is open and no further one can be accepted.
    pub(super) async fn wait_for_connections(&self) {
        self.0.connections.close();
        self.0.connections.wait().await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.drain.cancel();
        self.0.cut.cancel();
    }
}

/// Accepts connections until the drain, each with one of the `places`.
async fn accept_all(listener: TcpListener, places: Arc<Semaphore>, shared: Arc<DoorShared>) {
    let failures = Throttle::default();
    let accept = async || (Arc::clone(&places).acquire_owned().await, listener.accept().await);
    while let Some((place, accepted)) = shared.drain.run_until_cancelled(accept()).await {
        // The semaphore is never closed.
        let Ok(place) = place else { return };
        match accepted {
            Ok((socket, peer)) => {
                // A socket that is not admitted is closed at once.
                if let Some(slot) = shared.peers.admit(peer.ip()) {
                    let socket = TimedSocket::new(socket, Arc::clone(&slot), place);
                    shared.connections.spawn(serve(Arc::clone(&shared), slot, socket, peer));
                }
            }
            Err(error) => {
                if let Some(held_back) = failures.pass(shared.peers.clock.instant()) {
                    tracing::warn!(%error, held_back, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn end_overdue(peers: Arc<Peers>) {
    loop {
        tokio::time::sleep(OVERDUE_INTERVAL).await;
        peers.end_overdue(clock::timer_now());
    }
}

/// Serves requests until either side closes. At the drain, waits for a request that is on its way: a little, or on a connection of another
/// replica until the ledger is handed over. Then answers the request in progress.
async fn serve(shared: Arc<DoorShared>, slot: Arc<Slot>, socket: TimedSocket, peer: SocketAddr) {
    let connection = Arc::clone(&slot.connection);
    let of_requests = Arc::clone(&shared);
    let service = service_fn(move |request| {
        let served = serve_one(Arc::clone(&of_requests), Arc::clone(&slot), peer, request);
        of_requests.requests.track_future(served)
    });
    let ends = async {
        shared.drain.cancelled().await;
        if connection.is_of_replica() {
            shared.handed_over.cancelled().await;
        } else {
            tokio::time::sleep(LAST_REQUESTS).await;
        }
    };
    let http = http().serve_connection(TokioIo::new(socket), service);
    let mut http = pin!(http.with_upgrades());
    let served = async {
        tokio::select! {
            biased;
            ended = &mut http => ended,
            () = ends => {
                http.as_mut().graceful_shutdown();
                http.await
            }
        }
    };
    let ended = tokio::select! {
        biased;
        () = connection.ended.cancelled() => return,
        () = shared.cut.cancelled() => return,
        ended = served => ended,
    };
    if let Err(error) = ended {
        let is_not_http = error.is_parse() && !error.is_parse_too_large();
        if is_not_http && let Some(first) = connection.first_bytes() {
            shared.not_http.report(peer, &first);
        }
        tracing::debug!(%error, "a connection failed");
    }
}

/// The HTTP server of a connection. A head that never ends occupies no more memory than the longest head.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_headers(HEADERS_READ_MAX);
    http.max_header_size(HEAD_READ_MAX).max_buf_size(HEAD_READ_MAX);
    http
}

async fn serve_one(
    shared: Arc<DoorShared>,
    slot: Arc<Slot>,
    peer: SocketAddr,
    mut request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let (router, keep_alive) = (shared.routes.borrow().clone(), shared.keep_alive);
    let connection = &slot.connection;
    let (has_body, is_head) = (!request.body().is_end_stream(), request.method() == Method::HEAD);
    request.extensions_mut().insert(ConnectInfo(peer));
    let socket: Arc<dyn CountedSocket> = slot.clone();
    request.extensions_mut().insert(socket);
    request.extensions_mut().insert(connection.begin_service(has_body));
    let Ok(mut response) = router.oneshot(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        connection.begin_upgraded(response.extensions_mut().remove());
    } else {
        // A body without a length is made while it is sent, so only a small part of it waits. The response to a HEAD is sent without its
        // body.
        let length = if is_head { None } else { response.headers().get(CONTENT_LENGTH) };
        let bytes = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
        // Another replica closes its idle connections itself, before `REQUEST_TIMEOUT`. It gets that time even if `KEEP_ALIVE_SECONDS` is
        // less.
        let keep_alive =
            if connection.is_of_replica() { keep_alive.max(REQUEST_TIMEOUT) } else { keep_alive };
        connection.end_service(keep_alive, bytes);
        if shared.drain.is_cancelled() && !connection.is_of_replica() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    Ok(response)
}

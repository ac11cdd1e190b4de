//! The listener, the background tasks and the shutdown. The number of open sockets is bounded, in total and for each peer.
//! Shutdown has two stages. After the first signal no connection is accepted, and requests in progress have 10 s to finish. A
//! second signal stops the process at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::app::App;
use crate::journal::FLUSH_INTERVAL;
use turn_base::clock::Clock;
use turn_base::throttle::Throttle;

mod calls;
mod peers;
mod progress;
mod socket;

use peers::{Peers, Slot};
pub use peers::{SOCKETS_PER_PEER_MAX, UNREAD_PER_PEER_MAX};
use progress::Progress;
pub use socket::{KEEP_ALIVE, LINGER_BYTES_MAX, LINGER_MAX, STALL_MAX};
use socket::{Occupies, TimedSocket};

/// The longest request line with headers, and the largest read buffer of one connection. A head that never ends occupies no
/// more than that. Bytes.
const HEADERS_MAX: usize = 16 * 1024;
/// Maximum number of open sockets. Further connections wait in the system's queue.
const SOCKETS_MAX: usize = 8_192;
/// Open files that the process needs: two for each request that is forwarded to a provider, and a reserve.
pub const FILES_WANTED: u64 = 16_384;
/// Idle time between requests when more than half of the sockets are open.
const KEEP_ALIVE_CROWDED: Duration = Duration::from_secs(2);
/// Time to finish after the first signal.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed accept (for example, out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often closed connections are logged and alerts are evaluated.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often expired entries are removed from memory.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// The two stages of shutdown, triggered from outside.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Finish requests in progress, then stop.
    pub soft: CancellationToken,
    /// Stop now.
    pub hard: CancellationToken,
}

/// How the shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All requests finished.
    Drained,
    /// Some requests did not finish in time.
    TimedOut,
    /// The second signal came first.
    Forced,
}

/// Serves until `shutdown` is triggered.
pub async fn run(listener: TcpListener, app: Arc<App>, router: Router, shutdown: Shutdown) -> Ended {
    let maintenance = tokio::spawn(maintenance(Arc::clone(&app), shutdown.soft.clone()));
    let alerts = tokio::spawn(alerts(Arc::clone(&app), shutdown.soft.clone()));
    let readings = tokio::spawn(readings(Arc::clone(&app), shutdown.soft.clone()));
    let sessions = tokio::spawn(coturn_sessions(Arc::clone(&app), shutdown.soft.clone()));
    let relay = tokio::spawn(relay(Arc::clone(&app), shutdown.soft.clone()));
    let pool = tokio::spawn(pool(Arc::clone(&app), shutdown.soft.clone()));
    let probe = tokio::spawn(probe(Arc::clone(&app), shutdown.soft.clone()));
    let keys = tokio::spawn(keys(Arc::clone(&app), shutdown.soft.clone()));
    let rotation = tokio::spawn(rotation(Arc::clone(&app), shutdown.soft.clone()));
    let mut signaling = tokio::spawn(signaling(Arc::clone(&app), shutdown.soft.clone()));
    let sockets = Arc::new(Semaphore::new(SOCKETS_MAX));
    let connections = TaskTracker::new();
    let acceptor = Acceptor {
        listener,
        sockets: Arc::clone(&sockets),
        clock: Arc::clone(&app.clock),
        failures: Throttle::new(),
    };
    let peers =
        Peers::new(Arc::clone(&app.trusted_proxies), Arc::clone(&app.clock), Arc::clone(&app.metrics));
    while let Some((socket, peer, permit)) = acceptor.next(&shutdown.soft).await {
        let progress = Progress::new(app.metrics.discarded_bytes.clone());
        // Without a slot, the socket is closed at once.
        if let Some(slot) = peers.admit(peer.ip(), &progress) {
            let socket = TimedSocket::new(socket, progress.clone(), (permit, slot));
            let connection = Connection { socket, peer, progress };
            connections.spawn(connection.serve(router.clone(), Arc::clone(&sockets), shutdown.soft.clone()));
        }
    }
    app.draining.store(true, Ordering::Relaxed);
    drop(acceptor);
    tracing::info!("shutting down: no new connections, requests in progress may finish");
    let drained = async {
        connections.close();
        connections.wait().await;
        // A socket that was upgraded is no longer an HTTP connection, so it is waited for here.
        let _ = (&mut signaling).await;
    };
    let ended = tokio::select! {
        () = drained => Ended::Drained,
        () = tokio::time::sleep(DRAIN_MAX) => Ended::TimedOut,
        () = shutdown.hard.cancelled() => Ended::Forced,
    };
    let unfinished = SOCKETS_MAX - sockets.available_permits();
    match ended {
        Ended::Drained => tracing::info!("shut down: all requests finished"),
        Ended::TimedOut | Ended::Forced => {
            tracing::warn!(unfinished, "shut down with connections unfinished");
        }
    }
    signaling.abort();
    // These tasks end with the soft signal. The panic hook has logged a panic in any of them.
    let _ = tokio::join!(maintenance, alerts, readings, sessions, relay, pool, probe, keys, rotation);
    app.account.finish().await;
    ended
}

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    sockets: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    failures: Throttle,
}

impl Acceptor {
    /// The next connection, or `None` at shutdown.
    async fn next(&self, end: &CancellationToken) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        tokio::select! {
            biased;
            () = end.cancelled() => None,
            accepted = self.accept() => accepted,
        }
    }

    async fn accept(&self) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.sockets).acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => return Some((socket, peer, permit)),
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

/// An accepted connection. Its socket holds its permit and its slot, also after an upgrade.
struct Connection {
    socket: TimedSocket<(OwnedSemaphorePermit, Slot)>,
    peer: SocketAddr,
    progress: Progress,
}

impl Connection {
    /// Serves requests until either side closes, or until the request in progress at `drain` is answered.
    async fn serve(self, router: Router, sockets: Arc<Semaphore>, drain: CancellationToken) {
        let Self { socket, peer, progress } = self;
        let keep_alive = KeepAlive { progress: progress.clone(), sockets };
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            serve_one(router.clone(), keep_alive.clone(), peer, request)
        });
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_header_size(HEADERS_MAX)
            .max_buf_size(HEADERS_MAX)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            () = progress.close_requested() => return,
            ended = &mut connection => ended,
            () = drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection failed");
        }
    }
}

impl Occupies for (OwnedSemaphorePermit, Slot) {
    fn is_counted(&self) -> bool {
        self.1.is_counted()
    }

    fn stalled(&self) {
        self.1.stalled();
    }
}

/// How long a connection may stay idle after a response.
#[derive(Clone)]
struct KeepAlive {
    progress: Progress,
    sockets: Arc<Semaphore>,
}

impl KeepAlive {
    fn span(&self) -> Duration {
        if self.sockets.available_permits() < SOCKETS_MAX / 2 { KEEP_ALIVE_CROWDED } else { KEEP_ALIVE }
    }
}

async fn serve_one(
    router: Router,
    keep_alive: KeepAlive,
    peer: SocketAddr,
    mut request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let has_body = !request.body().is_end_stream();
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(keep_alive.progress.begin_service(has_body));
    let Ok(mut response) = router.oneshot(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        keep_alive.progress.begin_upgraded(response.extensions_mut().remove());
    } else {
        // A body without a length is made while it is sent, so only a small part of it waits.
        let bytes = response.body().size_hint().exact().unwrap_or(0);
        keep_alive.progress.end_service(keep_alive.span(), usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    Ok(response)
}

/// Reads Cloudflare's own count at intervals.
async fn readings(app: Arc<App>, end: CancellationToken) {
    if let Some(meter) = &app.cloudflare_meter {
        meter.run(&end).await;
    }
}

/// Reads coturn's sessions at intervals.
async fn coturn_sessions(app: Arc<App>, end: CancellationToken) {
    if let Some(meter) = &app.coturn_meter {
        meter.run(&end).await;
    }
}

/// Runs the relay in this process.
async fn relay(app: Arc<App>, end: CancellationToken) {
    if let Some(relay) = &app.relay {
        relay.run(&end).await;
    }
}

/// Mints credentials ahead of callers.
async fn pool(app: Arc<App>, end: CancellationToken) {
    app.mint.fill_pool(&end).await;
}

/// Tests the provider's key and token once after the start.
async fn probe(app: Arc<App>, end: CancellationToken) {
    app.mint.probe(&end).await;
}

/// Keeps the keys of users' tokens up to date.
async fn keys(app: Arc<App>, end: CancellationToken) {
    if let Some(auth) = &app.auth {
        auth.keep_fresh(&end).await;
    }
}

/// Replaces the TURN key at intervals.
async fn rotation(app: Arc<App>, end: CancellationToken) {
    if let Some(rotator) = &app.rotator {
        rotator.run(&end).await;
    }
}

/// Runs the timers of signaling and the watch of the SFU's sessions, and closes the sockets at the end. Then the calls are over.
async fn signaling(app: Arc<App>, end: CancellationToken) {
    let over = CancellationToken::new();
    let calls = tokio::spawn(calls::run(Arc::clone(&app), over.clone()));
    let sfu = async {
        if let Some(proxy) = &app.sfu {
            proxy.run(&end).await;
        }
    };
    tokio::join!(sfu, app.signaling.run(&end));
    over.cancel();
    // The panic hook has logged a panic.
    let _ = calls.await;
}

/// Delivers alerts to the operator, one at a time.
async fn alerts(app: Arc<App>, end: CancellationToken) {
    if let Some(dispatcher) = &app.dispatcher {
        dispatcher.deliver(&*app.account, &end).await;
    }
}

/// Periodic work: logs closed connections, evaluates alerts, writes the ledger, removes expired entries. No figure depends on
/// when it runs.
async fn maintenance(app: Arc<App>, end: CancellationToken) {
    let mut report = tokio::time::interval(REPORT_INTERVAL);
    let mut flush = tokio::time::interval(FLUSH_INTERVAL);
    let mut tidy = tokio::time::interval(TIDY_INTERVAL);
    for interval in [&mut report, &mut flush, &mut tidy] {
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = report.tick() => {
                app.account.report_given_up();
                let sources = app.mint.source_states();
                app.account.evaluate_alerts(sources, &app.prices, app.alert_percents, app.dispatcher.is_some());
            }
            _ = flush.tick() => {
                app.account.note_readings();
                app.account.flush();
            }
            _ = tidy.tick() => {
                app.account.tidy().await;
                app.rate_limit.sweep();
                app.wrong_tokens.sweep();
                app.signaling.tidy();
            }
        }
    }
}

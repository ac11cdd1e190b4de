//! The listener and its end. A client has 10 s for a request, there are at most so many sockets at once, and the end
//! comes in two stages: at the first signal no more are accepted and what runs is finished, at most for 10 s; a
//! second signal ends it at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::app::App;
use crate::clock::Clock;
use crate::journal::FLUSH_INTERVAL;
use crate::telemetry::log::Throttle;

mod socket;

pub use socket::{KEEP_ALIVE, STALL_MAX};
use socket::{PatientSocket, Progress};

/// Line and headers together.
const HEADERS_MAX: usize = 32 * 1024;
/// What is read ahead.
const BUFFER_MAX: usize = 64 * 1024;
/// Open sockets at once; further ones wait in the system's queue.
const SOCKETS_MAX: usize = 8_192;
/// Files that the process wants to be able to open: two for a request that is passed on, and some to spare.
pub const FILES_WANTED: u64 = 16_384;
/// Between requests when more than half of the sockets are taken.
const KEEP_ALIVE_CROWDED: Duration = Duration::from_secs(2);
/// For what runs when the first signal comes.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Failed accepts are written about once in this time.
const ACCEPT_LOG_WINDOW: Duration = Duration::from_secs(10);
/// How often connections that nobody speaks for are written to the log, and somebody looks for what is to be told.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often memory is tidied.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// The two stages of the end, as somebody outside decides them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Finish what runs and stop.
    pub soft: CancellationToken,
    /// Stop now.
    pub hard: CancellationToken,
}

/// How the end came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was finished.
    Drained,
    /// Some requests did not finish in time.
    TimedOut,
    /// The second signal came first.
    Forced,
}

/// Serves until `shutdown` says so.
pub async fn run(listener: TcpListener, app: Arc<App>, router: Router, shutdown: Shutdown) -> Ended {
    let chores = tokio::spawn(chores(Arc::clone(&app), shutdown.soft.clone()));
    let alerts = tokio::spawn(alerts(Arc::clone(&app), shutdown.soft.clone()));
    let readings = tokio::spawn(readings(Arc::clone(&app), shutdown.soft.clone()));
    let looks = tokio::spawn(looks(Arc::clone(&app), shutdown.soft.clone()));
    let relay = tokio::spawn(relay(Arc::clone(&app), shutdown.soft.clone()));
    let pool = tokio::spawn(pool(Arc::clone(&app), shutdown.soft.clone()));
    let sockets = Arc::new(Semaphore::new(SOCKETS_MAX));
    let graceful = GracefulShutdown::new();
    let entrance = Entrance {
        listener,
        sockets: Arc::clone(&sockets),
        clock: Arc::clone(&app.clock),
        failures: Throttle::new(ACCEPT_LOG_WINDOW),
    };
    while let Some((socket, peer, permit)) = entrance.next(&shutdown.soft).await {
        spawn_connection(socket, peer, permit, &router, &sockets, &graceful);
    }
    app.draining.store(true, Ordering::Relaxed);
    drop(entrance);
    tracing::info!("shutting down: no new connections, finishing what runs");
    let ended = tokio::select! {
        () = graceful.shutdown() => Ended::Drained,
        () = tokio::time::sleep(DRAIN_MAX) => Ended::TimedOut,
        () = shutdown.hard.cancelled() => Ended::Forced,
    };
    let unfinished = SOCKETS_MAX - sockets.available_permits();
    match ended {
        Ended::Drained => tracing::info!("shut down: everything was finished"),
        Ended::TimedOut | Ended::Forced => {
            tracing::warn!(unfinished, "shut down with connections unfinished");
        }
    }
    // They end with the soft signal; a panic in one was logged by the hook.
    let _ = tokio::join!(chores, alerts, readings, looks, relay, pool);
    app.account.finish().await;
    ended
}

/// Where connections come in.
struct Entrance {
    listener: TcpListener,
    sockets: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    failures: Throttle,
}

impl Entrance {
    /// The next connection, or `None` at the end.
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

fn spawn_connection(
    socket: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    router: &Router,
    sockets: &Arc<Semaphore>,
    graceful: &GracefulShutdown,
) {
    // Answers are small: waiting to fill a packet only delays them. A socket that is gone fails on its first use.
    let _ = socket.set_nodelay(true);
    let router = router.clone();
    let progress = Progress::new();
    let patient = PatientSocket::new(socket, progress.clone());
    let rests = Rests { progress, sockets: Arc::clone(sockets) };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        serve_one(router.clone(), rests.clone(), peer, request)
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(HEADERS_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(patient), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended badly");
        }
        drop(permit);
    });
}

/// How long a connection may rest after its answer: not at all long when sockets run short.
#[derive(Clone)]
struct Rests {
    progress: Progress,
    sockets: Arc<Semaphore>,
}

impl Rests {
    fn span(&self) -> Duration {
        if self.sockets.available_permits() < SOCKETS_MAX / 2 { KEEP_ALIVE_CROWDED } else { KEEP_ALIVE }
    }
}

async fn serve_one(
    router: Router,
    rests: Rests,
    peer: SocketAddr,
    mut request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(rests.progress.begin_service());
    let response = router.oneshot(request).await;
    rests.progress.end_service(rests.span());
    response
}

/// Reads the provider's own count from time to time.
async fn readings(app: Arc<App>, end: CancellationToken) {
    if let Some(meter) = &app.cloudflare_meter {
        meter.run(&end).await;
    }
}

/// Looks at a coturn's sessions from time to time.
async fn looks(app: Arc<App>, end: CancellationToken) {
    if let Some(meter) = &app.coturn_meter {
        meter.run(&end).await;
    }
}

/// Relays, if there is a relay in this process.
async fn relay(app: Arc<App>, end: CancellationToken) {
    if let Some(relay) = &app.relay {
        relay.run(&end).await;
    }
}

/// Has credentials minted ahead of callers.
async fn pool(app: Arc<App>, end: CancellationToken) {
    app.mint.fill_pool(&end).await;
}

/// Brings alerts to the operator, one after the other.
async fn alerts(app: Arc<App>, end: CancellationToken) {
    if let Some(dispatcher) = &app.dispatcher {
        dispatcher.deliver(&*app.account, &end).await;
    }
}

/// What is done from time to time. No figure waits for it.
async fn chores(app: Arc<App>, end: CancellationToken) {
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
                app.account.evaluate_alerts(app.mint.provider_is_up(), app.dispatcher.is_some());
            }
            _ = flush.tick() => app.account.flush(),
            _ = tidy.tick() => {
                app.account.tidy();
                app.rate_limit.sweep();
            }
        }
    }
}

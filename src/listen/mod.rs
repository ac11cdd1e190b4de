//! The listener, the background tasks and the shutdown. The number of open sockets is bounded, in total and for each peer.
//! Shutdown has two stages. After the first signal no connection is accepted, and requests in progress have 10 s to finish. A
//! second signal stops the process at once.

use std::future::pending;

use axum::Router;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::auth::Auth;
use crate::meter::cloudflare::CloudflareMeter;
use crate::meter::coturn::CoturnMeter;
use crate::meter::reference_clock::ReferenceClock;
use crate::store::storage::Lost;
use crate::store::writer::FLUSH_INTERVAL;
use prelude::*;

mod connection;
mod door;
mod member_tasks;
mod not_http;
mod peers;
pub mod replica;
mod socket;

use door::{Door, LAST_REQUESTS};
pub use peers::{SOCKETS_PER_PEER_MAX, UNREAD_PER_PEER_MAX};
pub use socket::{LINGER_BYTES_MAX, LINGER_MAX, STALL_MAX};

/// What most of these modules use.
mod prelude {
    pub(super) use std::sync::Arc;
    pub(super) use std::sync::atomic::Ordering;
    pub(super) use std::time::Duration;

    pub(super) use parking_lot::Mutex;
    pub(super) use tokio::net::TcpListener;
    pub(super) use tokio::sync::watch;
    pub(super) use tokio::time::timeout;
    pub(super) use tokio_util::sync::CancellationToken;
    pub(super) use turn_base::{Clock, REQUEST_TIMEOUT, Throttle, clock};
}

/// Time to finish after the first signal.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// The part of [`DRAIN_MAX`] in which requests in progress may delay the release of a ledger that other replicas share.
const HANDOVER_MAX: Duration = Duration::from_millis(500);
/// How long the other replicas may take to see that the ledger is released. They look four times a second.
const HANDED_OVER_MAX: Duration = Duration::from_millis(500);
/// Time to tell clients that the books are void.
const LOST_DRAIN_MAX: Duration = Duration::from_secs(1);
/// How often closed connections are logged and alerts are evaluated.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a panic. A panic ends the task's own pauses, so after a short pause the task could ask a provider too often.
const PANIC_PAUSE: Duration = Duration::from_secs(300);
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
    /// The books are void: another replica leads, neither another one nor a client reaches this one, or the database has lost writes.
    Lost,
}

/// Serves until `shutdown` is triggered, or until the books are void.
pub async fn run(listener: TcpListener, app: Arc<App>, router: Router, shutdown: Shutdown) -> Ended {
    let (_, role) = watch::channel(router);
    let door = Door::open(listener, role, &app, &shutdown.soft);
    serve(door, app, &shutdown).await
}

/// Serves what comes through the door until `shutdown` is triggered, or until the books are void.
async fn serve(door: Door, app: Arc<App>, shutdown: &Shutdown) -> Ended {
    let tasks = background(&app, &shutdown.soft);
    let sockets = TaskTracker::new();
    let signaling = sockets.spawn(signaling(Arc::clone(&app), shutdown.soft.clone()));
    let gives_up = async {
        match &app.lead {
            Some(lead) => lead.given_up.cancelled().await,
            None => pending().await,
        }
    };
    let lost = tokio::select! {
        () = shutdown.soft.cancelled() => None,
        () = gives_up => {
            tracing::error!(
                "neither another replica nor a client has reached this one for LEASE_SECONDS, so another replica leads from now on: check its ADVERTISE_URL and what is between them"
            );
            shutdown.soft.cancel();
            None
        }
        lost = app.account.lost() => Some(lost),
    };
    app.draining.store(true, Ordering::Relaxed);
    match lost {
        None => tracing::info!("shutting down: no new connections, requests in progress may finish"),
        Some(lost) => {
            tracing::error!("this replica must start again: {lost}");
            app.signaling.close_all();
            shutdown.soft.cancel();
        }
    }
    let ended = drain(&door, &sockets, &app, shutdown, lost).await;
    match ended {
        Ended::Drained => tracing::info!("shut down: all requests finished"),
        Ended::TimedOut | Ended::Forced => {
            tracing::warn!(unfinished = door.0.peers.open(), "shut down with connections unfinished");
        }
        Ended::Lost => {}
    }
    door.0.cut.cancel();
    signaling.abort();
    for task in tasks {
        // These tasks end with the soft signal. The panic hook has logged a panic in any of them.
        let _ = task.await;
    }
    match &app.lead {
        None => app.account.finish().await,
        // With this exit status the supervisor of the process starts it again.
        Some(lead) if lead.given_up.is_cancelled() => return Ended::Lost,
        Some(_) => {}
    }
    ended
}

/// Waits for requests in progress and for signaling, within bounds. One of several replicas releases its ledger meanwhile.
async fn drain(
    door: &Door,
    sockets: &TaskTracker,
    app: &App,
    shutdown: &Shutdown,
    lost: Option<Lost>,
) -> Ended {
    let finished = async || {
        door.wait_for_requests().await;
        // A socket that was upgraded is no longer an HTTP connection, so it is waited for here.
        sockets.close();
        sockets.wait().await;
    };
    if app.lead.is_some() && lost.is_none() {
        // Another replica can lead once the ledger is released, so a long request must not delay the release.
        tokio::time::sleep(LAST_REQUESTS).await;
        let _ = timeout(HANDOVER_MAX, finished()).await;
        app.account.finish().await;
        let _ = timeout(HANDED_OVER_MAX, door.wait_for_connections()).await;
    }
    door.0.handed_over.cancel();
    let drained = async {
        finished().await;
        door.wait_for_connections().await;
    };
    if lost.is_some() {
        let _ = timeout(LOST_DRAIN_MAX, drained).await;
        return Ended::Lost;
    }
    tokio::select! {
        () = drained => Ended::Drained,
        () = tokio::time::sleep(DRAIN_MAX) => Ended::TimedOut,
        () = shutdown.hard.cancelled() => Ended::Forced,
    }
}

/// Starts the tasks that run beside the requests until `end`. A panic ends only its own task. Each task but the relay then starts again.
fn background(app: &Arc<App>, end: &CancellationToken) -> [JoinHandle<()>; 12] {
    [
        tokio::spawn(relay(Arc::clone(app), end.clone())),
        spawn_until(app, end, REPORT_INTERVAL, maintenance),
        spawn(app, end, |app| async move { app.mint.fill_pool().await }),
        spawn(app, end, |app| async move { app.mint.probe().await }),
        spawn(app, end, |app| async move {
            let probed = app.mint.fleet().filter(|_| app.config.meter.probes && app.mint.enabled);
            let relays = probed.into_iter().flat_map(|fleet| &fleet.0);
            join_all(relays.map(|relay| relay.watch(&app.clock, &app.config.network.trust))).await;
        }),
        spawn(app, end, |app| async move {
            join_all(app.dispatcher.iter().map(|dispatcher| dispatcher.deliver(&*app.account))).await;
        }),
        spawn(app, end, |app| async move {
            join_all(app.cloudflare_meter.iter().map(CloudflareMeter::run)).await;
        }),
        spawn(app, end, |app| async move {
            join_all(app.reference_clock.iter().map(ReferenceClock::run)).await;
        }),
        spawn(app, end, |app| async move {
            join_all(app.coturn_meters.iter().map(CoturnMeter::run)).await;
        }),
        spawn(app, end, |app| async move {
            if let Some(stats) = &app.coturn_stats {
                Arc::clone(stats).run().await;
            }
        }),
        spawn(app, end, |app| async move {
            join_all(app.core.auth.iter().map(Auth::keep_fresh)).await;
        }),
        spawn(app, end, |app| async move {
            let mut failure = None;
            loop {
                tokio::time::sleep_until(clock::deadline(TIDY_INTERVAL)).await;
                app.reread_server_keys(&mut failure);
            }
        }),
    ]
}

/// Starts a task that is dropped at `end`, wherever it waits.
fn spawn<F: Future<Output = ()> + Send + 'static>(
    app: &Arc<App>,
    end: &CancellationToken,
    run: impl Fn(Arc<App>) -> F + Send + 'static,
) -> JoinHandle<()> {
    spawn_until(app, end, PANIC_PAUSE, move |app, end| {
        let work = run(app);
        async move {
            end.run_until_cancelled(work).await;
        }
    })
}

/// Starts a task that finishes its current step at `end`.
fn spawn_until<F: Future<Output = ()> + Send + 'static>(
    app: &Arc<App>,
    end: &CancellationToken,
    pause: Duration,
    run: impl Fn(Arc<App>, CancellationToken) -> F + Send + 'static,
) -> JoinHandle<()> {
    let (app, until) = (Arc::clone(app), end.clone());
    let work = move || run(Arc::clone(&app), until.clone());
    tokio::spawn(restart_after_panic(end.clone(), pause, work))
}

/// Runs a task until it returns. After a panic, which the panic hook logs, waits `pause`, or until `end`, and runs the task again. Callers
/// make sure that the task returns at `end`.
async fn restart_after_panic<F: Future<Output = ()> + Send + 'static>(
    end: CancellationToken,
    pause: Duration,
    run: impl Fn() -> F + Send,
) {
    while tokio::spawn(run()).await.is_err() {
        end.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Runs the relay in this process until `end`. Then the relay ends its allocations, and counts what they have relayed.
async fn relay(app: Arc<App>, end: CancellationToken) {
    if let Some(relay) = &app.relay {
        relay.run(&end).await;
    }
}

/// Runs the timers of signaling and the watch of the SFU's sessions until `end`, and then closes the sockets. After that all calls are
/// over, so the credentials of their members are ended.
async fn signaling(app: Arc<App>, end: CancellationToken) {
    let over = CancellationToken::new();
    let calls = tokio::spawn(member_tasks::run(Arc::clone(&app), over.clone()));
    let ending = spawn_until(&app, &over, PANIC_PAUSE, |app, end| async move { app.ending.run(&end).await });
    let sfu = async {
        if let Some(proxy) = &app.sfu {
            end.run_until_cancelled(proxy.watch()).await;
        }
    };
    tokio::join!(sfu, app.signaling.run(&end));
    over.cancel();
    // The panic hook has logged a panic.
    let _ = tokio::join!(calls, ending);
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
            biased;
            () = end.cancelled() => return,
            _ = report.tick() => {
                app.account.report_given_up();
                app.account.evaluate_alerts(app.facts(), &app.config, app.dispatcher.is_some()).await;
            }
            _ = flush.tick() => {
                // A tidying that is not done in time continues at the next tick. So this loop does not wait while the store waits for its
                // disk or database.
                let _ = tokio::time::timeout(FLUSH_INTERVAL, app.account.tidy()).await;
                app.account.flush();
            }
            _ = tidy.tick() => {
                app.core.rate_limit.sweep();
                app.wrong_tokens.sweep();
                app.signaling.tidy();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_restarted() {
        let begun = AtomicU32::new(0);
        restart_after_panic(CancellationToken::new(), Duration::ZERO, || {
            let before = begun.fetch_add(1, Ordering::Relaxed);
            async move { assert!(before > 0, "on purpose") }
        })
        .await;
        assert_eq!(begun.into_inner(), 2);
    }
}

//! The shell around the protocols of `signal`: routes, sockets, timers, and what takes time.
//!
//! | where | what |
//! |---|---|
//! | [`routes`] | who may open a socket, and on which path |
//! | [`peerjs`] | the HTTP routes of `PeerJS` |
//! | [`socket`] | the upgrade, and the task that reads and writes one socket |
//! | [`effects`] | webhooks and mints |

mod effects;
mod peerjs;
pub mod routes;
pub mod socket;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turn_signaling::session::Event;

use crate::app::App;
use crate::clock;
use crate::signal::hub::Hub;

/// Gives an event to a protocol, and begins what follows from it.
fn take(app: &Arc<App>, hub: &Arc<Hub>, event: Event) {
    effects::begin(app, hub, hub.take(event));
}

/// Runs the timers of all protocols until `end`. Then tells every client that the process stops, and returns once all sockets
/// have closed.
pub async fn run(app: &Arc<App>, end: &CancellationToken) {
    let timers = app.signaling.hubs.iter().map(|hub| {
        let (app, hub, end) = (Arc::clone(app), Arc::clone(hub), end.clone());
        tokio::spawn(async move { run_timers(&app, &hub, &end).await })
    });
    for timer in timers.collect::<Vec<_>>() {
        // The panic hook has logged a panic.
        let _ = timer.await;
    }
    end.cancelled().await;
    app.signaling.occupancy.emptied().await;
}

async fn run_timers(app: &Arc<App>, hub: &Arc<Hub>, end: &CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => break,
            () = hub.rescheduled() => {}
            () = sleep(hub.until_due()) => take(app, hub, Event::Due),
        }
    }
    effects::begin(app, hub, hub.drain());
}

/// For ever without a time.
async fn sleep(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep_until(clock::deadline(span)).await,
        None => std::future::pending().await,
    }
}

//! The shell around the protocols of `signal`: routes, sockets, timers, webhooks and mints.
//!
//! | where | what |
//! |---|---|
//! | [`routes`], [`socket_request`] | the path of each protocol; what a request for a socket must have |
//! | [`reports`], [`form`] | reports of Orange's page; the forms that carry them |
//! | [`rooms`] | rooms: the user of a socket, and the name that a visitor chooses |
//! | [`peerjs`] | the routes of `PeerJS` |
//! | [`socket`] | the upgrade, and the task that reads and writes one socket |
//! | [`effects`] | webhooks and mints |
//! | [`media`] | the connections of running calls, and the credentials of members that have left |
//! | [`p2pcf`] | P2PCF, which polls instead |

mod effects;
mod form;
mod media;
pub mod p2pcf;
mod peerjs;
pub mod reports;
mod rooms;
pub mod routes;
pub mod socket;
mod socket_request;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turn_ledger::User;
use turn_signaling::call::ProtocolName;
use turn_signaling::protocol::Event;

use crate::app::App;
use crate::signal::hub::Hub;
use turn_base::clock;

/// Gives an event to a protocol, and begins what follows from it.
fn take(app: &Arc<App>, hub: &Arc<Hub>, event: Event) {
    effects::begin(app, hub, hub.take(event));
}

/// Ends a room in every protocol that [can](can_end) end rooms. Returns how many sessions of the SFU there were.
pub(super) fn end_room(app: &Arc<App>, room: &str) -> usize {
    for hub in &app.signaling.hubs {
        take(app, hub, Event::EndRoom { room: room.into() });
    }
    app.sfu.as_ref().map_or(0, |proxy| proxy.end_room(room))
}

/// Closes every socket of a user who has been blocked, and the user's sessions of the SFU.
pub(super) fn close_blocked(app: &App, user: &User) {
    app.signaling.hubs.iter().for_each(|hub| hub.close_blocked(user));
    end_sessions_of(app, user);
}

/// Ends the sessions of the SFU of a user whose credentials have been revoked, also those that only send.
pub(super) fn end_sessions_of(app: &App, user: &User) {
    if let Some(proxy) = &app.sfu {
        proxy.end_sessions_of(user);
    }
}

/// Whether rooms of this protocol can be ended. Clients of P2PCF hold no socket that could be closed.
pub(super) fn can_end(protocol: ProtocolName) -> bool {
    protocol != ProtocolName::P2pcf
}

/// Runs the timers of all protocols until `end`. Then tells every client that the process stops, and returns once all sockets
/// have closed and the application has been told of each.
pub async fn run(app: &Arc<App>, end: &CancellationToken) {
    let timers = app.signaling.hubs.iter().map(|hub| {
        let (app, hub, end) = (Arc::clone(app), Arc::clone(hub), end.clone());
        tokio::spawn(async move { run_timers(&app, &hub, &end).await })
    });
    let over = CancellationToken::new();
    let media = tokio::spawn(run_media(Arc::clone(app), over.clone()));
    let timers: Vec<_> = timers.collect();
    let sfu = async {
        if let Some(proxy) = &app.sfu {
            proxy.run(end).await;
        }
    };
    let reports = async {
        if let Some(reports) = &app.signaling.reports {
            reports.run(end).await;
        }
    };
    tokio::join!(sfu, reports);
    for timer in timers {
        // The panic hook has logged a panic.
        let _ = timer.await;
    }
    end.cancelled().await;
    app.signaling.occupancy.emptied().await;
    app.signaling.tasks.close();
    app.signaling.tasks.wait().await;
    over.cancel();
    let _ = media.await;
}

async fn run_media(app: Arc<App>, end: CancellationToken) {
    tokio::join!(media::keep_alive(&app, &end), media::renew(&app, &end), media::end_credentials(&app, &end));
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

/// Sleeps; for ever if there is no time.
async fn sleep(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep_until(clock::deadline(span)).await,
        None => std::future::pending().await,
    }
}

//! Two tasks for the calls: one reports their connections to the ledger at each heartbeat, one renews the grants of their members.

use super::prelude::*;
use crate::app::App;
use crate::bounds::RENEW_INTERVAL;

/// Runs both tasks until `end`.
pub(super) async fn run(app: Arc<App>, end: CancellationToken) {
    tokio::join!(end.run_until_cancelled(keep_alive(&app)), renew(&app, &end));
}

/// Reports the connections of all calls at each heartbeat.
async fn keep_alive(app: &App) {
    loop {
        tokio::time::sleep_until(clock::deadline(app.config.usage.heartbeat)).await;
        app.core.calls.keep_alive();
    }
}

/// Renews the grants of members until `end`. Their clients keep their first credential, because their protocol has no message for another
/// one. The renewal is for this process: where this process ends the allocations of a grant, it ends them only when the last renewal has
/// expired.
async fn renew(app: &App, end: &CancellationToken) {
    let next = || tokio::time::sleep_until(clock::deadline(RENEW_INTERVAL.get()));
    while end.run_until_cancelled(next()).await.is_some() {
        for grant in app.core.calls.grants() {
            app.mint.renew_member(grant, app.core.call_ttl).await;
        }
    }
}

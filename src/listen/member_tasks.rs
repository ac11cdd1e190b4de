//! Three tasks for the calls: one reports their connections to the ledger at each heartbeat, one renews the grants of their members,
//! and one asks the sources to end the credentials of members that have left. The ledger has each revocation before that.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turn_ledger::{GrantId, GrantRow};

use crate::app::App;
use crate::bounds::RENEW_INTERVAL;
use crate::mint::RevokedAll;
use turn_base::clock;

/// The most credentials whose end is asked for at once.
const CUTS_AT_ONCE: usize = 64;
/// How long the last of them may take when the process stops.
const LAST_CUTS_MAX: Duration = Duration::from_secs(3);

/// Runs them until `end`.
pub(super) async fn run(app: Arc<App>, end: CancellationToken) {
    tokio::join!(end.run_until_cancelled(keep_alive(&app)), renew(&app, &end), end_credentials(&app, &end));
}

/// Reports the connections of all calls at each heartbeat.
async fn keep_alive(app: &App) {
    loop {
        tokio::time::sleep_until(clock::deadline(app.config.usage.heartbeat)).await;
        app.calls.keep_alive();
    }
}

/// Renews the grants of members until `end`. Their clients are given no other credential, because their protocol has no message for it. But
/// where this process ends the allocations of a grant, it ends them when the last renewal has expired.
async fn renew(app: &App, end: &CancellationToken) {
    let next = || tokio::time::sleep_until(clock::deadline(RENEW_INTERVAL.get()));
    while end.run_until_cancelled(next()).await.is_some() {
        for grant in app.calls.grants() {
            app.mint.renew_member(grant, app.call_ttl).await;
        }
    }
}

/// Ends the credentials of members that have left until `end`, and then those that still wait.
async fn end_credentials(app: &App, end: &CancellationToken) {
    while let Some(left) = end.run_until_cancelled(app.calls.next_cuts(CUTS_AT_ONCE)).await {
        end_all(app, &left).await;
    }
    let last = async {
        loop {
            let left = app.calls.take_cuts(CUTS_AT_ONCE);
            if left.is_empty() {
                return;
            }
            end_all(app, &left).await;
        }
    };
    // The remaining credentials expire.
    let _ = tokio::time::timeout(LAST_CUTS_MAX, last).await;
}

/// Writes the revocations, and asks the sources to end these credentials.
async fn end_all(app: &App, left: &[(GrantId, GrantRow)]) {
    let grants = left.len();
    if app.account.recorded().await.is_err() {
        if app.account.is_void() {
            // The next leader knows nothing of these revocations, and the calls go on there.
            return;
        }
        tracing::warn!(grants, "the ends of grants could not be written; they are written again");
    }
    let RevokedAll { ended, left, .. } = app.mint.revoke_all(left).await;
    tracing::info!(grants, ended, left, "members have left their calls, so their credentials were ended");
}

//! `GET /metrics`: the counters, and the figures that are read at the moment of the scrape. Tests: `tests/it/operator.rs`.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::AppState;
use crate::app::App;
use crate::telemetry::metrics::{CONTENT_TYPE as OPENMETRICS, ScrapedFigures};
use turn_base::error::ApiError;
use turn_ledger::Timestamp;

/// Counters and gauges for Prometheus.
#[utoipa::path(
    get, path = "/metrics",
    responses((status = 200, description = "OpenMetrics text.", body = String, content_type = OPENMETRICS))
)]
pub async fn get_metrics(app: AppState) -> Result<Response, ApiError> {
    let text = app.metrics.render(&figures(&app)).map_err(|_| ApiError::internal())?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

fn figures(app: &App) -> ScrapedFigures {
    for key in app.server_keys.iter() {
        let (used, _) = app.account.change(|books| books.server_use(&key.name));
        app.metrics.server_key_use(key.name.as_str(), used.get());
    }
    let mut now = ScrapedFigures::default();
    now.process_start(seconds(app.started_at));
    add_budget(app, &mut now);
    add_service(app, &mut now);
    now
}

/// What the ledger knows.
fn add_budget(app: &App, now: &mut ScrapedFigures) {
    let snapshot = app.account.snapshot();
    let (figures, measured) = (&snapshot.figures, &snapshot.measured);
    let as_of = measured.as_of.map_or(0, seconds);
    let mut gauge = |name: &str, help: &str, value: u64| now.gauge(name, help, value);
    gauge("used_bytes", "Billed bytes of this period, best figure", figures.used.get());
    gauge(
        "committed_bytes",
        "Billed bytes of this period, worst case at the assumed rate",
        figures.committed.get(),
    );
    let bound = figures.overshoot_bound().get();
    gauge("overshoot_bound_bytes", "Bytes by which live credentials can take usage past the limit", bound);
    gauge("limit_bytes", "The limit in force", figures.limit.get());
    gauge("reset_timestamp_seconds", "When the period ends, seconds since 1970", seconds(figures.period.end));
    let counted = measured.bytes.get();
    gauge("measured_bytes", "Bytes of this period that providers themselves counted", counted);
    gauge(
        "measured_as_of_timestamp_seconds",
        "Until when they counted, seconds since 1970; 0 without a count",
        as_of,
    );
    gauge(
        "measured_stale",
        "1 while an enabled count could not be read for 10 minutes",
        u64::from(measured.is_stale()),
    );
    gauge(
        "bound_holds",
        "0 while the bound cannot be relied on",
        u64::from(app.account.bound_holds(&snapshot)),
    );
    let lag =
        app.cloudflare_meter.as_ref().map(|meter| measured.late_counts.map_or(meter.lag, |late| late.lag));
    gauge(
        "analytics_lag_seconds",
        "Age of the newest minute that Cloudflare is asked for; above `ANALYTICS_LAG_SECONDS`, set that to it",
        lag.unwrap_or_default().as_secs(),
    );
    gauge("frozen", "1 while the operator has stopped minting", u64::from(snapshot.frozen));
    gauge("grants_live", "Live credentials of all sources, tail included", snapshot.live_grants);
    let (ended, (rows, folded)) =
        app.account.read(|books| (books.grants().ended_count(), books.grants().left().counts()));
    gauge(
        "grants_ended",
        "Ended credentials that are kept until the period ends, 50,000 at most",
        from_usize(ended),
    );
    gauge(
        "spender_rows",
        "Sums by spender of credentials that have left the table, 50,000 at most",
        from_usize(rows),
    );
    gauge(
        "spenders_folded",
        "Such sums that lost their name since the start, because there were too many",
        folded,
    );
    gauge(
        "unknown_bytes",
        "Bytes of this period that a provider counted under unknown identifiers",
        snapshot.unknown_bytes.get(),
    );
    gauge(
        "connections_open",
        "Open connections, 200,000 at most; 0 while credentials are minted: no client reports",
        from_usize(snapshot.open_connections),
    );
}

/// What the other parts of this process know.
fn add_service(app: &App, now: &mut ScrapedFigures) {
    let pool = app.mint.pool_counts();
    let mut gauge = |name: &str, help: &str, value: u64| now.gauge(name, help, value);
    gauge("signaling_sockets", "Open signaling sockets, 4,096 at most", from_usize(app.signaling.sockets()));
    let (sfu_sessions, sfu_tracks) = app.sfu.as_ref().map(|proxy| proxy.counts()).unwrap_or_default();
    gauge("sfu_sessions", "Sessions of the SFU, 8,192 at most", from_usize(sfu_sessions));
    gauge(
        "sfu_pulled_tracks",
        "Tracks and data channels that sessions of the SFU pull",
        from_usize(sfu_tracks),
    );
    gauge(
        "rate_limit_clients",
        "Clients with their own row in the rate limiter",
        from_usize(app.rate_limit.clients()),
    );
    let breaker = app.mint.breaker_state().gauge();
    gauge("breaker_state", "The provider's circuit breaker: 0 closed, 1 half-open, 2 open", breaker);
    let is_up = u64::from(app.mint.provider_is_up() != Some(false));
    gauge("provider_up", "0 while the provider does not mint", is_up);
    gauge("pool_ready", "Credentials minted ahead and not yet issued", pool.ready);
    gauge("ledger_failing", "1 while the ledger cannot be written", u64::from(!app.account.is_writable()));
    gauge(
        "leads",
        "1 while this replica leads, and without `DATABASE_URL`",
        u64::from(app.account.holds_lease()),
    );
    let epoch = app.lead.as_ref().and_then(|lead| u64::try_from(lead.epoch).ok()).unwrap_or(0);
    gauge("epoch", "How often the lead has changed; 0 without `DATABASE_URL`", epoch);
    gauge("log_lines_lost", "Log lines dropped because the reader was too slow", app.lost_lines.count());
    now.counter("pool_handed_out", "Credentials minted ahead and issued", pool.handed_out);
    now.counter("pool_wasted", "Credentials minted ahead and discarded", pool.wasted);
}

/// Seconds since 1970.
fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_secs()).unwrap_or(0)
}

fn from_usize(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

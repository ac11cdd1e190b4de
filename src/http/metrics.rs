//! `GET /metrics`: the counters, and the figures that are read at the moment of the scrape. Tests: `tests/it/operator.rs`.

use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};

use super::prelude::*;
use crate::app::Process;
use crate::telemetry::metrics::{Metrics, OPENMETRICS, PROMETHEUS, ScrapedFigures, prometheus_text};
use turn_base::request::header::entries;

/// Counters and gauges for Prometheus.
#[utoipa::path(
    get, path = "/metrics",
    responses((
        status = 200, description = "OpenMetrics text for a client that accepts it, else Prometheus text 0.0.4.",
        content((String = OPENMETRICS), (String = PROMETHEUS)),
    ))
)]
pub async fn get_metrics(app: AppState, headers: HeaderMap) -> Result<Response, ApiError> {
    for key in app.server_keys.all().iter() {
        let (used, _) = app.account.change(|books| books.server_use(&key.name));
        app.metrics.server_key_use(key.name.as_str(), used.get());
    }
    for relay in app.mint.fleet().into_iter().flat_map(|fleet| &fleet.0) {
        let used = app.account.read(|books| books.budget().used_by(relay.owner));
        app.metrics.relay(&relay.host, !relay.health.lock().is_down, used.get());
    }
    for (place, taken, most) in app.places() {
        app.metrics.place(place.name, taken, most);
    }
    let mut scraped = ScrapedFigures::default();
    add_budget(&app, &mut scraped);
    add_service(&app, &mut scraped);
    rendered(&app.metrics, &scraped, &headers)
}

/// Adds gauges, each with its help and its value.
macro_rules! gauges {
    ($scraped:expr; $($name:ident $help:literal $value:expr;)*) => {
        $($scraped.gauge(stringify!($name), $help, $value);)*
    };
}

/// Adds the figures of the ledger.
fn add_budget(app: &App, scraped: &mut ScrapedFigures) {
    let snapshot = app.account.snapshot();
    let (figures, measured) = (&snapshot.figures, &snapshot.measured);
    let (ended, (rows, folded), tails) = app
        .account
        .read(|books| (books.grants().ended_count(), books.grants().left.counts(), books.budget().tails()));
    gauges! { scraped;
        used_bytes "Billed bytes of this period, best figure" figures.used.get();
        committed_bytes "Billed bytes of this period, worst case at the assumed rate" figures.committed.get();
        overshoot_bound_bytes "Bytes by which live credentials can take usage past the limit" figures.overshoot_bound().get();
        limit_bytes "The limit in force" figures.limit.get();
        reset_timestamp_seconds "When the period ends, seconds since 1970" seconds(figures.period.end);
        measured_bytes "Bytes of this period that providers themselves counted" measured.bytes.get();
        measured_as_of_timestamp_seconds "Until when they counted, seconds since 1970; 0 without a count" measured.as_of.map_or(0, seconds);
        measured_stale "1 while an enabled count could not be read for 10 minutes" u64::from(measured.is_stale());
        bound_holds "0 while `overshoot_bound_bytes` cannot be relied on" u64::from(snapshot.bound_holds());
        tail_seconds "How long a credential of the first metered source is assumed to relay after its expiry"
            tails.first().map_or(0, |(_, tail)| tail.as_secs());
        frozen "1 while the operator has stopped minting" u64::from(snapshot.frozen);
        grants_live "Live credentials of all sources, tail included" snapshot.live_grants;
        grants_ended "Ended credentials that are kept until the period ends, 50,000 at most" ended;
        spender_rows "Sums by spender of credentials that have left the table, 50,000 at most" rows;
        spenders_folded "Such sums that lost their name since the start, because there were too many" folded;
        unknown_bytes "Bytes of this period that a provider counted under unknown identifiers" snapshot.unknown_bytes.get();
        connections_open
            "Open connections; 0 while credentials are minted: no client reports"
            snapshot.open_connections;
    }
}

/// Adds the figures of the other parts of this process.
fn add_service(app: &App, scraped: &mut ScrapedFigures) {
    let pool = app.mint.pool_counts();
    let (_, sfu_tracks) = app.sfu.as_ref().map(|proxy| proxy.counts()).unwrap_or_default();
    let epoch = app.lead.as_ref().and_then(|lead| u64::try_from(lead.epoch).ok()).unwrap_or(0);
    gauges! { scraped;
        sfu_pulled_tracks "Tracks and data channels that sessions of the SFU pull" sfu_tracks;
        breaker_state "The provider's circuit breaker: 0 closed, 1 half-open, 2 open" app.mint.breaker_state().gauge();
        provider_up "0 while the provider or every relay fails" u64::from(app.mint.provider_is_up() != Some(false));
        pool_ready "Credentials minted ahead and not yet issued" pool.ready;
        ledger_failing "1 while the ledger cannot be written" u64::from(app.account.ledger_fails());
        epoch "How often the lead has changed; 0 without `DATABASE_URL`" epoch;
    }
    add_process(scraped, app, app.account.holds_lease());
    scraped.counter("pool_handed_out", "Credentials minted ahead and issued", pool.handed_out);
    scraped.counter("pool_wasted", "Credentials minted ahead and discarded", pool.wasted);
}

/// Adds the figures that a standby has, too.
pub(super) fn add_process(scraped: &mut ScrapedFigures, process: &Process, leads: bool) {
    scraped.process_start(seconds(process.started_at));
    gauges! { scraped;
        leads "1 while this replica leads, and without `DATABASE_URL`" u64::from(leads);
        log_lines_lost "Log lines dropped because the reader was too slow" process.lost_lines.count();
    }
}

/// The response, in the newest form that the client accepts.
pub(super) fn rendered(
    metrics: &Metrics,
    scraped: &ScrapedFigures,
    request: &HeaderMap,
) -> Result<Response, ApiError> {
    let text = metrics.render(scraped).map_err(|_| ApiError::internal())?;
    let is_new = entries(request, &ACCEPT).any(|entry| entry.starts_with("application/openmetrics-text"));
    let (form, text) = if is_new { (OPENMETRICS, text) } else { (PROMETHEUS, prometheus_text(&text)) };
    Ok(([(CONTENT_TYPE, form), (VARY, "accept")], text).into_response())
}

/// Seconds since 1970.
fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_secs()).unwrap_or(0)
}

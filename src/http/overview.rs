//! `GET /api/overview`: what an operator looks at first, in one answer: the state of the budget, to the byte; what callers
//! got; how the provider fares. The same counters as those of `/metrics`, without a parser for its text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::bandwidth_status::{StatusBody, status};
use super::credentials::source_schema;
use crate::app::App;
use crate::json::plain_number;
use crate::mint::DegradedReason;
use crate::mint::pool::PoolCounts;
use crate::telemetry::metrics::{CredentialLabels, Metrics, OutcomeLabels};
use crate::telemetry::provider_calls::CallTimes;
use turn_ledger::books::Snapshot;
use turn_ledger::source::IceSource;
use turn_ledger::units::Timestamp;

/// All at one glance. Counts are those since the start of the process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverviewBody {
    /// The ledger's time.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Of this program.
    version: &'static str,
    /// Seconds since the process started.
    uptime_seconds: u64,
    /// As in `GET /api/bandwidth-status`.
    status: StatusBody,
    /// The same figures to the byte.
    bytes: BytesBody,
    /// Whether the ledger cannot be written now.
    ledger_failing: bool,
    /// What callers got.
    callers: CallersBody,
    /// Null where no provider is configured.
    #[schema(required = true)]
    provider: Option<ProviderBody>,
    /// What was reported.
    connections: ConnectionCounts,
}

/// Billed bytes of this period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BytesBody {
    /// Best figure.
    used: u64,
    /// Worst case, given what the bound assumes.
    committed: u64,
    /// What may be used.
    limit: u64,
    /// The limit that holds where none is ordered.
    configured_limit: u64,
    /// How far the worst case is past the limit.
    overshoot_bound: u64,
    /// The provider's own count up to `status.asOf`; null without one.
    #[schema(required = true)]
    measured: Option<u64>,
}

/// What callers got.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallersBody {
    /// Answers with ICE servers, by source and reason; none that is zero.
    answers: Vec<AnswersBody>,
    /// Mints that the budget refused; with `LIMIT_ACTION=fallback` they got a degraded answer.
    refused: u64,
    /// Over the per-client rate.
    rate_limited: u64,
    /// From a page that may not mint.
    origins_refused: u64,
    /// Turned away because too many requests were under way.
    shed: u64,
}

/// Answers of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswersBody {
    #[schema(schema_with = source_schema)]
    source: IceSource,
    /// Why it was not the first source; null when it was.
    #[schema(required = true)]
    reason: Option<&'static str>,
    /// How many there were.
    count: u64,
}

/// The provider that mints over the network.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderBody {
    /// The circuit breaker: `closed` (all is well), `half-open`, `open` (nobody asks for a while).
    breaker: &'static str,
    /// Mints asked of it, by outcome: `minted`, or what went wrong.
    outcomes: BTreeMap<&'static str, u64>,
    /// How long the latest took, failures too; null before the first.
    #[schema(required = true)]
    latest: Option<CallTimesBody>,
    pool: PoolBody,
}

/// Credentials that are minted ahead of callers who keep coming.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolBody {
    /// Nobody's yet.
    ready: u64,
    /// Taken for a caller, since the start.
    handed_out: u64,
    /// Thrown away since the start: too old, or their key is gone.
    wasted: u64,
}

/// How long the latest calls took.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallTimesBody {
    /// How many they are, 200 at most.
    calls: usize,
    /// Half of them took no longer, in milliseconds.
    #[schema(value_type = f64, example = 42.5)]
    median_ms: serde_json::Number,
    /// 95 of 100 took no longer.
    #[schema(value_type = f64, example = 120)]
    p95_ms: serde_json::Number,
    /// The longest of them.
    #[schema(value_type = f64, example = 300)]
    longest_ms: serde_json::Number,
}

/// Connections since the start of the process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCounts {
    /// By a call that was new.
    opened: u64,
    /// By a call.
    closed: u64,
    /// After three missed heartbeats.
    given_up: u64,
    /// Byte claims that were cut to what a relay can carry.
    claims_clamped: u64,
}

/// What an operator looks at first.
///
/// Status, callers and provider in one answer. Counts are those since the start of the process.
#[utoipa::path(
    get,
    path = "/api/overview",
    operation_id = "getOverview",
    tag = "operator",
    responses((status = 200, description = "Budget, callers, provider.", body = OverviewBody))
)]
pub async fn get_overview(State(app): State<Arc<App>>) -> Json<OverviewBody> {
    let snapshot = app.account.snapshot();
    Json(OverviewBody {
        at: snapshot.figures.now,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.clock.instant().saturating_duration_since(app.started).as_secs(),
        bytes: bytes(&snapshot),
        status: status(&app, &snapshot),
        ledger_failing: !app.account.is_writable(),
        callers: callers(&app.metrics),
        provider: provider(&app),
        connections: connections(&app.metrics),
    })
}

fn bytes(snapshot: &Snapshot) -> BytesBody {
    let (figures, measured) = (&snapshot.figures, &snapshot.measured);
    BytesBody {
        used: figures.used.get(),
        committed: figures.committed.get(),
        limit: figures.limit.get(),
        configured_limit: snapshot.configured_limit.get(),
        overshoot_bound: figures.overshoot_bound().get(),
        measured: measured.as_of.map(|_| measured.bytes.get()),
    }
}

fn callers(metrics: &Metrics) -> CallersBody {
    let reasons = DegradedReason::ALL.into_iter().map(Some);
    let kinds = IceSource::ALL
        .into_iter()
        .flat_map(|source| std::iter::once(None).chain(reasons.clone()).map(move |reason| (source, reason)));
    let answers = kinds.filter_map(|(source, reason)| {
        let reason = reason.map(DegradedReason::code);
        let labels = CredentialLabels { source: source.name(), reason: reason.unwrap_or("none") };
        let count = metrics.credentials.get(&labels)?.get();
        Some(AnswersBody { source, reason, count })
    });
    CallersBody {
        answers: answers.collect(),
        refused: metrics.budget_refusals.get(),
        rate_limited: metrics.rate_limited.get(),
        origins_refused: metrics.origins_refused.get(),
        shed: metrics.shed.get(),
    }
}

fn provider(app: &App) -> Option<ProviderBody> {
    app.mint.provider_is_up()?;
    Some(ProviderBody {
        breaker: app.mint.breaker_state().name(),
        outcomes: app.metrics.provider_latest.outcomes(),
        latest: app.metrics.provider_latest.times().map(call_times),
        pool: pool(app.mint.pool_counts()),
    })
}

fn pool(counts: PoolCounts) -> PoolBody {
    let PoolCounts { ready, handed_out, wasted } = counts;
    PoolBody { ready, handed_out, wasted }
}

fn call_times(times: CallTimes) -> CallTimesBody {
    CallTimesBody {
        calls: times.calls,
        median_ms: millis(times.median),
        p95_ms: millis(times.p95),
        longest_ms: millis(times.longest),
    }
}

/// A tenth of a millisecond is as fine as anybody looks.
fn millis(took: Duration) -> serde_json::Number {
    plain_number((took.as_secs_f64() * 10_000.0).round() / 10.0)
}

fn connections(metrics: &Metrics) -> ConnectionCounts {
    let ended =
        |outcome| metrics.connections_ended.get(&OutcomeLabels { outcome }).map_or(0, |count| count.get());
    ConnectionCounts {
        opened: metrics.connections_opened.get(),
        closed: ended("closed"),
        given_up: ended("given_up"),
        claims_clamped: metrics.claims_clamped.get(),
    }
}

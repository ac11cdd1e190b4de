//! `GET /api/overview`: budget, callers and provider in one response. Tests: `tests/it/overview.rs`.
//! The counters are those of `/metrics`, as JSON.

mod provider;
pub(super) mod relays;

use std::collections::{BTreeMap, BTreeSet};

use strum::VariantArray;

use super::bandwidth_status::{StatusBody, mbps, status};
use super::prelude::*;
use crate::alert::{AlertCost, Forecast, StopCode};
use crate::auth::server_keys::ServerKey;
use crate::json::plain_number;
use crate::lead::{Lead, Replica};
use crate::mint::ending::EndingProgress;
use crate::rate::PresentRate;
use crate::telemetry::metrics::Metrics;
use provider::{ProviderBody, provider};
use relays::{RelayBody, relays};
use turn_base::Code;
use turn_ledger::{Books, Revoked, Snapshot};

/// Longest list of revocations.
const REVOKED_MAX: usize = 20;

/// Budget, callers and provider. Counts begin at the start of the process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverviewBody {
    /// The ledger's time.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    at: Timestamp,
    /// Version of this program.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Seconds since the process started.
    #[schema(example = 86_400)]
    uptime_seconds: u64,
    /// The same as `GET /api/bandwidth-status`.
    status: StatusBody,
    /// The same figures in bytes.
    bytes: BytesBody,
    /// The rate at which the budget is used.
    rate: RateBody,
    /// What the bytes cost, by the price in the settings.
    cost: CostBody,
    /// Live grants that were not revoked, of `status.grants.live`.
    #[schema(example = 5)]
    usable: u64,
    /// `ALERT_PERCENTS`: the parts of the limit that raise an alert.
    #[schema(value_type = Vec<u16>, example = json!([50, 80, 95, 100]))]
    alert_percents: BTreeSet<u16>,
    /// Whether users are known: `AUTH_JWT_SECRET`, `AUTH_JWKS_URL` or `AUTH_WEBHOOK_URL` is set.
    sign_in: bool,
    /// The responses to callers.
    callers: CallersBody,
    /// Null if no provider is configured.
    #[schema(required = true)]
    provider: Option<ProviderBody>,
    /// The operator's own relays, in the order of `COTURN_URLS`.
    relays: Vec<RelayBody>,
    /// Reported connections.
    connections: ConnectionCounts,
    /// The latest revocations of credentials that can still relay, newest first; at most 20.
    revoked: Vec<RevokedBody>,
    /// What the broker revokes by itself: `AT_LIMIT`, `GRANT_LIMIT_GB`.
    ending: EndingProgress,
    /// The server keys in the order of `SERVER_KEYS`.
    server_keys: Vec<ServerKeyBody>,
    /// The replicas that were seen lately. Empty without `DATABASE_URL`.
    replicas: Vec<ReplicaBody>,
}

/// A program that mints for its users.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerKeyBody {
    /// The name of its key.
    #[schema(example = "app")]
    name: String,
    /// Billed bytes of its grants and reports in this period.
    #[schema(example = 12_230_000_000_u64)]
    used: u64,
    /// Its limit in bytes; null without one.
    #[schema(required = true, example = 500_000_000_000_u64)]
    limit: Option<u64>,
}

/// One of several replicas on one ledger.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaBody {
    /// Where the others reach it.
    #[schema(example = "http://10.0.0.2:3001")]
    url: String,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: String,
    /// Whether it leads.
    #[schema(example = true)]
    leads: bool,
    /// When it was last seen.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    seen_at: Timestamp,
}

/// A revoked credential.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokedBody {
    /// The grant's id.
    #[schema(example = "nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    grant: String,
    #[schema(schema_with = schema::source)]
    source: IceSource,
    /// When it was revoked.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    revoked_at: Timestamp,
    /// When the credential expires.
    #[schema(value_type = String, format = DateTime, example = "2025-01-16T12:00:00Z")]
    expires_at: Timestamp,
}

/// Billed bytes of this period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BytesBody {
    /// The best figure.
    #[schema(example = 45_230_000_000_u64)]
    used: u64,
    /// The worst case, under the assumption of the bound.
    #[schema(example = 57_230_000_000_u64)]
    committed: u64,
    /// The limit in effect.
    #[schema(example = 1_000_000_000_000_u64)]
    limit: u64,
    /// The configured limit, which applies without an override.
    #[schema(example = 1_000_000_000_000_u64)]
    configured_limit: u64,
    /// Bytes by which the worst case passes the limit.
    #[schema(example = 0)]
    overshoot_bound: u64,
    /// The same if live credentials relay at the highest hourly average that counts have shown in this period; null without a count.
    #[schema(required = true, example = 0)]
    likely_overshoot: Option<u64>,
    /// The provider's own count, up to `status.asOf`; null without one.
    #[schema(required = true, example = 45_100_000_000_u64)]
    measured: Option<u64>,
}

/// The average of the last five minutes, or since the first minute with traffic among them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateBody {
    /// Billed Mbps.
    #[schema(value_type = f64, example = 3.2)]
    mbps: serde_json::Number,
    /// The end of these minutes: now, or the end of the provider's count if that shows a higher rate.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    until: Timestamp,
    /// When the limit is reached at this rate; null if not before the period ends, or if it is reached.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = json!(null))]
    limit_at: Option<Timestamp>,
}

/// The cost of this period. Amounts are strings with two decimals, rounded up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostBody {
    /// `CURRENCY`.
    #[schema(example = "USD")]
    currency: String,
    /// `PRICE_PER_GB`.
    #[serde(rename = "pricePerGB")]
    #[schema(value_type = f64, example = 0.05)]
    price_per_gb: serde_json::Number,
    /// `FREE_GB`: what a period has free of charge.
    #[serde(rename = "freeGB")]
    #[schema(value_type = f64, example = 1000)]
    free_gb: serde_json::Number,
    /// What a used GB costs on average; 0 before the first one.
    #[serde(rename = "averagePerGB")]
    #[schema(value_type = f64, example = 0.0069)]
    average_per_gb: serde_json::Number,
    /// The cost of the bytes used so far.
    #[schema(example = "12.35")]
    so_far: String,
    /// Null in the first day of its use.
    #[schema(required = true)]
    forecast: Option<ForecastBody>,
    /// Each metered source. Cloudflare's TURN service and SFU share the free GB, so their costs can add up to less than that of both.
    by_source: Vec<SourceCostBody>,
}

/// What a source has relayed in this period, and the cost of these bytes alone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceCostBody {
    #[schema(schema_with = schema::grant_source)]
    source: IceSource,
    /// Billed bytes.
    #[schema(example = 1_800_000_000_000_u64)]
    used_bytes: u64,
    #[schema(example = "12.35")]
    cost: String,
}

/// The end of the period, if its average rate since the first use continues.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForecastBody {
    /// Billed bytes.
    #[schema(example = 1_800_000_000_000_u64)]
    used_bytes: u64,
    /// Their cost.
    #[schema(example = "40.00")]
    cost: String,
    /// The first use of the period.
    #[schema(value_type = String, format = DateTime, example = "2025-01-01T00:00:00Z")]
    since: Timestamp,
}

/// The responses to callers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallersBody {
    /// Responses with ICE servers, by source and reason. Zero counts are left out.
    answers: Vec<AnswersBody>,
    /// Mints that got no ICE servers, by the code of the error. Zero counts are left out.
    refusals: Vec<RefusalsBody>,
    /// Mints that the budget refused because credentials of their address reserve its whole share. With `LIMIT_ACTION=fallback` these callers
    /// got a degraded response.
    #[schema(example = 0)]
    address_refused: u64,
}

/// Refusals with one code.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusalsBody {
    /// As in the body of the error.
    #[schema(example = "RATE_LIMITED")]
    code: &'static str,
    /// Number of responses.
    #[schema(example = 17)]
    count: u64,
}

/// Responses of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswersBody {
    #[schema(schema_with = schema::source)]
    source: IceSource,
    /// Why the first source was skipped; null if it was not.
    #[schema(required = true, example = json!(null))]
    reason: Option<&'static str>,
    /// Number of responses.
    #[schema(example = 412)]
    count: u64,
}

/// Connections since the start of the process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCounts {
    /// Opened.
    #[schema(example = 388)]
    opened: u64,
    /// Closed by a call.
    #[schema(example = 371)]
    closed: u64,
    /// Closed after three missed heartbeats.
    #[schema(example = 14)]
    given_up: u64,
    /// Reports that claimed more than one grant or one address may claim.
    #[schema(example = 0)]
    claims_clamped: u64,
}

/// Returns budget, callers and provider in one response.
///
/// Counts begin at the start of the process.
#[utoipa::path(
    get, path = "/api/overview",
    responses((status = 200, description = "Budget, callers, provider.", body = OverviewBody))
)]
pub async fn get_overview(app: AppState) -> Json<OverviewBody> {
    let body = |Revoked { grant, source, revoked_at, expires_at }: Revoked| {
        let grant = grant.to_string();
        RevokedBody { grant, source, revoked_at, expires_at }
    };
    let (snapshot, PresentRate { rate, until, limit_at }, cost, usable, revoked) =
        app.account.read(|books| {
            let (snapshot, grants) = (app.account.snapshot_of(books), books.grants());
            let usable = snapshot.live_grants.saturating_sub(grants.revoked_live(books.now()));
            let revoked = grants.revoked().take(REVOKED_MAX).map(body).collect();
            (snapshot, PresentRate::of(books), cost_body(books), usable, revoked)
        });
    Json(OverviewBody {
        at: snapshot.figures.now,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.clock.instant().saturating_duration_since(app.started).as_secs(),
        bytes: bytes(&snapshot),
        rate: RateBody { mbps: mbps(rate), until, limit_at },
        cost,
        usable,
        alert_percents: app.config.alert_percents.clone(),
        sign_in: app.core.auth.as_ref().is_some_and(|auth| auth.has_keys() || auth.asks_application()),
        status: status(&app, &snapshot, true),
        callers: callers(&app.metrics),
        provider: provider(&app, snapshot.figures.period),
        relays: relays(&app),
        connections: connections(&app.metrics),
        revoked,
        ending: *app.ending.progress.lock(),
        server_keys: server_keys(&app),
        replicas: app.lead.as_deref().map(replicas).unwrap_or_default(),
    })
}

fn server_keys(app: &App) -> Vec<ServerKeyBody> {
    let body = |key: &ServerKey| {
        let (used, limit) = app.account.change(|books| books.server_use(&key.name));
        let name = key.name.as_str().to_owned();
        ServerKeyBody { name, used: used.get(), limit: limit.map(ByteCount::get) }
    };
    app.server_keys.all().iter().map(body).collect()
}

fn replicas(lead: &Lead) -> Vec<ReplicaBody> {
    let body =
        |Replica { url, version, seen_at, .. }| ReplicaBody { leads: url == lead.url, url, version, seen_at };
    lead.replicas.read().iter().cloned().map(body).collect()
}

fn bytes(snapshot: &Snapshot) -> BytesBody {
    let (figures, measured) = (&snapshot.figures, &snapshot.measured);
    BytesBody {
        used: figures.used.get(),
        committed: figures.committed.get(),
        limit: figures.limit.get(),
        configured_limit: snapshot.configured_limit.get(),
        overshoot_bound: figures.overshoot_bound().get(),
        likely_overshoot: snapshot.likely_overshoot.map(ByteCount::get),
        measured: measured.as_of.map(|_| measured.bytes.get()),
    }
}

/// What the period costs.
fn cost_body(books: &Books) -> CostBody {
    let (AlertCost { currency, so_far, forecast }, budget) = (AlertCost::of(books), books.budget());
    let (since, (_, tariff)) = (budget.used_since(), books.cost_of(budget.period));
    let of_source = |(source, used): (IceSource, ByteCount)| {
        let cost = tariff.cost_of(&BTreeMap::from([(source, used)])).to_string();
        SourceCostBody { source, used_bytes: used.get(), cost }
    };
    let forecast_body =
        |Forecast { used, cost }| ForecastBody { used_bytes: used.get(), cost: cost.to_string(), since };
    CostBody {
        currency,
        price_per_gb: plain_number(tariff.prices.usual.per_gb.as_units()),
        free_gb: plain_number(tariff.prices.usual.free.as_gb()),
        average_per_gb: plain_number(so_far.as_units() / budget.figures().used.as_gb()),
        so_far: so_far.to_string(),
        forecast: forecast.map(forecast_body),
        by_source: budget.used_by_source(budget.period).into_iter().map(of_source).collect(),
    }
}

fn callers(metrics: &Metrics) -> CallersBody {
    let reasons = || std::iter::once(None).chain(StopCode::REASONS.map(Some));
    let kinds = IceSource::named().flat_map(|source| reasons().map(move |reason| (source, reason)));
    let answers = kinds.filter_map(|(source, reason)| {
        let reason = reason.map(StopCode::reason);
        let count = metrics.credentials.get([source.name(), reason.unwrap_or("none")]);
        (count > 0).then_some(AnswersBody { source, reason, count })
    });
    let codes = Code::VARIANTS.iter().map(<&str>::from);
    let refusals = codes.map(|code| RefusalsBody { code, count: metrics.mint_refusals.get([code]) });
    CallersBody {
        answers: answers.collect(),
        refusals: refusals.filter(|refusals| refusals.count > 0).collect(),
        address_refused: metrics.address_refusals.get(),
    }
}

fn connections(metrics: &Metrics) -> ConnectionCounts {
    ConnectionCounts {
        opened: metrics.connections_opened.get(),
        closed: metrics.connections_ended.get(["closed"]),
        given_up: metrics.connections_ended.get(["given_up"]),
        claims_clamped: metrics.claims_clamped.get(),
    }
}

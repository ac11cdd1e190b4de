//! `GET /api/bandwidth-status`: usage, where the figure comes from, and how far usage can still pass the limit.
//! Tests: `tests/it/bandwidth_status.rs`.
//! The first seven fields never change their names, types and rounding.

use super::hints::HintBody;
use super::operator::is_operator;
use super::overview::relays::{DrainingBody, draining};
use super::prelude::*;
use crate::alert::{MintingBody, faults};
use crate::app::bound_assumes;
use crate::json::plain_number;
use crate::rate::PresentRate;
use turn_ledger::{BitRate, PeriodCounts, Snapshot};

const HOUR_MILLIS: u128 = 3_600_000;

/// The state of the budget.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "independent fields of a response")]
pub struct StatusBody {
    /// Billed GB of this period, two decimals.
    #[serde(rename = "bandwidthUsedGB")]
    #[schema(example = "45.23")]
    bandwidth_used_gb: String,
    /// The limit in GB.
    #[serde(rename = "bandwidthLimitGB")]
    #[schema(value_type = f64, example = 1000)]
    bandwidth_limit_gb: serde_json::Number,
    /// Usage in percent of the limit, two decimals.
    #[schema(value_type = f64, example = 4.52)]
    percentage: serde_json::Number,
    /// GB left, two decimals; never below zero.
    #[serde(rename = "remainingGB")]
    #[schema(example = "954.77")]
    remaining_gb: String,
    /// When the period ends.
    #[schema(value_type = String, format = DateTime, example = "2025-02-01T00:00:00Z")]
    reset_date: Timestamp,
    /// Reported connections that are open, and sessions of the SFU that pull.
    #[schema(example = 3)]
    active_connections: usize,
    /// Whether the limit is reached.
    #[schema(schema_with = schema::budget_status)]
    status: &'static str,
    /// When the period began.
    #[schema(value_type = String, format = DateTime, example = "2025-01-01T00:00:00Z")]
    period_start: Timestamp,
    /// Where the figure comes from.
    #[schema(schema_with = schema::knowledge)]
    source: &'static str,
    /// The end of the provider's own count; null without one.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T11:58:00Z")]
    as_of: Option<Timestamp>,
    /// Whether the provider's count is older than it should be.
    #[schema(example = false)]
    stale: bool,
    /// GB that live credentials could still use, at the assumed rate, rounded up.
    #[serde(rename = "reservedGB")]
    #[schema(example = "12.00")]
    reserved_gb: String,
    /// GB that sampling may have missed in the counts and that `reservedGB` does not include, rounded up. The bound is the used GB, plus
    /// the reserved ones, plus these, minus the limit.
    #[serde(rename = "samplingMarginGB")]
    #[schema(example = "2.38")]
    sampling_margin_gb: String,
    /// GB by which usage can still pass the limit, in the worst case, rounded up.
    #[serde(rename = "overshootBoundGB")]
    #[schema(example = "0.00")]
    overshoot_bound_gb: String,
    /// The same if live credentials relay at the highest hourly average that counts have shown in this period; null without a count.
    #[serde(rename = "likelyOvershootGB")]
    #[schema(required = true, example = "0.00")]
    likely_overshoot_gb: Option<String>,
    /// The assumption behind the bound, for people.
    #[schema(example = "2 Mbps per grant until 7200 s after expiry")]
    bound_assumes: String,
    /// Whether the bound can be relied on. It cannot if the provider's count contradicts the assumption, is in doubt, has
    /// fallen or settles later than the lag; if the wall clock contradicts the period or has jumped ahead; or while another replica
    /// may lead.
    bound_holds: bool,
    /// Average rate of one live grant at the source where it is highest, in Mbps; null without two readings to compare.
    #[schema(value_type = Option<f64>, required = true, example = 0.7)]
    observed_mbps_per_grant: Option<serde_json::Number>,
    /// Grants of this period.
    grants: GrantsBody,
    /// GB an hour of the five minutes before `rateUntil`, as `rate` of `GET /api/overview`; two decimals.
    #[serde(rename = "rateGBPerHour")]
    #[schema(example = "0.40")]
    rate_gb_per_hour: String,
    /// Now, or the end of the provider's count if that shows a higher rate.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    rate_until: Timestamp,
    /// When the limit is reached at this rate; null if not before the period ends, or if it is reached.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-29T18:00:00Z")]
    limit_reached_at: Option<Timestamp>,
    /// Billed bytes of this period.
    #[schema(example = 45_230_000_000_u64)]
    used_bytes: u64,
    /// Whether the ledger survives a restart.
    durable: bool,
    /// Whether the operator has stopped all minting.
    #[schema(example = false)]
    frozen: bool,
    /// Whether a metered credential would be issued now, and why not.
    minting: MintingBody,
    /// The operator's own relays that are drained: they get no new credentials, and their calls come to an end. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    draining: Vec<DrainingBody>,
    /// What makes the figures unreliable, and what to do about it. An empty list is normal.
    #[schema(example = json!([]))]
    hints: Vec<HintBody>,
}

/// Counts of grants.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantsBody {
    /// Credentials issued in this period.
    #[schema(example = 412)]
    issued: u64,
    /// Live grants. A grant stays live while relaying can outlive its credential.
    #[schema(example = 6)]
    live: u64,
    /// Grants with bytes in the last half hour, as counted or, later, as reported.
    #[schema(example = 2)]
    relaying: usize,
    /// Grants whose first connection was reported in this period.
    #[schema(example = 388)]
    reported: u64,
}

/// Returns the usage of this period and what is left of the budget.
///
/// The first seven fields never change their names, types and rounding. With the operator token, messages also say what is known of the
/// case, such as the host that failed.
#[utoipa::path(
    get, path = "/api/bandwidth-status",
    responses((status = 200, description = "The state of the budget.", body = StatusBody))
)]
pub async fn get_bandwidth_status(app: AppState, request: Request) -> Json<StatusBody> {
    Json(status(&app, &app.account.snapshot(), is_operator(&app, &request)))
}

/// The response for `snapshot`.
pub(super) fn status(app: &App, snapshot: &Snapshot, is_for_operator: bool) -> StatusBody {
    let (figures, measured) = (&snapshot.figures, &snapshot.measured);
    let PeriodCounts { issued, reported, .. } = snapshot.counts;
    // A snapshot does not have these figures.
    let relaying = app.account.read(|books| books.grants().relaying());
    let facts = app.facts();
    let PresentRate { rate, until, limit_at } = facts.rate;
    let pulling_sessions = app.sfu.as_ref().map_or(0, |proxy| proxy.pulling());
    StatusBody {
        bandwidth_used_gb: figures.used.gb_nearest(),
        bandwidth_limit_gb: plain_number(figures.limit.as_gb()),
        percentage: plain_number(figures.used.percent_of(figures.limit)),
        remaining_gb: figures.remaining().gb_nearest(),
        reset_date: figures.period.end,
        active_connections: snapshot.open_connections.saturating_add(pulling_sessions),
        status: if figures.is_spent() { "LIMIT_EXCEEDED" } else { "OK" },
        period_start: figures.period.start,
        source: if measured.as_of.is_some() { "measured+estimate" } else { "estimate" },
        as_of: measured.as_of,
        stale: measured.is_stale(),
        reserved_gb: figures.committed.minus(figures.used).gb_up(),
        sampling_margin_gb: figures.margin.gb_up(),
        overshoot_bound_gb: figures.overshoot_bound().gb_up(),
        likely_overshoot_gb: snapshot.likely_overshoot.map(ByteCount::gb_up),
        bound_assumes: bound_assumes(&app.config, measured, snapshot.foreign_sessions),
        bound_holds: snapshot.bound_holds(),
        observed_mbps_per_grant: measured.observed.map(mbps),
        grants: GrantsBody { issued, live: snapshot.live_grants, relaying, reported },
        rate_gb_per_hour: ByteCount::saturating(rate.over_millis(HOUR_MILLIS)).gb_nearest(),
        rate_until: until,
        limit_reached_at: limit_at,
        used_bytes: figures.used.get(),
        durable: app.is_durable(),
        frozen: snapshot.frozen,
        minting: app.minting(snapshot, is_for_operator).into(),
        draining: draining(app),
        hints: faults(snapshot, &facts, &app.config)
            .into_iter()
            .map(|found| HintBody::of(found, is_for_operator))
            .collect(),
    }
}

/// Mbps with three decimals.
pub(super) fn mbps(rate: BitRate) -> serde_json::Number {
    plain_number((rate.as_mbps() * 1_000.0).round() / 1_000.0)
}

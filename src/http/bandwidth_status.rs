//! `GET /api/bandwidth-status`: usage, where the figure comes from, and how far usage can still pass the limit. The first
//! seven fields never change their names, types and rounding.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::openapi::one_of;
use crate::app::App;
use crate::json::plain_number;
use crate::limit::proxies::Unread;
use turn_ledger::books::{CLOCK_DIFFERENCE_TOLERATED, Snapshot};
use turn_ledger::ledger::LateCounts;
use turn_ledger::units::{BitRate, Timestamp};

/// How long after a clamped claim the hint is shown.
const CLAMPED_SHOWN: Duration = Duration::from_secs(3_600);
/// With a count that is no older than this, the estimate hardly matters.
const LIVE_COUNT_AGE_MAX: Duration = Duration::from_secs(60);

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
    #[schema(value_type = String, format = DateTime)]
    reset_date: Timestamp,
    /// Reported connections that are open.
    #[schema(example = 3)]
    active_connections: usize,
    /// Whether the limit is reached.
    #[schema(schema_with = status_schema)]
    status: &'static str,
    /// When the period began.
    #[schema(value_type = String, format = DateTime)]
    period_start: Timestamp,
    /// Where the figure comes from.
    #[schema(schema_with = knowledge_schema)]
    source: &'static str,
    /// The end of the provider's own count; null without one.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    as_of: Option<Timestamp>,
    /// Whether the provider's count is older than it should be.
    stale: bool,
    /// GB that live credentials could still use, at the assumed rate, rounded up.
    #[serde(rename = "reservedGB")]
    #[schema(example = "12.00")]
    reserved_gb: String,
    /// GB by which usage can still pass the limit, in the worst case, rounded up.
    #[serde(rename = "overshootBoundGB")]
    #[schema(example = "0.00")]
    overshoot_bound_gb: String,
    /// The assumption behind the bound, for people.
    #[schema(example = "2 Mbps per grant until 7200 s after expiry")]
    bound_assumes: String,
    /// Whether the bound can be relied on: the provider's count does not contradict its assumption, nor the wall clock the
    /// period, and settles within the lag.
    bound_holds: bool,
    /// Observed average rate of one live grant, in Mbps; null without two readings to compare.
    #[schema(value_type = Option<f64>, required = true, example = 0.7)]
    observed_mbps_per_grant: Option<serde_json::Number>,
    /// Grants of this period.
    grants: GrantsBody,
    /// Billed bytes of this period.
    used_bytes: u64,
    /// Whether the ledger survives a restart.
    durable: bool,
    /// Whether the operator has stopped all minting.
    frozen: bool,
    /// What makes the figures unreliable, and what to do about it. An empty list is normal.
    hints: Vec<HintBody>,
}

/// Counts of grants.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantsBody {
    /// Credentials issued in this period.
    issued: u64,
    /// Live grants. A grant stays live while relaying can outlive its credential.
    live: u64,
    /// Grants whose first connection was reported in this period.
    reported: u64,
}

/// Something that makes the figures unreliable.
#[derive(Debug, Serialize, ToSchema)]
pub struct HintBody {
    /// Stable identifier for programs.
    #[schema(example = "NO_REPORTS")]
    code: &'static str,
    /// What it means, and what to do.
    message: String,
}

fn status_schema() -> RefOr<Schema> {
    one_of(["OK", "LIMIT_EXCEEDED"], "`LIMIT_EXCEEDED` as soon as usage has reached the limit.")
}

fn knowledge_schema() -> RefOr<Schema> {
    one_of(
        ["estimate", "measured+estimate"],
        "Where the figure comes from. `measured` is the provider's own count up to `asOf`.",
    )
}

/// Returns the usage of this period and what is left of the budget.
///
/// The first seven fields never change their names, types and rounding.
#[utoipa::path(
    get,
    path = "/api/bandwidth-status",
    operation_id = "getBandwidthStatus",
    tag = "budget",
    responses((status = 200, description = "The state of the budget.", body = StatusBody))
)]
pub async fn get_status(State(app): State<Arc<App>>) -> Json<StatusBody> {
    Json(status(&app, &app.account.snapshot()))
}

impl StatusBody {
    /// The limit in GB.
    pub(super) fn limit_gb(&self) -> &serde_json::Number {
        &self.bandwidth_limit_gb
    }
}

/// The response for `snapshot`.
pub(super) fn status(app: &App, snapshot: &Snapshot) -> StatusBody {
    let (figures, measured) = (&snapshot.figures, &snapshot.measured);
    StatusBody {
        bandwidth_used_gb: figures.used.gb_nearest(),
        bandwidth_limit_gb: plain_number(figures.limit.as_gb()),
        percentage: plain_number(figures.used.percent_of(figures.limit)),
        remaining_gb: figures.remaining().gb_nearest(),
        reset_date: figures.period.end,
        active_connections: snapshot.open_connections,
        status: if figures.is_spent() { "LIMIT_EXCEEDED" } else { "OK" },
        period_start: figures.period.start,
        source: if measured.as_of.is_some() { "measured+estimate" } else { "estimate" },
        as_of: measured.as_of,
        stale: measured.is_stale(),
        reserved_gb: figures.reserved().gb_up(),
        overshoot_bound_gb: figures.overshoot_bound().gb_up(),
        bound_assumes: app.bound_terms.in_words(measured.assumption),
        bound_holds: snapshot.bound_holds(),
        observed_mbps_per_grant: measured.observed.map(mbps),
        grants: GrantsBody {
            issued: snapshot.counts.issued,
            live: snapshot.live_grants,
            reported: snapshot.counts.reported,
        },
        used_bytes: figures.used.get(),
        durable: app.account.is_durable(),
        frozen: snapshot.frozen,
        hints: hints(app, snapshot),
    }
}

/// Three decimals.
fn mbps(rate: BitRate) -> serde_json::Number {
    plain_number((rate.as_mbps() * 1_000.0).round() / 1_000.0)
}

fn hints(app: &App, snapshot: &Snapshot) -> Vec<HintBody> {
    let measured = &snapshot.measured;
    let bound = snapshot.figures.overshoot_bound();
    let mut hints = Vec::new();
    let mut hint = |applies: bool, code, message: &str| {
        if applies {
            hints.push(HintBody { code, message: message.to_owned() });
        }
    };
    // A relay whose bytes are counted live needs no reports.
    let is_live = measured.as_of.is_some_and(|as_of| snapshot.figures.now.since(as_of) <= LIVE_COUNT_AGE_MAX);
    hint(
        snapshot.counts.connections == 0 && snapshot.open_connections == 0 && !is_live,
        "NO_REPORTS",
        "no client has reported a connection: the estimate cannot see usage. Report connections from the page or the app server (POST /api/connections).",
    );
    hint(
        app.bills_unread,
        "NO_ANALYTICS",
        "usage is estimated from reports only, because Cloudflare's own count is not read. Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN.",
    );
    hint(
        app.reads_all_keys,
        "NO_TURN_KEY",
        "Cloudflare's count is read without a TURN key: all TURN bytes of the account count as those of credentials issued here, so boundHolds can be false without a cause. Set CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN.",
    );
    hint(
        measured.is_stale(),
        "ANALYTICS_STALE",
        "the provider's count could not be read for more than 10 minutes: usage after asOf is estimated. See the log.",
    );
    hint(
        !measured.assumption.holds,
        "ASSUMPTION_BROKEN",
        "live credentials relay more or longer than assumed: the bound is unreliable. Raise LIABILITY_MBPS_PER_GRANT or TURN_EXPIRY_TAIL_SECONDS, and check who else uses the TURN key.",
    );
    hint(
        measured.doubted,
        "COUNT_DOUBTED",
        "Cloudflare's count grew by more than ten times what live credentials could relay, and by a tenth of the limit: it is ignored until the next count confirms it. If it is right, the bound is wrong. Compare it with Cloudflare's dashboard.",
    );
    hint(
        measured.dropped,
        "READING_DROPPED",
        "the operator has dropped the provider's count: until the next one, usage of other keys and of the SFU is not counted, and the bound is unreliable. Wait for the next count.",
    );
    if let Some(LateCounts { lag, grows }) = measured.late_counts {
        let doubt = if grows { ": the bound is unreliable until an hour without growth" } else { "" };
        let lag = lag.as_secs();
        hint(
            true,
            "COUNTS_LATE",
            &format!(
                "Cloudflare's counts grew after ANALYTICS_LAG_SECONDS{doubt}. The broker now waits {lag} s. Set ANALYTICS_LAG_SECONDS to {lag}."
            ),
        );
    }
    hint(
        snapshot.frozen,
        "FROZEN",
        "the operator has stopped minting: new callers get STUN only. Send {\"frozen\": false} to POST /api/budget/freeze to resume.",
    );
    hint(!app.mint.enabled, "DISABLED", "TURN_ENABLED is false: new callers get STUN only.");
    hint(
        snapshot.promised_in_full,
        "PROMISED_IN_FULL",
        "strict mode cannot reserve another credential of 5 minutes: live credentials could use up the limit. Wait for the next count or the reset, raise the limit, or shorten TURN_TTL_SECONDS.",
    );
    if let Some(Unread { forwarded, of }) = app.untrusted_proxies.seen() {
        hint(
            true,
            "PROXY_NOT_TRUSTED",
            &format!(
                "{forwarded} of the last {of} requests for credentials had an X-Forwarded-For that was not read, because TRUSTED_PROXIES does not name their sender. If a proxy sends it, all clients behind it share the allowances of one: add its address to TRUSTED_PROXIES."
            ),
        );
    }
    hint(
        app.mint.provider_is_up() == Some(false),
        "PROVIDER_DOWN",
        "Cloudflare does not mint: new callers get the next of ICE_SOURCES. The log states the reason. If it is the key or the token, correct CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN.",
    );
    hint(
        snapshot.counts.clamped_at.is_some_and(|at| snapshot.figures.now.since(at) <= CLAMPED_SHOWN),
        "CLAIMS_CLAMPED",
        "clients have reported more than one grant or one address may claim, and the excess was not charged. If many people share an address, raise CLAIMS_MBPS_PER_CLIENT; otherwise somebody reports falsely.",
    );
    hint(
        !app.account.is_durable(),
        "NOT_DURABLE",
        "the ledger is in memory only: a restart loses this period's usage. Set STATE_DIR.",
    );
    hint(
        snapshot.clock_behind > CLOCK_DIFFERENCE_TOLERATED,
        "CLOCK_BEHIND",
        "the machine's clock is behind the ledger: it was set back, or was ahead before. The ledger keeps the later time. Correct the clock.",
    );
    hint(
        snapshot.clock_ahead > CLOCK_DIFFERENCE_TOLERATED,
        "CLOCK_AHEAD",
        "the machine's clock has jumped ahead: the ledger keeps its own time until Cloudflare's clock confirms the jump, or for 5 minutes if no response of Cloudflare says otherwise. Check the clock.",
    );
    hint(
        measured.jumped_until > snapshot.figures.now,
        "CLOCK_JUMPED",
        "the ledger has followed a jump of the machine's clock. If the clock was wrong before or is wrong now, credentials minted before the jump relay for longer than is reserved: the bound is unreliable until they have ended. Check the clock.",
    );
    hint(
        bound.get() > 0,
        "BOUND_ABOVE_LIMIT",
        &format!(
            "live credentials could take usage {} GB past the limit: shorten TURN_TTL_SECONDS, or lower LIABILITY_MBPS_PER_GRANT if your calls use less.",
            bound.gb_up()
        ),
    );
    hints
}

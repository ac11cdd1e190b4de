//! Health checks. Tests: `tests/it/operator.rs`.
//! `/health`: the process is alive. `/ready`: it can serve. A process that shuts down is alive and not ready. `/leader`: it leads the
//! replicas of its ledger.

use std::sync::atomic::Ordering;

use axum::http::HeaderName;

use super::operator::is_operator;
use super::prelude::*;
use super::refusals::not_minted;
use crate::alert::{Fault, MintingBody, StopCode};
use crate::app::process::Process;
use crate::forward::PROOF;

/// The process is alive.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthBody {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Seconds since the process started.
    #[schema(example = 86_400)]
    uptime_seconds: u64,
    /// Version of this program.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Whether this replica leads. Absent where no other can: without `DATABASE_URL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::role, required = false)]
    role: Option<&'static str>,
}

impl HealthBody {
    pub(super) fn of(process: &Process, role: Option<&'static str>) -> Self {
        let uptime = process.clock.instant().saturating_duration_since(process.started);
        Self { status: "ok", uptime_seconds: uptime.as_secs(), version: env!("CARGO_PKG_VERSION"), role }
    }
}

/// This replica leads.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeaderBody {
    /// Always `leader`.
    #[schema(example = "leader")]
    role: &'static str,
}

/// The process can serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyBody {
    /// Always `ready`.
    #[schema(example = "ready")]
    pub(super) status: &'static str,
    /// Whether the provider mints, and one of the relays answers the probes: `up` or `down`. While it is down, callers get the next of
    /// `ICE_SOURCES`, or else a relay that fails the probes, so the process is ready. Absent if no provider is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::provider, required = false)]
    pub(super) provider: Option<&'static str>,
    /// Whether a metered credential would be issued now, and why not. Absent at a standby.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = MintingBody, required = false)]
    pub(super) minting: Option<MintingBody>,
    /// Why this replica could not lead, or what to change about the settings of the replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "the leader has other settings: give all replicas the same")]
    pub(super) warning: Option<String>,
}

/// Checks that the process is alive.
///
/// 200 as long as the process can respond.
#[utoipa::path(
    get, path = "/health",
    responses((status = 200, description = "The process is alive.", body = HealthBody))
)]
pub async fn get_health(app: AppState) -> Json<HealthBody> {
    Json(HealthBody::of(&app, app.lead.as_ref().map(|_| "leader")))
}

/// Checks that the process can serve.
///
/// For a load balancer: 503 while the ledger cannot be written and while the process shuts down.
#[utoipa::path(
    get, path = "/ready",
    responses(
        (status = 200, description = "The process can serve.", body = ReadyBody),
        (status = 503, description = "`SHUTTING_DOWN`: the process is shutting down.\n\n`LEDGER_UNAVAILABLE`: the last write failed.\n\n`NO_LEADER`: no leader of several replicas can be reached.", body = ErrorBody),
    )
)]
pub async fn get_ready(app: AppState, request: Request) -> JsonResult<ReadyBody> {
    if app.draining.load(Ordering::Relaxed) {
        return Err(ApiError::shutting_down());
    }
    let (snapshot, is_for_operator) = (app.account.snapshot(), is_operator(&app, &request));
    let minting = app.minting(&snapshot, is_for_operator);
    if !app.account.is_writable() {
        let error = not_minted(StopCode::LedgerUnavailable);
        return Err(match minting {
            Err(stop) if is_for_operator => error.message(stop.message),
            _ => error,
        });
    }
    let minting = Some(minting.into());
    let faults = app.faults(&snapshot);
    let found = |fault| faults.iter().find(|found| found.fault == fault);
    let is_down = found(Fault::ProviderDown).is_some();
    let provider = if is_down { Some("down") } else { app.mint.has_provider().then_some("up") };
    let differ = found(Fault::ReplicasDiffer);
    let warning = differ.map(|found| {
        if is_for_operator { found.detail.clone() } else { found.fault.facts().sentence.to_owned() }
    });
    Ok(Json(ReadyBody { status: "ready", provider, minting, warning }))
}

/// Checks that this replica leads.
///
/// For a load balancer that sends all requests to the leader. Without `DATABASE_URL` the only process leads.
#[utoipa::path(
    get, path = "/leader",
    responses(
        (status = 200, description = "This replica leads.", body = LeaderBody),
        (status = 503, description = "`NO_LEADER`: this replica does not lead, or is not sure that it still leads.", body = ErrorBody),
    )
)]
pub async fn get_leader(
    app: AppState,
    request: Request,
) -> (Option<[(HeaderName, HeaderValue); 1]>, JsonResult<LeaderBody>) {
    // If another replica asks, this one proves that it has the books, even while it may not write them.
    let key_and_lead = app.forward_key.as_ref().zip(app.lead.as_ref());
    let proof = key_and_lead.and_then(|(key, lead)| key.prove(&request, &lead.url));
    let leads = !app.draining.load(Ordering::Relaxed) && app.account.holds_lease();
    let body = if leads { Ok(Json(LeaderBody { role: "leader" })) } else { Err(ApiError::no_leader()) };
    (proof.map(|proof| [(PROOF, proof)]), body)
}

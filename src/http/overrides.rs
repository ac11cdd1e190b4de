//! Operator overrides while the service runs: change the limit, stop minting, revoke a credential.
//! Tests: `tests/it/overrides.rs`.
//! An override is in effect when its response is sent, and survives a restart if the ledger does.

use std::borrow::Cow;

use serde_json::Value;

use super::bandwidth_status::{StatusBody, status};
use super::prelude::*;
use crate::config::AMOUNT_MAX;
use crate::json::plain_number;
use crate::mint::{Revocation, why_failed};
use turn_base::read_json;
use turn_ledger::GrantId;

/// A new limit.
#[derive(Deserialize, ToSchema)]
pub struct LimitOverride {
    /// The new limit in GB, with decimals if needed. Null restores `BANDWIDTH_LIMIT_GB`. Required.
    #[serde(rename = "limitGB", alias = "bandwidthLimitGB", default = "missing")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000, required = true, example = 1500)]
    limit: Value,
}

/// Stands for an absent `limitGB`, because null is a valid value.
fn missing() -> Value {
    Value::Bool(false)
}

/// The kill switch.
#[derive(Deserialize, ToSchema)]
pub struct FreezeOverride {
    /// True stops minting, false resumes it. True if absent.
    #[serde(default = "yes")]
    frozen: bool,
}

fn yes() -> bool {
    true
}

/// Raises or lowers the limit.
///
/// The new limit applies to this and all later periods, until `BANDWIDTH_LIMIT_GB` is configured to another value.
#[utoipa::path(
    post, path = "/api/budget/limit",
    request_body(content = LimitOverride, description = "JSON. The `Content-Type` is ignored.", example = json!({"limitGB": 1500})),
    responses(
        (status = 200, description = "The state of the budget under the new limit.", body = StatusBody),
        (status = 400, description = "`INVALID_REQUEST`: `limitGB` is missing, or is neither null nor a number from 0 to 1000000.", body = ErrorBody),
    )
)]
pub async fn set_limit(app: AppState, request: Request) -> JsonResult<StatusBody> {
    let LimitOverride { limit } = read_json(request).await?;
    let expected = "Set `limitGB` to a number from 0 to 1000000, or to null for BANDWIDTH_LIMIT_GB.";
    let invalid = || ApiError::invalid(expected);
    let limit = match limit.as_f64() {
        Some(gb) if gb <= AMOUNT_MAX => Some(ByteCount::from_gb(gb).ok_or_else(invalid)?),
        None if limit.is_null() => None,
        Some(_) | None => return Err(invalid()),
    };
    app.account.record_change(|books| books.override_limit(limit)).await?;
    let snapshot = app.account.snapshot();
    let gb = plain_number(snapshot.figures.limit.as_gb());
    tracing::warn!("the operator has set the limit to {gb} GB/month");
    Ok(Json(status(&app, &snapshot, true)))
}

/// Stops or resumes minting.
///
/// While minting is stopped, new callers get public STUN servers with the reason `DISABLED`. Running calls continue.
#[utoipa::path(
    post, path = "/api/budget/freeze",
    request_body(content = FreezeOverride, example = json!({"frozen": true})),
    responses((status = 200, description = "The state of the budget.", body = StatusBody))
)]
pub async fn set_frozen(app: AppState, request: Request) -> JsonResult<StatusBody> {
    let FreezeOverride { frozen } = read_json(request).await?;
    app.account.record_change(|books| books.override_freeze(frozen)).await?;
    tracing::warn!(frozen, "the operator has used the kill switch");
    Ok(Json(status(&app, &app.account.snapshot(), true)))
}

/// The result of a revocation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationBody {
    /// The grant's id.
    #[schema(example = "nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    grant: String,
    /// Always true: the grant cannot be renewed.
    revoked: bool,
    #[schema(schema_with = schema::grant_source)]
    source: IceSource,
    /// What the source did.
    #[schema(schema_with = schema::revocation)]
    provider: &'static str,
    /// When the grant was revoked, which is the time of the first of several calls.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    revoked_at: Timestamp,
    /// When the credential expires.
    #[schema(value_type = String, format = DateTime, example = "2025-01-16T12:00:00Z")]
    expires_at: Timestamp,
    /// Always false: the bytes reserved for the credential stay reserved. Only the relay in the process releases them, within seconds,
    /// once its sessions have ended.
    #[schema(example = false)]
    reservation_released: bool,
    /// What the result means, for people.
    #[schema(example = "The provider has revoked the credential.")]
    message: Cow<'static, str>,
}

/// Revokes one credential.
///
/// The grant cannot be renewed, its open connections are closed, and every further report with it gets a 401. The source is
/// asked to revoke the credential. The bytes reserved for it stay reserved, except at the relay in the process, where they are
/// released once its sessions have ended.
#[utoipa::path(
    post, path = "/api/credentials/{grant}/revoke",
    params(("grant" = String, Path, description = "The grant's id, as in the log and in `GET /api/connections`, or its token.")),
    responses(
        (status = 200, description = "The result of the revocation.", body = RevocationBody),
        (status = 404, description = "`NOT_FOUND`: the credential has expired, was not issued here, or comes from the source `manual`.", body = ErrorBody),
    )
)]
pub async fn revoke_credential(app: AppState, Path(grant): Path<String>) -> JsonResult<RevocationBody> {
    let id =
        grant.parse::<GrantId>().ok().or_else(|| app.mint.grant_keys.verify(&grant).map(|grant| grant.id));
    let unknown = || {
        ApiError::not_found("Check the grant: no live credential has it. It is expired, or not issued here.")
    };
    let id = id.ok_or_else(unknown)?;
    let issued = app.account.revoke(id).ok_or_else(unknown)?;
    // The source is asked also if the ledger cannot be written now: that error is returned last.
    let recorded = app.account.recorded().await;
    let (revocation, source_status) = app.mint.revoke(id, &issued).await;
    let provider = revocation.into();
    tracing::warn!(grant.id = %id, provider, "the operator has revoked a credential");
    recorded?;
    Ok(Json(RevocationBody {
        grant: id.to_string(),
        revoked: true,
        source: issued.source,
        provider,
        revoked_at: issued.extra().revoked_at.unwrap_or_default(),
        expires_at: issued.expires_at,
        reservation_released: false,
        message: message(revocation, source_status, issued.source),
    }))
}

fn message(revocation: Revocation, source_status: Option<u16>, source: IceSource) -> Cow<'static, str> {
    let said = match revocation {
        Revocation::Done => {
            "The provider has revoked the credential. Relaying in progress may continue, and new allocations have been observed for some minutes after a revocation, so the bytes reserved for it stay reserved."
        }
        Revocation::Unknown => {
            "The provider does not know the credential. Relaying in progress may continue, so the bytes reserved for it stay reserved."
        }
        Revocation::Failed => {
            let why = why_failed(source_status);
            return format!("The credential still works: {why}. It cannot be renewed. The source is asked again every 10 s.").into();
        }
        Revocation::Cut if source.refuses_revoked() => {
            "The sessions of the credential are ended within seconds, and new ones are refused. Then the bytes reserved for it are released."
        }
        Revocation::Cut => {
            "The sessions of the credential are ended within seconds, and so are new ones until it expires. The bytes reserved for it stay reserved until then."
        }
        Revocation::Unsupported => {
            "This source cannot revoke: it works until it expires, and cannot be renewed."
        }
    };
    said.into()
}

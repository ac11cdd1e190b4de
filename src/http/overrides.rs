//! What the operator orders while the service runs: another limit, the kill switch, the end of one credential. An order
//! counts from the moment of its answer, and outlives a restart where the ledger does.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::bandwidth_status::{StatusBody, status};
use super::body::read_json;
use super::credentials::source_schema;
use super::error::{ApiError, ErrorBody};
use super::openapi::one_of;
use crate::app::App;
use crate::mint::Revocation;
use turn_ledger::books::NotRecorded;
use turn_ledger::source::IceSource;
use turn_ledger::token::GrantId;
use turn_ledger::units::{ByteCount, Timestamp};

/// Largest limit that is taken for meant, as in the configuration.
const LIMIT_GB_MAX: f64 = 1_000_000.0;

/// A JSON body, whatever its content type says.
pub struct JsonBody<T>(T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        read_json(request).await.map(Self)
    }
}

/// Another limit.
#[derive(Deserialize, ToSchema)]
pub struct LimitOverride {
    /// GB, decimals allowed; null goes back to `BANDWIDTH_LIMIT_GB`. Must be there.
    #[serde(rename = "limitGB", alias = "bandwidthLimitGB", default)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000, required = true, example = 1500)]
    limit: LimitGb,
}

/// A limit, or the word that takes it back.
#[derive(Default)]
enum LimitGb {
    #[default]
    Missing,
    Configured,
    Gb(f64),
}

impl<'de> Deserialize<'de> for LimitGb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|gb| gb.map_or(Self::Configured, Self::Gb))
    }
}

/// The kill switch.
#[derive(Deserialize, ToSchema)]
pub struct FreezeOrder {
    /// Whether nothing is minted: true stops, false allows again. True if absent.
    #[serde(default = "yes")]
    frozen: bool,
}

fn yes() -> bool {
    true
}

/// Raises or lowers the limit.
///
/// Of this period and of those after it. A `BANDWIDTH_LIMIT_GB` that is configured later wins.
#[utoipa::path(
    post,
    path = "/api/budget/limit",
    operation_id = "orderLimit",
    tag = "operator",
    request_body(content = LimitOverride, description = "JSON, whatever the `Content-Type` says", example = json!({"limitGB": 1500})),
    responses(
        (status = 200, description = "The state of the budget under the new limit.", body = StatusBody),
        (status = 400, description = "`INVALID_REQUEST`: `limitGB` is missing, or no number from 0 to 1000000 and not null.", body = ErrorBody),
    )
)]
pub async fn override_limit(
    State(app): State<Arc<App>>,
    JsonBody(order): JsonBody<LimitOverride>,
) -> Result<Json<StatusBody>, ApiError> {
    let expected = "`limitGB` is to be a number from 0 to 1000000, or null for BANDWIDTH_LIMIT_GB.";
    let invalid = || ApiError::invalid(expected);
    let limit = match order.limit {
        LimitGb::Gb(gb) if gb <= LIMIT_GB_MAX => Some(ByteCount::from_gb(gb).ok_or_else(invalid)?),
        LimitGb::Configured => None,
        LimitGb::Gb(_) | LimitGb::Missing => return Err(invalid()),
    };
    app.account.override_limit(limit).await.map_err(not_recorded)?;
    let status = status(&app, &app.account.snapshot());
    tracing::warn!("the operator has set the limit to {} GB/month", status.limit_gb());
    Ok(Json(status))
}

/// Stops all minting, or allows it again.
///
/// While it is stopped, answers are public STUN servers with the reason `DISABLED`. Credentials that are out go on working.
#[utoipa::path(
    post,
    path = "/api/budget/freeze",
    operation_id = "orderFreeze",
    tag = "operator",
    request_body(content = FreezeOrder, example = json!({"frozen": true})),
    responses(
        (status = 200, description = "The state of the budget.", body = StatusBody),
    )
)]
pub async fn override_freeze(
    State(app): State<Arc<App>>,
    JsonBody(order): JsonBody<FreezeOrder>,
) -> Result<Json<StatusBody>, ApiError> {
    app.account.override_freeze(order.frozen).await.map_err(not_recorded)?;
    tracing::warn!(frozen = order.frozen, "the operator has used the kill switch");
    Ok(Json(status(&app, &app.account.snapshot())))
}

/// What became of a revocation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationBody {
    /// The grant's id.
    grant: String,
    /// Always true: it renews no more.
    revoked: bool,
    #[schema(schema_with = source_schema)]
    source: IceSource,
    /// What its source said.
    #[schema(schema_with = provider_schema)]
    provider: &'static str,
    /// When the credential expires by itself.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Always false: what was promised for it stays promised.
    reservation_released: bool,
    /// What that means, for people.
    message: &'static str,
}

/// Revokes one credential.
///
/// It renews no more, and its source is asked to end it. What was promised for it stays promised.
#[utoipa::path(
    post,
    path = "/api/credentials/{grant}/revoke",
    operation_id = "revokeCredential",
    tag = "operator",
    params(("grant" = String, Path, description = "The grant's id, as in the log and in `GET /api/connections`, or its token")),
    responses(
        (status = 200, description = "What became of it.", body = RevocationBody),
        (status = 404, description = "`NOT_FOUND`: no such credential is out: it has expired, was never issued here, or is of `manual`.", body = ErrorBody),
    )
)]
pub async fn revoke_credential(
    State(app): State<Arc<App>>,
    Path(grant): Path<String>,
) -> Result<Json<RevocationBody>, ApiError> {
    let id = grant.parse::<GrantId>().ok().or_else(|| app.grant_key.verify(&grant).map(|grant| grant.id));
    let id = id.ok_or(ApiError::UnknownGrant)?;
    let (issued, recorded) = app.account.revoke(id).await.ok_or(ApiError::UnknownGrant)?;
    let revocation = app.mint.revoke(&issued).await;
    tracing::warn!(grant.id = %id, provider = revocation.name(), "the operator has revoked a credential");
    recorded.map_err(not_recorded)?;
    Ok(Json(RevocationBody {
        grant: id.to_string(),
        revoked: true,
        source: issued.source,
        provider: revocation.name(),
        expires_at: issued.expires_at,
        reservation_released: false,
        message: message(revocation),
    }))
}

/// Of the field that says how a revocation went.
fn provider_schema() -> RefOr<Schema> {
    let said = "`revoked`: ended there. `unknown`: not known there any more. `failed`: could not be asked, try again. `cut`: its sessions are ended as they are seen. `unsupported`: good there until it expires.";
    one_of(Revocation::ALL.map(Revocation::name), said)
}

fn message(revocation: Revocation) -> &'static str {
    match revocation {
        Revocation::Done => {
            "The provider has revoked it. Relaying that is under way may go on, and new allocations have been seen for minutes: what was promised for it stays reserved."
        }
        Revocation::Unknown => {
            "The provider does not know it any more. Relaying that is under way may go on: what was promised for it stays reserved."
        }
        Revocation::Failed => {
            "The provider could not be asked: the credential stays good there until it expires. It cannot be renewed here. Try again."
        }
        Revocation::Cut => {
            "Its sessions are ended within seconds, and again whenever it opens new ones, until it expires: what was promised for it stays reserved until then."
        }
        Revocation::Unsupported => {
            "This source cannot revoke: the credential stays good there until it expires. It cannot be renewed here."
        }
    }
}

fn not_recorded(_: NotRecorded) -> ApiError {
    ApiError::OverrideNotRecorded
}

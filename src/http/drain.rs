//! Draining one of the operator's own relays: it gets no new credentials, and its calls come to an end. Tests: `tests/it/fleet.rs`.
//! A drain is in effect when its response is sent, and survives a restart if the ledger does.

use super::overview::relays::{DrainingBody, draining_body};
use super::prelude::*;

/// Whether a relay is drained.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrainBody {
    #[serde(flatten)]
    relay: DrainingBody,
    /// Whether it gets no new credentials now.
    #[schema(example = true)]
    draining: bool,
    /// What that means, for people.
    #[schema(example = "eu.example.com gets no new credentials. Its 3 sessions go on.")]
    message: String,
}

/// Drains a relay.
///
/// It gets no new credentials, also not for renewals of pages. Its sessions go on: the status says how many there are.
#[utoipa::path(
    post, path = "/api/relays/{relay}/drain",
    params(("relay" = String, Path, description = "The relay's host, as in `GET /api/overview`, or its region if no other relay is there.")),
    responses(
        (status = 200, description = "The relay is drained.", body = DrainBody),
        (status = 404, description = "`NOT_FOUND`: `COTURN_URLS` has no such host, or several relays are in this region.", body = ErrorBody),
    )
)]
pub async fn drain_relay(app: AppState, Path(relay): Path<String>) -> JsonResult<DrainBody> {
    set_draining(&app, &relay, true).await
}

/// Gives a drained relay credentials again.
#[utoipa::path(
    delete, path = "/api/relays/{relay}/drain",
    params(("relay" = String, Path, description = "The relay's host, as in `GET /api/overview`, or its region if no other relay is there.")),
    responses(
        (status = 200, description = "The relay is not drained.", body = DrainBody),
        (status = 404, description = "`NOT_FOUND`: `COTURN_URLS` has no such host, or several relays are in this region.", body = ErrorBody),
    )
)]
pub async fn undrain_relay(app: AppState, Path(relay): Path<String>) -> JsonResult<DrainBody> {
    set_draining(&app, &relay, false).await
}

/// Drains the relay with this name, or ends the drain. The name must be that of one relay only.
async fn set_draining(app: &AppState, name: &str, draining: bool) -> JsonResult<DrainBody> {
    let fleet = app.mint.fleet().into_iter().flat_map(|fleet| &fleet.0);
    let mut named = fleet.filter(|relay| relay.is_named(name));
    let (Some(relay), None) = (named.next(), named.next()) else {
        return Err(ApiError::not_found("Name one host of COTURN_URLS, as GET /api/overview lists it."));
    };
    app.account.record_change(|books| books.set_draining(relay.owner, draining)).await?;
    tracing::warn!(relay = relay.host, draining, "the operator has drained a relay, or ended that");
    let (host, body) = (&relay.host, draining_body(app, relay));
    let message = match body.sessions {
        _ if !draining => format!("{host} gets new credentials."),
        Some(sessions) => format!("{host} gets no new credentials. Its {sessions} sessions go on."),
        None => format!("{host} gets no new credentials. Nobody lists its sessions: set COTURN_CLI."),
    };
    Ok(Json(DrainBody { relay: body, draining, message }))
}

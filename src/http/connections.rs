//! `/api/connections`: what feeds the estimate. A client speaks for its own connections with its grant token, an app
//! server for any with the reporter token. Every call may be repeated without a second effect.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::read_json;
use super::error::{ApiError, ErrorBody};
use crate::app::App;
use crate::random;
use crate::request::bearer::bearer;
use turn_ledger::connection::Report;
use turn_ledger::reports::{Caller, OpenError, Opened};

const UNAUTHORIZED: ApiError =
    ApiError::Unauthorized { expected: "the `grant` that came with credentials, or the REPORTER_TOKEN," };
/// Longest id that a caller may choose.
const ID_MAX: usize = 128;

/// What a caller may send; every field can be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionRequest {
    /// Opening only: the caller's own name for it, in visible ASCII characters; made up here if absent.
    #[schema(min_length = 1, max_length = 128, example = "call-42")]
    connection_id: Option<String>,
    /// Whether its packets go through the relay; taken to be so until said otherwise.
    relayed: Option<bool>,
    /// Cumulative bytes, client → relay (`transport.bytesSent`).
    bytes_sent: Option<u64>,
    /// Cumulative bytes, relay → client (`transport.bytesReceived`): what is billed.
    bytes_received: Option<u64>,
    /// The token, for a beacon, which cannot send an `Authorization` header.
    token: Option<String>,
}

/// The connection that a path names.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ConnectionPath {
    /// The `connectionId`.
    #[param(min_length = 1, max_length = 128, example = "call-42")]
    id: String,
}

/// An open connection.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionBody {
    /// Its name, for the paths of further calls.
    #[schema(example = "call-42")]
    connection_id: String,
    /// How often to send a heartbeat, in seconds. Three missed ones close it.
    #[schema(example = 30)]
    heartbeat_seconds: u64,
}

/// Opens a connection.
///
/// Opening it again is a sign of life. From now on it is charged, by the bytes that it reports or by time.
#[utoipa::path(
    post,
    path = "/api/connections",
    operation_id = "openConnection",
    tag = "connections",
    request_body(content = ConnectionRequest, example = json!({"connectionId": "call-42", "relayed": true})),
    responses(
        (status = 201, description = "Opened.", body = ConnectionBody),
        (status = 200, description = "It was open already.", body = ConnectionBody),
        (status = 400, description = "`INVALID_REQUEST`: `connectionId` is not 1 to 128 visible ASCII characters.", body = ErrorBody),
        (status = 429, description = "`RATE_LIMITED`: 64 connections are open on this grant.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the table of connections, or of grants, is full.", body = ErrorBody),
    )
)]
pub async fn open_connection(State(app): State<Arc<App>>, call: Call) -> Result<Response, ApiError> {
    let Call { caller, request } = call;
    let id = match &request.connection_id {
        Some(id) => checked_id(id)?.to_owned(),
        None => URL_SAFE_NO_PAD.encode(random::bytes::<16>()?),
    };
    let opened = app.account.open(caller, &id, request.relayed).map_err(|error| match error {
        OpenError::GrantExpired => ApiError::InvalidGrant,
        OpenError::TooManyOnGrant => ApiError::TooManyConnections { retry_in: app.heartbeat * 3 },
        OpenError::TableFull => ApiError::Overloaded,
    })?;
    let status = match opened {
        Opened::New => StatusCode::CREATED,
        Opened::Already => StatusCode::OK,
    };
    Ok((status, Json(connection_body(&app, id))).into_response())
}

/// Keeps a connection alive and takes its counts.
///
/// To be sent every `heartbeatSeconds`. Counts are cumulative; a lower one than before changes nothing.
#[utoipa::path(
    post,
    path = "/api/connections/{id}/heartbeat",
    operation_id = "heartbeatConnection",
    tag = "connections",
    params(ConnectionPath),
    request_body(content = ConnectionRequest, example = json!({"bytesSent": 40_000, "bytesReceived": 150_000, "relayed": true})),
    responses(
        (status = 200, description = "Heard.", body = ConnectionBody),
        (status = 404, description = "`NOT_FOUND`: not open, or not the caller's. Open it again.", body = ErrorBody),
    )
)]
pub async fn heartbeat_connection(
    State(app): State<Arc<App>>,
    Path(ConnectionPath { id }): Path<ConnectionPath>,
    call: Call,
) -> Result<Json<ConnectionBody>, ApiError> {
    app.account
        .heartbeat(call.caller, &id, call.request.report())
        .map_err(|_| ApiError::UnknownConnection)?;
    Ok(Json(connection_body(&app, id)))
}

/// Closes a connection, also from a page that goes away.
///
/// The body may carry its last counts. `navigator.sendBeacon` can send no `Authorization`, so the token may be in the body.
#[utoipa::path(
    post,
    path = "/api/connections/{id}/close",
    operation_id = "closeConnection",
    tag = "connections",
    params(ConnectionPath),
    request_body(content = ConnectionRequest, example = json!({"bytesReceived": 180_000})),
    security(()),
    responses(
        (status = 204, description = "Closed, or not open."),
        (status = 404, description = "`NOT_FOUND`: another grant's.", body = ErrorBody),
    )
)]
pub async fn close_connection(
    State(app): State<Arc<App>>,
    Path(ConnectionPath { id }): Path<ConnectionPath>,
    call: Call,
) -> Result<StatusCode, ApiError> {
    close(&app, &id, &call)
}

/// Closes a connection.
///
/// The body may carry its last counts.
#[utoipa::path(
    delete,
    path = "/api/connections/{id}",
    operation_id = "deleteConnection",
    tag = "connections",
    params(ConnectionPath),
    request_body(content = ConnectionRequest, example = json!({"bytesReceived": 180_000})),
    responses(
        (status = 204, description = "Closed, or not open."),
        (status = 404, description = "`NOT_FOUND`: another grant's.", body = ErrorBody),
    )
)]
pub async fn delete_connection(
    State(app): State<Arc<App>>,
    Path(ConnectionPath { id }): Path<ConnectionPath>,
    call: Call,
) -> Result<StatusCode, ApiError> {
    close(&app, &id, &call)
}

fn close(app: &App, id: &str, call: &Call) -> Result<StatusCode, ApiError> {
    app.account.close(call.caller, id, call.request.report()).map_err(|_| ApiError::UnknownConnection)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who calls, and what they say.
pub struct Call {
    caller: Caller,
    request: ConnectionRequest,
}

impl FromRequest<Arc<App>> for Call {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let in_header = bearer(request.headers()).map(str::to_owned);
        let request: ConnectionRequest = read_json(request).await?;
        let token = in_header.as_deref().or(request.token.as_deref()).ok_or(UNAUTHORIZED)?;
        let caller = caller(app, token).ok_or(ApiError::InvalidGrant)?;
        Ok(Self { caller, request })
    }
}

fn caller(app: &App, token: &str) -> Option<Caller> {
    let is_reporter = app.reporter_token.as_ref().is_some_and(|reporter| reporter.matches(token));
    if is_reporter { Some(Caller::Reporter) } else { app.grant_key.verify(token).map(Caller::Grant) }
}

fn checked_id(id: &str) -> Result<&str, ApiError> {
    let is_good = (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let expected = "`connectionId` is to be 1 to 128 visible ASCII characters.";
    if is_good { Ok(id) } else { Err(ApiError::invalid(expected)) }
}

fn connection_body(app: &App, connection_id: String) -> ConnectionBody {
    ConnectionBody { connection_id, heartbeat_seconds: app.heartbeat.as_secs() }
}

impl ConnectionRequest {
    fn report(&self) -> Report {
        Report { bytes_sent: self.bytes_sent, bytes_received: self.bytes_received, relayed: self.relayed }
    }
}

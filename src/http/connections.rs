//! `/api/connections`: reports of connections, the input of the usage estimate. Tests: `tests/it/connections.rs`.
//! A grant token authorizes reports about the connections of its grant. A server key authorizes reports about connections that it opened,
//! and about connections of grants that it minted. The reporter token authorizes reports about all connections. Every call is idempotent.

use axum::extract::{FromRequest, FromRequestParts};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::mint_request::{LABEL_FORM, refuse_tokens};
use super::operator::{client_of, wrong_token};
use super::parameter_forms::UserInPath;
use super::prelude::*;
use super::refusals::budget_exhausted;
use crate::app::{Action, BearerToken, CallerKind, may};
use crate::json::count;
use crate::limit::wrong_tokens::Role;
use crate::mint::token::GrantToken;
use turn_base::{Code, bearer, random, read_json};
use turn_ledger::{
    Caller, ClientKey, Grant, Label, OpenError, Opened, Report, ReportError, Spender, USER_FORM, User,
    is_dots,
};

const TOKEN_EXPECTED: &str = "the `grant` of your credentials, a server key or the REPORTER_TOKEN,";
/// Longest connection id, in bytes.
const ID_MAX: usize = 128;
const ID_EXPECTED: &str =
    "Set the connection's id to 1 to 128 visible ASCII characters, but not to a token, `.` or `..`.";

/// A report about one connection. Every field is optional.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionRequest {
    /// Only for opening: the caller's own id, in visible ASCII characters. The service makes one if it is absent.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^([!-\x2d/-~]|\.[!-\x2d/-~]|\.\.[!-~])[!-~]*$",
        example = "call-42"
    )]
    connection_id: Option<String>,
    /// Whether the packets go through the relay. True until reported otherwise.
    relayed: Option<bool>,
    /// Bytes from client to relay since the connection began (`transport.bytesSent`).
    #[serde(deserialize_with = "count")]
    #[schema(example = 40_000)]
    bytes_sent: Option<u64>,
    /// Bytes from relay to client since the connection began (`transport.bytesReceived`). These are billed.
    #[serde(deserialize_with = "count")]
    #[schema(example = 150_000)]
    bytes_received: Option<u64>,
    /// Only for opening, and only by an app server: the user that this connection's traffic counts for. No control characters.
    #[schema(value_type = Option<UserInPath>, inline, example = "user-7")]
    user: Option<String>,
    /// Only for opening, and only by an app server: a name of your own, such as a room.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9._:@/-]*$", example = "room-1")]
    label: Option<String>,
    /// The token, for a beacon, which cannot set an `Authorization` header.
    #[schema(example = "AZ09LWzTBDYa_xlvnJeEngEAAAGUad7A…")]
    token: Option<String>,
}

/// The connection in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ConnectionPath {
    /// The `connectionId`.
    #[param(
        min_length = 1,
        max_length = 128,
        pattern = r"^([!-\x2d/-~]|\.[!-\x2d/-~]|\.\.[!-~])[!-~]*$",
        example = "call-42"
    )]
    id: String,
}

impl FromRequestParts<Arc<App>> for ConnectionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let invalid = |_| ApiError::invalid(ID_EXPECTED);
        let Path(path): Path<Self> = Path::from_request_parts(parts, app).await.map_err(invalid)?;
        checked_id(&path.id)?;
        Ok(path)
    }
}

/// An open connection.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionBody {
    /// The id, for the paths of further calls.
    #[schema(example = "call-42")]
    connection_id: String,
    /// Interval of the heartbeats in seconds. Three missed heartbeats close the connection.
    #[schema(example = 30)]
    heartbeat_seconds: u64,
    /// `BUDGET_EXHAUSTED` while the relay ends the calls of this grant, because a limit is reached. Then ask for other credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "BUDGET_EXHAUSTED")]
    code: Option<&'static str>,
}

/// Opens a connection.
///
/// From now on the connection is charged: by the bytes that it reports, or by time. Opening it again keeps it alive.
#[utoipa::path(
    post, path = "/api/connections",
    request_body(content = ConnectionRequest, example = json!({"connectionId": "call-42", "relayed": true})),
    responses(
        (status = 201, description = "Opened.", body = ConnectionBody),
        (status = 200, description = "The connection was open already.", body = ConnectionBody),
        (status = 400, description = "`INVALID_REQUEST`: `connectionId` is not 1 to 128 visible ASCII characters, or is a token, `.` or `..`.", body = ErrorBody),
        (status = 403, description = "`USER_BLOCKED`: an app server opens a connection for a user that is blocked. An open one can be reported and closed. `BLOCKED`: the server key is blocked.", body = ErrorBody),
        (status = 429, description = "`RATE_LIMITED`: 64 connections are open on this grant, 256 on the grants of this client address, or 50,000 of this server key. `KEY_LIMIT_REACHED`: the limit of this server key has no room for another one.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the table of connections, or of grants, is full.", body = ErrorBody),
    )
)]
pub async fn open_connection(app: AppState, call: AuthorizedReport) -> Result<Response, ApiError> {
    let caller = call.caller();
    let id = match call.request.connection_id.clone() {
        Some(id) => id,
        None => URL_SAFE_NO_PAD.encode(random::bytes::<16>()?),
    };
    let opened = app.account.open(caller, call.client, &id, call.request.relayed, call.named.clone());
    let too_many =
        |message| ApiError::too_many("Too many open connections", message, app.config.usage.heartbeat * 3);
    let opened = opened.map_err(|error| match error {
        OpenError::GrantExpired | OpenError::GrantRenewed => ApiError::invalid_grant(),
        OpenError::GrantRevoked => ApiError::grant_revoked(),
        OpenError::UserBlocked => ApiError::blocked(SpenderKind::User),
        OpenError::TooManyOnGrant => too_many("Close connections on this grant that have ended."),
        OpenError::TooManyOnClient => {
            too_many("Close connections of this client or server key that have ended.")
        }
        OpenError::KeyLimitReached => key_limit_reached(&app, &call),
        OpenError::TableFull => ApiError::overloaded(),
    })?;
    if opened == Opened::New {
        // A takeover keeps what was answered. While the ledger fails, the connection counts all the same.
        let _ = app.account.recorded().await;
    }
    let status = match opened {
        Opened::New => StatusCode::CREATED,
        Opened::Already => StatusCode::OK,
    };
    Ok((status, Json(connection_body(&app, &call, id))).into_response())
}

/// Keeps a connection alive and reports its bytes.
///
/// Send it every `heartbeatSeconds`. Bytes are cumulative: a lower count than before has no effect.
#[utoipa::path(
    post, path = "/api/connections/{id}/heartbeat",
    params(ConnectionPath),
    request_body(content = ConnectionRequest, example = json!({"bytesSent": 40_000, "bytesReceived": 150_000, "relayed": true})),
    responses(
        (status = 200, description = "The connection stays open.", body = ConnectionBody),
        (status = 400, description = "`INVALID_REQUEST`: the id in the path is not 1 to 128 visible ASCII characters, or is a grant.", body = ErrorBody),
        (status = 403, description = "`BLOCKED`: the server key is blocked.", body = ErrorBody),
        (status = 404, description = "`NOT_FOUND`: the connection is not open, or another grant or server opened it. Open it again.", body = ErrorBody),
        (status = 429, description = "`KEY_LIMIT_REACHED`: the server key has used its limit in `SERVER_KEY_LIMITS`.", body = ErrorBody),
    )
)]
pub async fn heartbeat_connection(
    app: AppState,
    ConnectionPath { id }: ConnectionPath,
    call: AuthorizedReport,
) -> JsonResult<ConnectionBody> {
    let taken = app.account.heartbeat(call.caller(), call.client, &id, call.request.report());
    taken.map_err(|why| not_taken(&app, &call, why))?;
    Ok(Json(connection_body(&app, &call, id)))
}

/// Closes a connection. Works with `navigator.sendBeacon`.
///
/// The body may contain the last counts. A beacon cannot set `Authorization`, so the body may contain the token.
#[utoipa::path(
    post, path = "/api/connections/{id}/close",
    params(ConnectionPath),
    request_body(content = ConnectionRequest, example = json!({"bytesReceived": 180_000})),
    security(()),
    responses(
        (status = 204, description = "The connection is closed."),
        (status = 400, description = "`INVALID_REQUEST`: the id in the path is not 1 to 128 visible ASCII characters, or is a grant.", body = ErrorBody),
        (status = 403, description = "`BLOCKED`: the server key is blocked.", body = ErrorBody),
        (status = 404, description = "`NOT_FOUND`: another grant or server opened this connection, or several with this id are open.", body = ErrorBody),
    )
)]
pub async fn close_connection(
    app: AppState,
    ConnectionPath { id }: ConnectionPath,
    call: AuthorizedReport,
) -> Result<StatusCode, ApiError> {
    let closed = app.account.close(call.caller(), &id, call.request.report());
    closed.map_err(|why| not_taken(&app, &call, why))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes a connection.
///
/// The body may contain the last counts.
#[utoipa::path(
    delete, path = "/api/connections/{id}",
    params(ConnectionPath),
    request_body(content = ConnectionRequest, example = json!({"bytesReceived": 180_000})),
    responses(
        (status = 204, description = "The connection is closed."),
        (status = 400, description = "`INVALID_REQUEST`: the id in the path is not 1 to 128 visible ASCII characters, or is a grant.", body = ErrorBody),
        (status = 403, description = "`BLOCKED`: the server key is blocked.", body = ErrorBody),
        (status = 404, description = "`NOT_FOUND`: another grant or server opened this connection, or several with this id are open.", body = ErrorBody),
    )
)]
pub async fn delete_connection(
    app: AppState,
    path: ConnectionPath,
    call: AuthorizedReport,
) -> Result<StatusCode, ApiError> {
    close_connection(app, path, call).await
}

/// The spender that the body names. [`AuthorizedReport::from_request`] drops it unless an app server sends the report.
fn named_spender(request: &ConnectionRequest) -> Result<Spender, ApiError> {
    let wrong_user = || ApiError::invalid(format!("Set `user` to {USER_FORM}."));
    let user = request.user.as_deref().map(|user| User::new(user).ok_or_else(wrong_user)).transpose()?;
    let wrong_label = || ApiError::invalid(format!("Set `label` to {LABEL_FORM}."));
    let label = request.label.as_deref().filter(|label| !label.is_empty());
    let label = label.map(|label| Label::new(label).ok_or_else(wrong_label)).transpose()?;
    Ok(Spender { user, label, ..Spender::default() })
}

/// The error for a report that the books have not taken.
fn not_taken(app: &App, call: &AuthorizedReport, why: ReportError) -> ApiError {
    match why {
        ReportError::Unknown => ApiError::not_found(
            "Open the connection again with POST /api/connections: it is not open, or another grant or server opened it.",
        ),
        ReportError::KeyLimitReached => key_limit_reached(app, call),
        ReportError::GrantRevoked => ApiError::grant_revoked(),
    }
}

/// The refusal for the server key of `call`, which may not spend more. Counts the refusal. No other caller of these routes has such a
/// limit.
fn key_limit_reached(app: &App, call: &AuthorizedReport) -> ApiError {
    let refusal = call.named.server.as_ref().map(|key| app.account.refusal_of_key(key));
    refusal.as_ref().map_or_else(ApiError::internal, budget_exhausted)
}

/// An authorized report.
pub struct AuthorizedReport {
    /// The grant of a client; `None` for an app server.
    grant: Option<Grant>,
    /// The address that sends the report.
    client: Option<ClientKey>,
    /// Who spends, as the body says, and the server key that says so. Empty for a client with a grant.
    named: Spender,
    request: ConnectionRequest,
}

impl AuthorizedReport {
    fn caller(&self) -> Caller<'_> {
        match (self.grant, &self.named.server) {
            (Some(grant), _) => Caller::Grant(grant),
            (None, Some(key)) => Caller::Server(key),
            (None, None) => Caller::Reporter,
        }
    }
}

impl FromRequest<Arc<App>> for AuthorizedReport {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let in_header = bearer(request.headers()).map(str::to_owned);
        let client = client_of(&request);
        let client_key = client.map(|address| ClientKey::of(address.0));
        let body: ConnectionRequest = read_json(request).await?;
        body.connection_id.as_deref().map(checked_id).transpose()?;
        let mut named = named_spender(&body)?;
        let token = in_header
            .as_deref()
            .or(body.token.as_deref())
            .ok_or_else(|| ApiError::no_token(TOKEN_EXPECTED))?;
        let shown = app.recognize(token, client);
        let kind = CallerKind::from(&shown);
        if !may(kind, Action::Report) {
            let refusal = ApiError::invalid_grant();
            // A page may hold a grant token of an earlier signing key. Such a token is not a guess, so it does not count as a wrong token.
            return Err(if GrantToken::has_form(token) {
                refusal
            } else {
                wrong_token(&app.wrong_tokens, Role::Reporter, client, refusal)
            });
        }
        if let BearerToken::ServerKey(key) = &shown {
            if app.account.read(|books| books.is_blocked(&SpenderKey::Server(key.name.clone()))) {
                return Err(ApiError::blocked(SpenderKind::Key));
            }
            named.label.get_or_insert_with(|| key.name.clone());
            named.server = Some(key.name.clone());
        }
        let grant = if let BearerToken::Grant(grant) = shown { Some(grant) } else { None };
        // What a client with a grant says of a user or a label is ignored: the mint of the grant names both.
        let named = if may(kind, Action::NameUser) { named } else { Spender::default() };
        let call = Self { grant, client: client_key, named, request: body };
        let ConnectionRequest { connection_id, user, label, .. } = &call.request;
        refuse_tokens([connection_id, user, label].map(Option::as_deref))?;
        Ok(call)
    }
}

fn checked_id(id: &str) -> Result<&str, ApiError> {
    let is_good = (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    // Ids are logged, and no token may be logged.
    if is_good && !is_dots(id) && !GrantToken::has_form(id) {
        Ok(id)
    } else {
        Err(ApiError::invalid(ID_EXPECTED))
    }
}

fn connection_body(app: &App, call: &AuthorizedReport, connection_id: String) -> ConnectionBody {
    let is_ended = call.grant.is_some_and(|grant| app.account.ends_calls_of(&grant));
    let code = is_ended.then(|| Code::BudgetExhausted.into());
    ConnectionBody { connection_id, heartbeat_seconds: app.config.usage.heartbeat.as_secs(), code }
}

impl ConnectionRequest {
    fn report(&self) -> Report {
        Report { bytes_sent: self.bytes_sent, bytes_received: self.bytes_received, relayed: self.relayed }
    }
}

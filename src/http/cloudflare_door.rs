//! The mint in the form of Cloudflare's API, for programs that were written for that API. Tests: `tests/it/server_keys/cloudflare_door.rs`.
//! A program needs only another base URL, and a server key as its token. Bodies and statuses are
//! Cloudflare's. An error has Cloudflare's `errors` beside our own fields.

use axum::http::request::Parts;
use serde::de::IgnoredAny;

use super::credentials::answer;
use super::envelope::with_error;
use super::mint_request::{KnownRequest, ServerMint, checked_user, for_server, shown_key, wrong_key};
use super::parameter_forms::UserOrNone;
use super::prelude::*;
use super::refusals::too_many_of_server;
use crate::auth::server_keys::ServerKey;
use crate::ice::server::{IceServer, IceServerList};
use crate::json::count;
use crate::mint::{IceResponse, Place, Revocation, why_failed};
use turn_base::{ProviderError, read_json};

/// The longest life that Cloudflare accepts, in seconds.
const TTL_MAX: u64 = 172_800;
/// A longer user name is not looked up. User names of providers have under 200 bytes.
const USERNAME_MAX: usize = 512;

/// What Cloudflare's API is asked for.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudflareMintRequest {
    /// The lifetime in seconds. A longer one than `TURN_TTL_SECONDS` is shortened to that, which is also the default.
    #[schema(minimum = 1, maximum = 172_800, example = 86_400)]
    #[serde(deserialize_with = "count")]
    ttl: Option<u64>,
    /// The user that the credential is for. No control characters.
    #[schema(value_type = Option<UserOrNone>, inline, example = "user-7")]
    custom_identifier: Option<String>,
}

/// The credential in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct CloudflareCredentialPath {
    /// Any text, as in Cloudflare's API.
    #[serde(rename = "key")]
    #[param(value_type = String, example = "any")]
    _key: IgnoredAny,
    /// The `username` of the credential.
    #[param(example = "g0c8")]
    username: String,
}

/// ICE servers as Cloudflare returns them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudflareServersBody {
    /// For `new RTCPeerConnection({iceServers})`.
    #[schema(value_type = Vec<IceServer>)]
    ice_servers: IceServerList,
}

/// ICE servers as Cloudflare's older call returns them: one entry with all URLs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudflareServerBody {
    /// For `new RTCPeerConnection({iceServers: [iceServers]})`.
    ice_servers: IceServer,
}

/// Returns ICE servers in Cloudflare's format.
///
/// The same mint as `/api/turn-credentials`, for a program that holds a server key. Only with `cloudflare` in `DOORS`.
#[utoipa::path(
    post, path = "/v1/turn/keys/{key}/credentials/generate-ice-servers",
    params(("key" = String, Path, description = "Any text, as in Cloudflare's API.")),
    request_body = CloudflareMintRequest,
    responses((status = 201, description = "ICE servers. If no source can mint: public STUN servers.", body = CloudflareServersBody))
)]
pub async fn generate_ice_servers(app: AppState, request: Request) -> Result<Response, ApiError> {
    let body = |answer: IceResponse| CloudflareServersBody { ice_servers: answer.servers(&app.stun).clone() };
    mint(&app, request, body).await
}

/// Returns one ICE server in Cloudflare's older format.
///
/// The same as `generate-ice-servers`, with all URLs in one entry.
#[utoipa::path(
    post, path = "/v1/turn/keys/{key}/credentials/generate",
    params(("key" = String, Path, description = "Any text, as in Cloudflare's API.")),
    request_body = CloudflareMintRequest,
    responses((status = 201, description = "An ICE server. If no source can mint: public STUN servers, without credential.", body = CloudflareServerBody))
)]
pub async fn generate_ice_server(app: AppState, request: Request) -> Result<Response, ApiError> {
    let body = |answer: IceResponse| CloudflareServerBody { ice_servers: answer.servers(&app.stun).in_one() };
    mint(&app, request, body).await
}

/// Revokes a credential that this server key has minted.
///
/// The credential cannot be renewed, its open connections are closed, and the source is asked to revoke it. The bytes reserved for it stay
/// reserved. A source that cannot revoke goes on accepting the credential until it expires.
#[utoipa::path(
    post, path = "/v1/turn/keys/{key}/credentials/{username}/revoke",
    params(CloudflareCredentialPath),
    responses(
        (status = 204, description = "The credential is revoked."),
        (status = 404, description = "`NOT_FOUND`: this server key has no such credential. It has expired, or another key has minted it.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the source could not be reached or did not accept it. The credential cannot be renewed, but it works until it expires, unless the source accepts a later call.", body = ErrorBody),
    )
)]
pub async fn revoke_server_credential(
    app: AppState,
    Path(path): Path<CloudflareCredentialPath>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let (parts, _) = request.into_parts();
    let key = server_key(&app, &parts)?;
    app.core.rate_limit.take_of_server(key.index, None).map_err(|over| too_many_of_server(over.reset))?;
    let unknown = || ApiError::not_found("Check the user name: this key has no live credential with it.");
    let username = path.username;
    let is_name = !username.is_empty() && username.len() <= USERNAME_MAX;
    let found = if is_name { app.account.minted_by(&key.name, &username) } else { None };
    let id = found.ok_or_else(unknown)?;
    let row = app.account.revoke(id).ok_or_else(unknown)?;
    // The source is asked also if the ledger cannot be written now: that error is returned last.
    let recorded = app.account.recorded().await;
    let (revocation, source_status) = app.mint.revoke(id, &row).await;
    tracing::info!(grant.id = %id, server = key.name.as_str(), provider = <&str>::from(revocation), "a server has revoked a credential");
    recorded?;
    match revocation {
        Revocation::Failed => Err(ApiError::full(format!("Try again: {}.", why_failed(source_status)))),
        Revocation::Done | Revocation::Unknown | Revocation::Cut | Revocation::Unsupported => {
            Ok(StatusCode::NO_CONTENT)
        }
    }
}

/// The server key in the header; an error if there is none, or a wrong one. No other place of the request is read for a key.
fn server_key(app: &App, request: &Parts) -> Result<ServerKey, ApiError> {
    if !request.headers.contains_key("authorization") {
        return Err(ApiError::no_token("a server key"));
    }
    let client = request.extensions.get().copied();
    let shown = shown_key(app, &request.headers, &request.uri, client)?;
    shown.ok_or_else(|| wrong_key(app, client))
}

/// Mints for the server key in the header. `body` makes the response's body.
async fn mint<T: Serialize>(
    app: &App,
    request: Request,
    body: impl FnOnce(IceResponse) -> T,
) -> Result<Response, ApiError> {
    let (parts, sent_body) = request.into_parts();
    let key = server_key(app, &parts)?;
    let request = Request::from_parts(parts.clone(), sent_body);
    let body_read = read_json::<CloudflareMintRequest>(request).await;
    // `()`: this format has no parameters of its own in the query.
    let server_mint = body_read.and_then(|sent| Ok((sent.checked(app.config.ice.ttl_max)?, ())));
    let mut known = KnownRequest::default();
    let asked = for_server(app, &key, server_mint, &parts, &mut known);
    let mut response = answer(app, asked, known, |answer, ()| Json(body(answer))).await;
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

impl CloudflareMintRequest {
    /// The values, once they are checked. A life longer than `ttl_max` is shortened to it.
    fn checked(self, ttl_max: Duration) -> Result<ServerMint, ApiError> {
        let ttl = match self.ttl {
            None => ttl_max,
            Some(ttl @ 1..=TTL_MAX) => Duration::from_secs(ttl).min(ttl_max),
            Some(_) => {
                let expected = format!("Set `ttl` to a whole number of seconds from 1 to {TTL_MAX}.");
                return Err(ApiError::invalid(expected));
            }
        };
        let named = self.custom_identifier.filter(|name| !name.is_empty());
        let user = named.map(|name| checked_user(&name)).transpose()?;
        Ok(ServerMint { ttl, user, label: None, place: Place::default() })
    }
}

/// The layer that adds to an error the `errors` that programs for Cloudflare's API read.
pub async fn readable(response: Response) -> Response {
    with_error(response, |error, head| {
        let message = error.message.clone().unwrap_or_else(|| error.error.into());
        error.errors = vec![ProviderError { code: head.status.as_u16(), message }];
        Json(error).into_response()
    })
}

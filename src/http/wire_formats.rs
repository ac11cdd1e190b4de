//! The mint in other wire formats: TURN REST draft, Matrix, stunner, Metered, the links of WHIP and WHEP. Tests:
//! `tests/it/wire_formats.rs`. The same origin rule, rate limit and budget apply as on `/api/turn-credentials`. A format is not served
//! until `DOORS` names it.

use std::collections::HashSet;

use axum::body::{Body, to_bytes};
use axum::http::header::{LINK, RETRY_AFTER};
use axum::http::{HeaderName, Method, Uri};
use axum::middleware::Next;
use axum::response::AppendHeaders;
use serde::Deserializer;
use serde::de::IgnoredAny;

use super::credentials::mint;
use super::envelope::with_error;
use super::mint_request::MintQuery;
use super::origin::{is_foreign, refuse_foreign};
use super::parameter_forms::UserOrNone;
use super::prelude::*;
use crate::ice::{IceServer, IceServerList, IceUrl};
use crate::mint::IceResponse;
use turn_base::{BODY_MAX, form, form_or_none, gather};
use turn_ledger::{USER_FORM, User};

/// Life of a response with STUN servers only. It is short because a relay may be available again soon.
const STUN_ONLY_TTL: Duration = Duration::from_secs(300);
/// Older paths at which Matrix clients look. The `OpenAPI` document has only the present one.
pub const OLDER_MATRIX_PATHS: [&str; 3] = [
    "/_matrix/client/r0/voip/turnServer",
    "/_matrix/client/unstable/voip/turnServer",
    "/_matrix/client/api/v1/voip/turnServer",
];

/// The query parameters of the TURN REST draft.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TurnRestQuery {
    /// `turn`, if it is sent.
    #[param(value_type = Option<String>, pattern = "^turn$", example = "turn")]
    #[serde(rename = "service", default, deserialize_with = "turn_alone")]
    _service: (),
    /// With a server key, the user. Otherwise only its form is checked: the service chooses the user name.
    #[param(inline, value_type = UserOrNone, required = false)]
    #[serde(rename = "username", default, deserialize_with = "user_form")]
    _username: (),
}

/// The query parameters of stunner.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StunnerQuery {
    /// Always `turn`.
    #[param(value_type = String, pattern = "^turn$", example = "turn")]
    #[serde(rename = "service", deserialize_with = "turn_alone")]
    _service: (),
    /// `all` or `relay`, for the response. `all` by default.
    #[param(value_type = Option<String>, pattern = "^(all|relay)$")]
    #[serde(rename = "iceTransportPolicy", default)]
    policy: TransportPolicy,
}

/// Which paths a client may use.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum TransportPolicy {
    #[default]
    All,
    Relay,
}

fn turn_alone<'de, D: Deserializer<'de>>(text: D) -> Result<(), D::Error> {
    form(text, |text| (text == "turn").then_some(()), "`turn`")
}

fn user_form<'de, D: Deserializer<'de>>(text: D) -> Result<(), D::Error> {
    form_or_none(text, User::new, USER_FORM).map(|_| ())
}

/// One credential, in the format of the TURN REST draft and of Matrix.
#[derive(Debug, Serialize, ToSchema)]
pub struct TurnRestBody {
    /// Empty if there are only STUN servers.
    #[schema(example = "1736956800:nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    username: String,
    /// Empty if there are only STUN servers.
    #[schema(example = "kP3wJt0Jr7Qw5m0mX2m1cQ8hVbE=")]
    password: String,
    /// Life in seconds. 300 if there are only STUN servers.
    #[schema(example = 86_400)]
    ttl: u64,
    /// URLs of the TURN servers that accept the credential. STUN servers, if there is no TURN server.
    #[schema(value_type = Vec<String>, example = json!(["turn:turn.cloudflare.com:3478?transport=udp"]))]
    uris: Vec<String>,
}

/// ICE servers in stunner's format.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StunnerBody {
    /// For `new RTCPeerConnection({iceServers})`.
    #[schema(value_type = Vec<IceServer>)]
    ice_servers: IceServerList,
    /// As asked for: `all`, or `relay` for a client that must not connect without a relay.
    #[schema(value_type = String, example = "all")]
    ice_transport_policy: TransportPolicy,
}

/// One URL of an ICE server, in Metered's format.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeteredServer {
    /// One URL.
    #[schema(example = "turn:turn.cloudflare.com:3478?transport=udp")]
    urls: String,
    /// Present only with `turn:` and `turns:` URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "1736956800:nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    username: Option<String>,
    /// Present only with `turn:` and `turns:` URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "kP3wJt0Jr7Qw5m0mX2m1cQ8hVbE=")]
    credential: Option<String>,
}

/// Returns a credential in the format of the TURN REST draft.
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `turn` in `DOORS`.
#[utoipa::path(
    get, path = "/turn",
    params(TurnRestQuery, MintQuery),
    responses(
        (status = 200, description = "A credential, or public STUN servers with an empty user name.", body = TurnRestBody),
        (status = 400, description = "`INVALID_REQUEST`: `service` is not `turn`.", body = ErrorBody),
    )
)]
pub async fn get_turn_rest_credentials(app: AppState, request: Request) -> Result<Response, ApiError> {
    Ok(mint(&app, request, |answer, _: TurnRestQuery| Json(turn_rest(&app, &answer))).await)
}

/// Returns a credential in the format of the TURN REST draft, as Janus asks for it.
///
/// The same as `GET /turn`. The parameters may also be in a form.
#[utoipa::path(
    post, path = "/turn",
    params(TurnRestQuery, MintQuery),
    responses(
        (status = 200, description = "A credential, or public STUN servers with an empty user name.", body = TurnRestBody),
        (status = 400, description = "`INVALID_REQUEST`: `service` is not `turn`, or the body is not a form.", body = ErrorBody),
    )
)]
pub async fn post_turn_rest_credentials(app: AppState, request: Request) -> Result<Response, ApiError> {
    get_turn_rest_credentials(app, with_form(request).await?).await
}

/// Returns a credential in the format that Matrix clients read.
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `matrix` in `DOORS`. Matrix access tokens are not
/// checked here: put a homeserver or a proxy in front.
#[utoipa::path(
    get, path = "/_matrix/client/v3/voip/turnServer",
    params(MintQuery),
    responses((status = 200, description = "A credential, or public STUN servers with an empty user name.", body = TurnRestBody))
)]
pub async fn get_matrix_turn_server(app: AppState, request: Request) -> Result<Response, ApiError> {
    Ok(mint(&app, request, |answer, IgnoredAny| Json(turn_rest(&app, &answer))).await)
}

/// Returns ICE servers in stunner's format.
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `ice` in `DOORS`.
#[utoipa::path(
    get, path = "/ice",
    params(StunnerQuery, MintQuery),
    responses(
        (status = 200, description = "ICE servers.", body = StunnerBody),
        (status = 400, description = "`INVALID_REQUEST`: `service` is not `turn`, or `iceTransportPolicy` is neither `all` nor `relay`.", body = ErrorBody),
    )
)]
pub async fn get_stunner_ice(app: AppState, request: Request) -> Result<Response, ApiError> {
    let body = |answer: IceResponse, query: StunnerQuery| {
        let ice_servers = answer.servers(&app.stun).clone();
        Json(StunnerBody { ice_servers, ice_transport_policy: query.policy })
    };
    Ok(mint(&app, request, body).await)
}

/// Returns ICE servers as the `Link` headers of WHIP and WHEP (RFC 9725).
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `link` in `DOORS`.
#[utoipa::path(
    get, path = "/link",
    params(MintQuery),
    responses(
        (status = 204, description = "ICE servers, each URL in a header.", headers(
            ("Link" = String, description = "`<URL>; rel=\"ice-server\"`, for a relay with `username`, `credential` and `credential-type=\"password\"`."),
        )),
    )
)]
pub async fn get_ice_links(app: AppState, request: Request) -> Result<Response, ApiError> {
    let links = |answer: IceResponse, IgnoredAny| {
        (StatusCode::NO_CONTENT, AppendHeaders(ice_links(answer.servers(&app.stun))))
    };
    Ok(mint(&app, request, links).await)
}

/// Returns ICE servers in Metered's format: a list with one URL in each entry.
///
/// The same mint as `/api/turn-credentials`, renewals included. Only with `metered` in `DOORS`.
#[utoipa::path(
    get, path = "/api/v1/turn/credentials",
    params(MintQuery),
    responses((status = 200, description = "ICE servers.", body = Vec<MeteredServer>))
)]
pub async fn get_metered_credentials(app: AppState, request: Request) -> Result<Response, ApiError> {
    Ok(mint(&app, request, |answer, IgnoredAny| Json(metered(answer.servers(&app.stun)))).await)
}

/// One `Link` for each URL.
fn ice_links(servers: &IceServerList) -> Vec<(HeaderName, HeaderValue)> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let link = |(server, url): (&IceServer, &IceUrl)| {
        let credential = match (&server.username, &server.credential) {
            (Some(username), Some(credential)) => format!(
                "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                quoted(username),
                quoted(credential)
            ),
            _ => String::new(),
        };
        let text = format!("<{url}>; rel=\"ice-server\"{credential}");
        // A user name with a control character fits into no header, so its link is left out.
        Some((LINK, HeaderValue::try_from(text).ok()?))
    };
    servers.entries().filter_map(link).collect()
}

fn metered(servers: &IceServerList) -> Vec<MeteredServer> {
    let entry = |(server, url): (&IceServer, &IceUrl)| MeteredServer {
        urls: url.to_string(),
        username: server.username.clone(),
        credential: server.credential.clone(),
    };
    servers.entries().map(entry).collect()
}

/// Rejects a foreign request to the path of the TURN REST draft, unless the request has a server key. The key may be in the form, so the
/// form of a foreign request is read first.
pub async fn refuse_foreign_form(app: AppState, mut request: Request, next: Next) -> Response {
    let may_have_key = request.method() == Method::POST && !app.server_keys.is_empty();
    if may_have_key && is_foreign(&app, &request) {
        let (head, body) = request.into_parts();
        let whole = Request::from_parts(head.clone(), body);
        let read = async {
            let (whole, _long_body) = gather(&app.bodies, whole, BODY_MAX).await?;
            with_form(whole).await
        };
        // A form that cannot be read counts as one without a key.
        request = read.await.unwrap_or_else(|_| Request::from_parts(head, Body::empty()));
    }
    match refuse_foreign(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused,
    }
}

/// The request with the parameters of its form in the query. Janus sends each parameter in the query and in the form.
async fn with_form(request: Request) -> Result<Request, ApiError> {
    let wrong = || {
        ApiError::invalid("Send the parameters in the query or a form (application/x-www-form-urlencoded).")
    };
    let (mut parts, body) = request.into_parts();
    let form = to_bytes(body, BODY_MAX).await.map_err(|_| wrong())?;
    let form = std::str::from_utf8(&form).map_err(|_| wrong())?;
    parts.uri = joined(&parts.uri, form).parse::<Uri>().map_err(|_| wrong())?;
    Ok(Request::from_parts(parts, Body::empty()))
}

/// The path with the parameters of the query and of a form. A parameter that both have with the same value is there once.
fn joined(uri: &Uri, form: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let in_query: HashSet<&str> = query.split('&').collect();
    let in_form_alone = form.split('&').filter(|pair| !in_query.contains(pair));
    let pairs = [query].into_iter().chain(in_form_alone).filter(|pair| !pair.is_empty());
    format!("{}?{}", uri.path(), pairs.collect::<Vec<_>>().join("&"))
}

/// The layer that adds what Matrix clients read of an error: a code of theirs, and when to try again.
pub async fn readable(response: Response) -> Response {
    with_error(response, |error, head| {
        let wait = head.headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        error.errcode = Some(match (head.status, wait) {
            (StatusCode::TOO_MANY_REQUESTS, Some(seconds)) => {
                error.retry_after_ms = Some(seconds * 1_000);
                "M_LIMIT_EXCEEDED"
            }
            // A 429 without `Retry-After`: waiting does not help, because the credential is never renewed.
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                "M_FORBIDDEN"
            }
            _ => "M_UNKNOWN",
        });
        Json(error).into_response()
    })
}

fn turn_rest(app: &App, answer: &IceResponse) -> TurnRestBody {
    match answer {
        IceResponse::Minted(minted) => one_credential(&minted.ice_servers, minted.ttl),
        IceResponse::Stun(_) => one_credential(&app.stun, STUN_ONLY_TTL),
    }
}

/// The list in a format that has only one credential: the first credential and its TURN URLs. STUN URLs are there only if there is no TURN
/// URL, because programs such as Janus take the first URL for a TURN server.
fn one_credential(servers: &IceServerList, ttl: Duration) -> TurnRestBody {
    let IceServer { urls, username, credential } = servers.in_one();
    let has_relay = servers.relays();
    let uris = urls.iter().filter(|url| !has_relay || url.relays());
    TurnRestBody {
        username: username.unwrap_or_default(),
        password: credential.unwrap_or_default(),
        ttl: ttl.as_secs(),
        uris: uris.map(ToString::to_string).collect(),
    }
}

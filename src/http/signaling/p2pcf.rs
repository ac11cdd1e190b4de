//! The routes of P2PCF. Its client knows one URL, so every request goes to one path, and none is redirected. Every response has
//! its CORS headers, so that a page can read it, also a refusal before the protocol sees the request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, Request};
use axum::http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, body};
use turn_ledger::{ClientKey, User};
use turn_signaling::p2pcf::{CORS, Origin, P2pcfResponse, Refusal};

use crate::app::App;
use crate::config::AllowedOrigins;
use crate::http::AppState;
use crate::http::origin::{ORIGIN_SHOWN_MAX, foreign};
use turn_base::error::{ApiError, ErrorBody};
use turn_base::request::client_addr::ClientAddr;
use turn_base::response::Polled;
use turn_base::response::Verbatim;
use turn_base::sign_in::{require, signed_in};

/// The routes, without layers. None if P2PCF is off.
pub fn routes(app: &App) -> Router<Arc<App>> {
    let Some(p2pcf) = &app.signaling.p2pcf else { return Router::new() };
    let path = p2pcf.path();
    Router::new().route(path, any(answer)).route(&format!("{path}/"), any(answer))
}

/// The layer that lets a page of any origin read the response.
pub async fn readable(mut response: Response) -> Response {
    for (name, value) in CORS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// The client asks P2PCF, or for ids of `PeerJS`, too often.
pub(super) fn too_many_polls(retry_in: Duration) -> ApiError {
    let message = "Send fewer requests: an address has 1,200 a minute.";
    ApiError::too_many("Too many requests", message, retry_in)
}

/// The layer that rejects a client that polls too often.
pub async fn limit(
    app: AppState,
    Extension(ClientAddr(client)): Extension<ClientAddr>,
    request: Request,
    next: Next,
) -> Response {
    match app.poll_rate.count(client) {
        Some(retry_in) => too_many_polls(retry_in).into_response(),
        None => next.run(request).await,
    }
}

async fn answer(
    app: AppState,
    Extension(ClientAddr(client)): Extension<ClientAddr>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(p2pcf) = &app.signaling.p2pcf else { return ApiError::no_route().into_response() };
    let user = match user(&app, &method, &headers, query.as_deref()).await {
        Ok(user) => user,
        Err(error) => return error.into_response(),
    };
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let origin = origin(&headers, &app.origins);
    let answer = p2pcf.answer(&turn_signaling::p2pcf::Request {
        method: method.as_str(),
        origin,
        client: ClientKey::of(client),
        user: user.as_ref(),
        content_type: header(CONTENT_TYPE),
        worker_method: header(HeaderName::from_static("x-worker-method")),
        preflight_method: header(ACCESS_CONTROL_REQUEST_METHOD),
        preflight_headers: header(ACCESS_CONTROL_REQUEST_HEADERS),
        body: &body,
    });
    let for_the_log = summarized(&app, &answer, origin);
    let mut response = into_response(answer);
    match for_the_log {
        Some(error) => response.extensions_mut().insert(error).is_some(),
        None => response.extensions_mut().insert(Polled).is_some(),
    };
    response
}

/// The user of a page. A greeting needs none, and a browser sends no token before it asks whether it may.
async fn user(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Option<User>, ApiError> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(None);
    }
    let user = signed_in(&*app.broker, headers, query).await?.map(|verified| verified.user);
    require(&*app.broker, user.as_ref())?;
    Ok(user)
}

/// Where the page comes from. One `Origin` that is not allowed is enough for [`Origin::Other`].
fn origin<'a>(headers: &'a HeaderMap, allowed: &AllowedOrigins) -> Origin<'a> {
    match foreign(headers, allowed) {
        Some(other) => Origin::Other(other.to_str().unwrap_or_default()),
        None if headers.contains_key(ORIGIN) => Origin::Listed,
        None => Origin::Unnamed,
    }
}

/// The refusals that an operator should see, as the log summarizes them.
fn summarized(app: &App, answer: &P2pcfResponse, origin: Origin<'_>) -> Option<ErrorBody> {
    let code = match answer {
        P2pcfResponse::Refused(Refusal::Origin) => "ORIGIN_NOT_ALLOWED",
        P2pcfResponse::Refused(Refusal::OverQuota | Refusal::RoomFull | Refusal::TooManyEntries) => {
            "RATE_LIMITED"
        }
        _ => return None,
    };
    let refused_origin = match origin {
        Origin::Other(origin) => Some(origin.chars().take(ORIGIN_SHOWN_MAX).collect()),
        Origin::Listed | Origin::Unnamed => None,
    };
    if code == "ORIGIN_NOT_ALLOWED" {
        app.metrics.origins_refused.inc();
    }
    Some(ErrorBody { code, refused_origin, ..ErrorBody::default() })
}

fn into_response(answer: P2pcfResponse) -> Response {
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = answer.content_type();
    // The value is our own, or a header of the request.
    let header = answer.header().and_then(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?)));
    let mut response = (status, body::Body::from(answer.into_body().into_bytes())).into_response();
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some((name, value)) = header {
        headers.insert(HeaderName::from_static(name), value);
    }
    response.extensions_mut().insert(Verbatim);
    response
}

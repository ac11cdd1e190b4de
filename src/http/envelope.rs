//! The outermost layer: request id, client address, the rules of the request's head, one log line, one count and the error body.
//! Every response has an id, and every error response has a body. Also here, as an inner layer: the bound on requests in progress.

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

use axum::extract::{ConnectInfo, MatchedPath, State};
use axum::http::Method;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::response::Parts;
use axum::middleware::Next;
use futures_util::FutureExt;

use super::head;
use super::prelude::*;
use super::request_log::{self, Minted, RequestHead};
use crate::alert::StopCode;
use crate::app::Process;
use crate::forward::{CountedSocket, FORWARDED};
use crate::telemetry::metrics::{Metrics, RequestLabels};
use turn_base::{ClientAddr, REQUEST_ID, Verbatim, body};
use turn_ledger::ClientKey;

/// The groups of routes that balancers, monitoring and people look at. Their answers do not show that clients reach this replica.
const WITHOUT_CLIENTS: [&str; 5] = ["health", "operator", "budget", "browser", "unmatched"];

/// The outermost layer of a group of routes. Only the layer that changes the form of their errors is outside it. The kind of the group is a
/// label of the metrics.
pub async fn envelope(
    State((app, kind)): State<(Arc<App>, &'static str)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = app.clock.instant();
    let request_id = app.request_ids.of(request.headers());
    let hop = app.forward_key.as_ref().and_then(|key| key.check(&request));
    let is_by_replica = hop.is_some();
    // The connections of a replica do not count for one client. They are exempt before the request is handled, because many connections of
    // a replica may wait for responses at the same time.
    if is_by_replica && let Some(socket) = request.extensions().get::<Arc<dyn CountedSocket>>() {
        socket.exempt();
    }
    let client = match hop {
        Some(hop) => Some(hop.restore(&mut request)),
        None => client_addr(&app, &request),
    };
    if let Some(client) = client {
        request.extensions_mut().insert(client);
    }
    let origin = request_log::origin_of(&request);
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);

    let response = match head::refuse(&request, route, &app.config.access.hosts, is_by_replica) {
        Some(refused) => refused,
        // This process might not be able to write the changes of the request. The replica sends the request to the next leader.
        None if is_by_replica && app.draining.load(Ordering::Relaxed) => {
            ApiError::shutting_down().into_response()
        }
        None => catch_panic(&app.metrics, next.run(request)).await,
    };
    let mut response = finish(response, &request_id);
    if is_by_replica && is_for_the_next_leader(&app, &response) {
        response.headers_mut().insert(FORWARDED, HeaderValue::from_static("refused"));
    }

    let took = app.clock.instant().saturating_duration_since(started);
    let status = response.status().as_u16();
    if status == 401 && is_unauthorized(&response) {
        app.metrics.unauthorized.count([kind]);
    }
    if kind == "mint"
        && let Some(error) = response.extensions().get::<ErrorBody>()
    {
        app.metrics.mint_refusals.count([error.code]);
    }
    let is_answered = status < 400 && !is_by_replica && !WITHOUT_CLIENTS.contains(&kind);
    if is_answered && let Some(lead) = &app.lead {
        *lead.answered_at.write() = Some(app.clock.since_boot());
    }
    app.metrics.request(&RequestLabels { route: route.to_owned(), method, status }, took);
    let head = RequestHead { request_id: &request_id, client, method, route, origin };
    request_log::log_line(&app, head, &response, took);
    response
}

/// Passes a request on once its whole body has arrived. From then on it counts as in progress. It is rejected while too many requests are
/// in progress, so that these finish in time, or a quarter of these from one client.
pub async fn admit(State((app, most)): State<(Arc<App>, usize)>, request: Request, next: Next) -> Response {
    // A long body counts until the request is answered, because the body is in memory until then.
    let (request, _long_body) = match body::gather(&app.bodies, request, most).await {
        Ok(gathered) => gathered,
        Err(error) => return error.into_response(),
    };
    let client =
        request.extensions().get::<ClientAddr>().map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.0);
    let mut place = app.in_flight.open(ClientKey::of(client));
    if !place.try_resize(1) {
        app.metrics.shed.inc();
        return ApiError::overloaded().into_response();
    }
    catch_panic(&app.metrics, next.run(request)).await
}

/// The response, or that of an internal error in place of a panic. The process's hook logs the panic. This is around all routes. At the leader
/// it is also inside the CORS layer, so that the page may read the response.
pub(super) async fn catch_panic(metrics: &Metrics, response: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(response).catch_unwind().await.unwrap_or_else(|_| {
        metrics.panics.inc();
        ApiError::internal().into_response()
    })
}

/// The layer that does this where [`admit`] does not.
pub async fn without_panic(State(app): AppState, request: Request, next: Next) -> Response {
    catch_panic(&app.metrics, next.run(request)).await
}

/// The layer that gives errors at the proxy of the SFU the form of the SFU.
pub async fn readable_by_sfu(app: AppState, request: Request, next: Next) -> Response {
    let is_text = sfu_error_is_text(&app, &request);
    in_form_of_sfu(next.run(request).await, is_text)
}

/// At a path of the SFU's proxy: whether the body of an error is plain text there, and not JSON. `None` at all other paths.
pub(super) fn sfu_error_is_text(process: &Process, request: &Request) -> Option<bool> {
    process.config.signaling.sfu.as_ref()?.error_is_text(request.uri().path())
}

/// The response with its error as text, or as JSON that has the SFU's fields, too. `is_text`: the result of [`sfu_error_is_text`].
pub(super) fn in_form_of_sfu(response: Response, is_text: Option<bool>) -> Response {
    let Some(is_text) = is_text else { return response };
    with_error(response, |error, _| {
        let code = error.code.to_ascii_lowercase();
        let description = error.message.clone().unwrap_or(error.error.into());
        if is_text {
            return format!("{code}: {description}").into_response();
        }
        (error.error_code, error.error_description) = (Some(code), Some(description));
        Json(error).into_response()
    })
}

/// The response with another body, if it has an error. `body`: changes the error, and makes the body of it.
pub(super) fn with_error(
    mut response: Response,
    body: impl FnOnce(&mut ErrorBody, &Parts) -> Response,
) -> Response {
    let Some(mut error) = take_error(&mut response) else { return response };
    let (mut head, _) = response.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(CONTENT_TYPE);
    let (head_of_body, body) = body(&mut error, &head).into_parts();
    head.headers.extend(head_of_body.headers);
    head.extensions.insert(error);
    Response::from_parts(head, body)
}

/// Adds the headers that every response has, such as the id, and the body of an error.
pub(super) fn finish(response: Response, request_id: &str) -> Response {
    let mut response = with_error(response, |error, _| {
        request_id.clone_into(&mut error.request_id);
        Json(error).into_response()
    });
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if headers.get(VARY).is_some_and(|vary| vary == "origin") {
        // The CORS layer writes it in lower case. The documentation says `Origin`.
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Takes our own error out of the response. An error status without an error of ours comes from a layer: the result is then the error for
/// this status. `None` for a success, and for a response that must stay as it is.
fn take_error(response: &mut Response) -> Option<ErrorBody> {
    if response.extensions().get::<Verbatim>().is_some() {
        return None;
    }
    let status = response.status();
    let own = response.extensions_mut().remove::<ErrorBody>();
    let is_error = status.is_client_error() || status.is_server_error();
    if own.is_none() && is_error { Some(*ApiError::of_status(status).body) } else { own }
}

/// Whether a 401 means that a token is missing or wrong. `PeerJS` answers 401 to every request for a list of peers; that response is
/// verbatim, so it has no `ErrorBody`. P2PCF answers 401 to a foreign origin.
fn is_unauthorized(response: &Response) -> bool {
    response.extensions().get::<ErrorBody>().is_some_and(|error| error.code != "ORIGIN_NOT_ALLOWED")
}

/// Whether this process did nothing, or gave no relay, because it gives up the ledger. The replica that has forwarded the request then
/// sends it to the next leader.
fn is_for_the_next_leader(app: &App, response: &Response) -> bool {
    let code = response.extensions().get::<ErrorBody>().map(|error| error.code);
    let reason = response.extensions().get::<Minted>().and_then(|minted| minted.reason).map(StopCode::reason);
    let is_refused =
        matches!(code, Some("LEDGER_UNAVAILABLE" | "SHUTTING_DOWN")) || reason == Some("LEDGER_UNAVAILABLE");
    app.draining.load(Ordering::Relaxed) && is_refused
}

/// The client's address: that of the socket's peer or, if the peer is a trusted proxy, the address that the proxy's header names.
pub(super) fn client_addr(process: &Process, request: &Request) -> Option<ClientAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(process.config.access.trusted_proxies.client_of(peer.ip(), request.headers()))
}

/// The method as a metric label from a closed set: a client can send any method.
pub(super) fn known_method(method: &Method) -> &'static str {
    let known = ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

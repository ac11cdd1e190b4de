//! The routes of a standby: its own health and metrics. Tests: `tests/it/replicas/role.rs`.
//! Everything else goes to the replica that leads. The outermost layer here does what a standby can do by itself: the rules of the head,
//! the client's address, the bound on the body, and the form of its own errors.

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::Ordering;

use axum::extract::{MatchedPath, State};
use axum::http::header::ORIGIN;
use axum::middleware::Next;
use tower::{Layer, ServiceExt, service_fn};

use super::envelope::{catch_panic, client_addr, finish, in_form_of_sfu, known_method, sfu_error_is_text};
use super::health::{HealthBody, LeaderBody, ReadyBody};
use super::metrics::{add_process, rendered};
use super::operator::{check_monitor, is_operator};
use super::prelude::*;
use super::request_log::is_polled;
use super::{head, origin};
use crate::alert::Fault;
use crate::app::process::Standby;
use crate::config::AllowedOrigins;
use crate::forward::PassedOn;
use crate::telemetry::metrics::{RequestLabels, ScrapedFigures};
use turn_base::REQUEST_ID;
use turn_base::body::read;

/// The longest body that is passed on. No route takes a longer one.
const BODY_MAX: usize = 1024 * 1024;
/// The route in the metrics of a request that a standby refuses instead of passing it on.
const FORWARDING: &str = "forwarding";

/// What somebody who is not the operator should do about a replica that lacks the ledger.
const DOCTOR: &str = "Run turn-broker doctor with the settings of this replica.";

type StandbyState = State<Arc<Standby>>;

/// The outermost layer. A response of the leader stays as it is.
pub async fn envelope(standby: StandbyState, mut request: Request, next: Next) -> Response {
    let started = standby.clock.instant();
    let id = standby.request_ids.of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(FORWARDING, MatchedPath::as_str);
    // The rules are for the head as the client sent it, so they come before anything is added.
    let refused = head::refuse(&request, route, &standby.config.access.hosts, false);
    if let Ok(id) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID, id);
    }
    if let Some(client) = client_addr(&standby, &request) {
        request.extensions_mut().insert(client);
    }
    let method = known_method(request.method());
    let is_text = sfu_error_is_text(&standby, &request);
    let response = match refused {
        Some(refused) => refused,
        None => catch_panic(&standby.metrics, next.run(request)).await,
    };
    if response.extensions().get::<PassedOn>().is_some() {
        return response;
    }
    let response = in_form_of_sfu(finish(response, &id), is_text);
    let took = standby.clock.instant().saturating_duration_since(started);
    let status = response.status().as_u16();
    standby.metrics.request(&RequestLabels { route: route.to_owned(), method, status }, took);
    if let Some(ErrorBody { code, .. }) = response.extensions().get()
        && !is_polled(method, route, Some(code))
        && let Some(held_back) = standby.refusal_log.pass(code, standby.clock.instant())
    {
        tracing::warn!(request_id = id, method, status, code, held_back, "request");
    }
    response
}

/// The pages that may read the leader's responses at this path.
fn readers<'a>(standby: &'a Standby, path: &str) -> &'a AllowedOrigins {
    let p2pcf = standby.config.signaling.protocols.p2pcf.as_ref();
    let is_for_all = p2pcf.is_some_and(|p2pcf| path.strip_suffix('/').unwrap_or(path) == p2pcf.path);
    if is_for_all { &AllowedOrigins::Any } else { &standby.config.access.origins }
}

/// Adds CORS headers to an error of this standby. `page`: the page's origin, and the origins that may read the leader's response. Without a
/// page, the error stays as it is.
async fn readable(page: Option<(HeaderValue, &AllowedOrigins)>, response: Response) -> Response {
    let Some((origin, origins)) = page else { return response };
    let mut request = Request::default();
    request.headers_mut().insert(ORIGIN, origin);
    // The CORS layer adds headers only to the response of a service. So this service returns the error that exists already.
    let mut answer = Some(response);
    let answered =
        service_fn(move |_: Request| ready(Ok::<_, Infallible>(answer.take().unwrap_or_default())));
    let Ok(response) = origin::cors(origins).layer(answered).oneshot(request).await;
    response
}

/// Passes a request on to the replica that leads.
pub async fn forward(standby: StandbyState, request: Request) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let page = origin.map(|origin| (origin, readers(&standby, request.uri().path())));
    match pass_on(&standby, request).await {
        Ok(response) => response,
        Err(error) => readable(page, error.into_response()).await,
    }
}

async fn pass_on(standby: &Standby, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (body, _long_body) = read(&standby.bodies, &parts, body, BODY_MAX).await?;
    standby.forwarder.forward(axum::http::Request::from_parts(parts, body)).await
}

/// The process is alive.
pub async fn get_health(standby: StandbyState) -> Json<HealthBody> {
    Json(HealthBody::of(&standby, Some("standby")))
}

/// Requests can be served: this replica has no fault, and the leader is ready or was reached lately.
pub async fn get_ready(standby: StandbyState, request: Request) -> JsonResult<ReadyBody> {
    if standby.draining.load(Ordering::Relaxed) {
        return Err(ApiError::shutting_down());
    }
    let is_for_operator = is_operator(&standby, &request);
    let told =
        |error: ApiError, cause| error.message(if is_for_operator { cause } else { DOCTOR.to_owned() });
    if let Some(fault) = standby.fault.lock().clone() {
        return Err(told(ApiError::no_leader(), fault));
    }
    let (unread, warning) = (standby.unread.lock().clone(), standby.warning.lock().clone());
    // What keeps this replica from the database or from the lead may be why no leader is reached.
    let unread =
        unread.map(|why| format!("{}: {}.", DOCTOR.trim_end_matches('.'), why.trim_end_matches('.')));
    if let Err(error) = standby.forwarder.probe().await {
        return Err(match unread.or(warning) {
            Some(cause) => told(error, cause),
            None => error,
        });
    }
    let warning = warning.map(|warning| {
        if is_for_operator { warning } else { Fault::ReplicasDiffer.facts().sentence.to_owned() }
    });
    Ok(Json(ReadyBody { status: "ready", provider: None, minting: None, warning }))
}

/// This replica does not lead.
pub async fn get_leader() -> JsonResult<LeaderBody> {
    Err(ApiError::no_leader())
}

/// Counters and gauges of this replica. Those of the books are at the leader.
pub async fn get_metrics(standby: StandbyState, request: Request) -> Result<Response, ApiError> {
    check_monitor(&standby, &request)?;
    let mut scraped = ScrapedFigures::default();
    add_process(&mut scraped, &standby, false);
    rendered(&standby.metrics, &scraped, request.headers())
}

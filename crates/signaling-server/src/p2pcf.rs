//! The routes of P2PCF. Tests: `tests/it/signaling/p2pcf.rs`. Its client knows one URL, so every request goes to one path, and none is
//! redirected. Every response has its CORS headers, so that a page can read it, also a refusal before the protocol sees the request. The
//! rooms are behind one lock, and events of calls are passed on in order.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    CONTENT_TYPE, ORIGIN,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;
use parking_lot::Mutex;
use turn_base::error::{ApiError, ErrorBody};
use turn_base::request::client_addr::ClientAddr;
use turn_base::request::header::ORIGIN_SHOWN_MAX;
use turn_base::response::{Polled, Verbatim};
use turn_base::sign_in::{require, signed_in};
use turn_ledger::{ClientKey, User};
use turn_limits::Holder;
use turn_signaling::call::ProtocolName;
use turn_signaling::p2pcf::{self, CORS, DeleteKeys, Origin, P2pcf, P2pcfResponse, Refusal};
use turn_signaling::protocol::Action;

use crate::broker::{Counted, ServerBroker, Service};
use crate::settings::P2pcfConfig;

/// What a person who opens the URL sees.
const GREETING: &str = "<!doctype html><title>P2PCF</title><p>Hello from P2PCF. Signaling is ready.</p>";
/// The value of `Allow`.
const METHODS: &str = "GET, POST, DELETE, OPTIONS";

/// The routes, without layers. None if P2PCF is off.
pub fn routes<S: Clone + Send + Sync + 'static>(p2pcf: Option<&Arc<P2pcfShell>>) -> Router<S> {
    let Some(p2pcf) = p2pcf else { return Router::new() };
    let path = &p2pcf.path;
    Router::new()
        .route(path, any(answer))
        .route(&format!("{path}/"), any(answer))
        .with_state(Arc::clone(p2pcf))
}

/// The layer that lets a page of any origin read the response.
pub fn readable(mut response: Response) -> Response {
    for (name, value) in CORS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn answer(
    State(p2pcf): State<Arc<P2pcfShell>>,
    Extension(ClientAddr(client)): Extension<ClientAddr>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let broker = &*p2pcf.service.broker;
    let user = match user(broker, &method, &headers, query.as_deref(), client).await {
        Ok(user) => user,
        Err(error) => return error.into_response(),
    };
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let origin = origin(&headers, broker);
    let answer = p2pcf.answer(&p2pcf::Request {
        method: method.as_str(),
        origin,
        holder: Holder::new(ClientKey::of(client), user),
        content_type: header(CONTENT_TYPE),
        worker_method: header(HeaderName::from_static("x-worker-method")),
        preflight_method: header(ACCESS_CONTROL_REQUEST_METHOD),
        preflight_headers: header(ACCESS_CONTROL_REQUEST_HEADERS),
        body: &body,
    });
    let for_the_log = summarized(broker, &answer, origin);
    let mut response = into_response(answer);
    if let Some(error) = for_the_log {
        response.extensions_mut().insert(error);
    } else {
        response.extensions_mut().insert(Polled);
    }
    response
}

/// The user of a page. A greeting needs none, and a browser sends no token before it asks whether it may.
async fn user(
    broker: &dyn ServerBroker,
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
    address: IpAddr,
) -> Result<Option<User>, ApiError> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(None);
    }
    let verified = signed_in(broker, headers, query, ClientKey::of(address)).await?;
    let user = verified.map(|verified| verified.user);
    require(broker, user.as_ref())?;
    Ok(user)
}

/// Where the page comes from. One `Origin` that is not allowed is enough for [`Origin::Other`].
fn origin<'a>(headers: &'a HeaderMap, broker: &dyn ServerBroker) -> Origin<'a> {
    match broker.foreign_origin(headers) {
        Some(other) => Origin::Other(other.to_str().unwrap_or_default()),
        None if headers.contains_key(ORIGIN) => Origin::Listed,
        None => Origin::Unnamed,
    }
}

/// The refusals that an operator should see, as the log summarizes them.
fn summarized(broker: &dyn ServerBroker, answer: &P2pcfResponse, origin: Origin<'_>) -> Option<ErrorBody> {
    let P2pcfResponse::Refused(refusal) = answer else { return None };
    let code = match refusal {
        Refusal::Origin => {
            broker.count(Counted::ForeignOrigin);
            "ORIGIN_NOT_ALLOWED"
        }
        Refusal::OverQuota | Refusal::RoomFull | Refusal::TooManyEntries => "RATE_LIMITED",
        _ => return None,
    };
    let refused_origin = match origin {
        Origin::Other(origin) => Some(origin.chars().take(ORIGIN_SHOWN_MAX).collect()),
        Origin::Listed | Origin::Unnamed => None,
    };
    Some(ErrorBody { code, refused_origin, ..ErrorBody::default() })
}

fn into_response(answer: P2pcfResponse) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    let mut response = match answer {
        P2pcfResponse::Greeting => Html(GREETING).into_response(),
        P2pcfResponse::Preflight { allow_headers } => {
            [(ACCESS_CONTROL_ALLOW_HEADERS, allow_headers)].into_response()
        }
        P2pcfResponse::Options => [(ALLOW, METHODS)].into_response(),
        P2pcfResponse::Listing(listing) => (json, Bytes::from_owner(listing)).into_response(),
        P2pcfResponse::Deleted => (json, "{}").into_response(),
        P2pcfResponse::Refused(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let allow = (refusal == Refusal::Method).then_some([(ALLOW, METHODS)]);
            (status, allow, refusal.to_string()).into_response()
        }
    };
    response.extensions_mut().insert(Verbatim);
    response
}

/// Clients with a wrong clock that the log names, each once.
const SKEWED_MAX: usize = 1_024;

/// P2PCF with what it needs of the service.
pub struct P2pcfShell {
    /// Without a slash at its end.
    path: String,
    state: Mutex<P2pcfState>,
    started: Instant,
    service: Arc<Service>,
}

struct P2pcfState {
    p2pcf: P2pcf,
    /// Clients whose clock is known to be wrong.
    skewed: HashSet<ClientKey>,
}

impl P2pcfShell {
    /// P2PCF without rooms.
    pub(crate) fn new(config: &P2pcfConfig, keys: DeleteKeys, service: Arc<Service>) -> Self {
        let state = P2pcfState { p2pcf: P2pcf::new(config.origin_quota, keys), skewed: HashSet::new() };
        let started = service.clock.instant();
        Self { path: config.path.clone(), state: Mutex::new(state), started, service }
    }

    /// Answers a request.
    pub(crate) fn answer(&self, request: &p2pcf::Request<'_>) -> P2pcfResponse {
        let wall = self.service.clock.now();
        // Before the lock: a body has up to 256 KiB.
        let parsed = request.parse(wall);
        let mut state = self.state.lock();
        let (answer, actions) = state.p2pcf.answer(parsed, self.now(), wall);
        self.carry_out(actions);
        if answer == P2pcfResponse::Refused(Refusal::Timestamp) {
            state.log_skew(request.holder.client());
        }
        answer
    }

    /// Removes expired entries.
    pub(crate) fn expire(&self) {
        let mut state = self.state.lock();
        self.carry_out(state.p2pcf.expire(self.now()));
    }

    /// Under the lock, so that events of calls are passed on in order.
    fn carry_out(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Call(event) => self.service.broker.call(event),
                Action::Dropped(why) => {
                    self.service.broker.count(Counted::Dropped(ProtocolName::P2pcf, why));
                }
                // There is no socket.
                _ => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.service.clock.instant().saturating_duration_since(self.started)
    }
}

impl P2pcfState {
    /// The page is refused for as long as its clock is wrong, so one line for each client is enough.
    fn log_skew(&mut self, client: ClientKey) {
        if self.skewed.len() < SKEWED_MAX && self.skewed.insert(client) {
            tracing::warn!(%client, "P2PCF refuses a page whose clock is more than 10 minutes off, or that sends no time");
        }
    }
}

//! The routes of P2PCF. Tests: `tests/it/signaling/p2pcf.rs`. Its client knows one URL, so every request goes to one path, and none is
//! redirected. Every response has the CORS headers of P2PCF, so that a page can read it, also a refusal before the protocol sees the
//! request. The rooms are behind one lock, and events of calls are passed on in order.

use std::time::Instant;

use axum::extract::{Extension, RawQuery};
use axum::http::Method;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    CONTENT_TYPE, ORIGIN,
};
use axum::response::Html;
use axum::routing::any;
use turn_base::{ErrorBody, ORIGIN_SHOWN_MAX, Polled, Verbatim, user_of};
use turn_budget::Timestamp;
use turn_signaling::p2pcf::{DeleteKeys, Operation, Origin, P2pcfAnswer, P2pcfResponse, Refusal, Request};
use turn_signaling::{Action, P2pcf};

use super::prelude::*;
use crate::form::media_type;
use crate::{P2pcfConfig, ServerBroker};

/// What a person who opens the URL sees.
const GREETING: &str = "<!doctype html><title>P2PCF</title><p>Hello from P2PCF. Signaling is ready.</p>";
const JSON: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];
/// The value of `Allow`.
const METHODS: &str = "GET, POST, DELETE, OPTIONS";
/// The header with the method that is meant: a page that closes can only send a POST.
const WORKER_METHOD: HeaderName = HeaderName::from_static("x-worker-method");
/// The headers of every answer, errors included, so that a page of any origin can read it. Which origins are served is decided
/// by [`Origin`], not by the browser.
const CORS: [(&str, &str); 4] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET,HEAD,POST,DELETE,OPTIONS"),
    ("access-control-max-age", "86400"),
    ("vary", "Origin"),
];

/// The routes. None if P2PCF is off.
pub fn routes<S>(p2pcf: Option<&Arc<P2pcfShell>>) -> Vec<(String, MethodRouter<S>)> {
    let Some(p2pcf) = p2pcf else { return vec![] };
    let handlers = || any(answer).with_state(Arc::clone(p2pcf));
    vec![(p2pcf.path.clone(), handlers()), (format!("{}/", p2pcf.path), handlers())]
}

/// The layer that lets a page of any origin read the response.
pub fn readable(response: Response) -> Response {
    (CORS, response).into_response()
}

async fn answer(
    State(p2pcf): State<Arc<P2pcfShell>>,
    Extension(ClientAddr(client)): Extension<ClientAddr>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let (broker, client) = (&*p2pcf.service.broker, ClientKey::of(client));
    // The greeting needs no user, and a preflight has no token.
    let needs_room = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&method);
    let user =
        if needs_room { user_of(broker, &headers, query.as_deref(), client, true).await? } else { None };
    let (origin, holder) = (origin(&headers, broker), Holder::new(client, user));
    let wall = p2pcf.service.clock.now();
    // Parsed before the lock: a body has up to 256 KiB.
    let operation = needs_room.then(|| operation(&method, &headers, &body, wall)).transpose();
    let answer = p2pcf.answer(Request { origin, holder, wall, operation });
    let for_the_log = answer.as_ref().err().and_then(|refusal| summarized(broker, refusal, origin));
    let mut response = match answer {
        Ok(P2pcfResponse::Admitted) if method == Method::OPTIONS => options(&headers, origin),
        Ok(P2pcfResponse::Admitted) => Html(GREETING).into_response(),
        Ok(P2pcfResponse::Listing(listing)) => (JSON, Bytes::from_owner(listing)).into_response(),
        Ok(P2pcfResponse::Deleted) => (JSON, "{}").into_response(),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let allow = (refusal == Refusal::Method).then_some([(ALLOW, METHODS)]);
            (status, allow, refusal.to_string()).into_response()
        }
    };
    response.extensions_mut().insert(Verbatim);
    if let Some(error) = for_the_log {
        response.extensions_mut().insert(error);
    } else {
        response.extensions_mut().insert(Polled);
    }
    Ok(response)
}

/// What a request asks for, in the order of the reference server's checks.
fn operation(method: &Method, head: &HeaderMap, body: &[u8], wall: Timestamp) -> Result<Operation, Refusal> {
    if media_type(head) != "application/json" {
        return Err(Refusal::MediaType);
    }
    let is_delete = head.get(WORKER_METHOD).is_some_and(|method| method == "DELETE");
    if is_delete || method == Method::DELETE {
        Operation::delete(body, wall)
    } else if method == Method::POST {
        Operation::post(body, wall)
    } else {
        Err(Refusal::Method)
    }
}

/// The answer to `OPTIONS`. A page may send every header for which its preflight asks: the headers carry no rights.
fn options(headers: &HeaderMap, origin: Origin<'_>) -> Response {
    let is_preflight = origin != Origin::Unnamed && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    match headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        Some(asked) if is_preflight => [(ACCESS_CONTROL_ALLOW_HEADERS, asked)].into_response(),
        _ => [(ALLOW, METHODS)].into_response(),
    }
}

/// Where the page comes from. [`Origin::Other`] if any `Origin` header is not allowed.
fn origin<'a>(headers: &'a HeaderMap, broker: &dyn ServerBroker) -> Origin<'a> {
    match broker.foreign_origin(headers) {
        Some(other) => Origin::Other(other.to_str().unwrap_or_default()),
        None if headers.contains_key(ORIGIN) => Origin::Listed,
        None => Origin::Unnamed,
    }
}

/// What the log says of a refusal that an operator should see. `None` for any other refusal.
fn summarized(broker: &dyn ServerBroker, refusal: &Refusal, origin: Origin<'_>) -> Option<ErrorBody> {
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

/// P2PCF with what it needs of the service.
pub struct P2pcfShell {
    /// Without a slash at its end.
    path: String,
    p2pcf: Mutex<P2pcf>,
    /// Limits the log lines about pages with a wrong clock.
    skew_log: Throttle,
    started: Instant,
    service: Arc<Service>,
}

impl P2pcfShell {
    /// P2PCF without rooms.
    pub(crate) fn new(config: &P2pcfConfig, keys: DeleteKeys, service: Arc<Service>) -> Self {
        let p2pcf = Mutex::new(P2pcf::new(config.origin_quota, keys));
        let (path, started) = (config.path.clone(), service.clock.instant());
        Self { path, p2pcf, skew_log: Throttle::default(), started, service }
    }

    fn answer(&self, request: Request<'_>) -> P2pcfAnswer {
        let client = request.holder.client();
        let mut p2pcf = self.p2pcf.lock();
        let (answer, actions) = p2pcf.answer(request, self.now());
        self.carry_out(actions);
        drop(p2pcf);
        if answer == Err(Refusal::Timestamp)
            && let Some(held_back) = self.skew_log.pass(self.service.clock.instant())
        {
            tracing::info!(
                %client, held_back,
                "P2PCF refuses a page whose clock is more than 10 minutes off, or that sends no time"
            );
        }
        answer
    }

    /// Removes expired entries.
    pub(crate) fn expire(&self) {
        let mut p2pcf = self.p2pcf.lock();
        self.carry_out(p2pcf.expire(self.now()));
    }

    /// Under the lock, so that events of calls are passed on in order.
    fn carry_out(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Call(event) => self.service.broker.call(event),
                Action::Dropped(why) => {
                    self.service.broker.count(Counted::Dropped(ProtocolName::P2pcf, why));
                }
                // All other actions are for sockets.
                _ => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.service.clock.instant().saturating_duration_since(self.started)
    }
}

//! The log line of a request. A mint that ends in a response with ICE servers is one `mint` line. Every other request is one `request`
//! line, which names user and label of a refused mint as far as they are known. A 5xx has a second line, which says whose request it was.
//! Requests that monitoring and pages repeat are at `debug`, and so are refusals between two summaries. Only lines at `info` and `debug`
//! say who a client is.

use axum::http::header::ORIGIN;

use super::prelude::*;
use crate::alert::StopCode;
use crate::mint::IceResponse;
use turn_base::{ClientAddr, ORIGIN_SHOWN_MAX, Polled};
use turn_ledger::{GrantId, Label, Spender, User};

/// Routes that somebody reads every few seconds.
const POLLED: [(&str, &str); 7] = [
    ("GET", "/api/bandwidth-status"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/leader"),
    ("GET", "/metrics"),
    ("GET", "/api/overview"),
    ("GET", "/api/connections"),
];

/// What the log says about a mint: an extension of the response.
#[derive(Clone, Copy, Debug)]
pub struct Minted {
    /// Where the ICE servers come from.
    pub source: IceSource,
    /// Why the first source was skipped, or why the relay is in another region than asked for; `None` if neither.
    pub reason: Option<StopCode>,
    /// The grant and the life of the credential; `None` if there are STUN servers only.
    issued: Option<(GrantId, Duration)>,
}

impl Minted {
    /// The result of a mint.
    pub fn of(answer: &IceResponse) -> Self {
        let (source, reason, issued) = match answer {
            IceResponse::Minted(minted) => (minted.source, minted.degraded, Some((minted.grant, minted.ttl))),
            IceResponse::Stun(reason) => (IceSource::Stun, *reason, None),
        };
        Self { source, reason, issued }
    }

    /// What it is, for the log and for counts.
    pub fn outcome(&self) -> &'static str {
        if self.issued.is_some() { "minted" } else { "stun" }
    }
}

/// What is known of a request before it is handled.
pub struct RequestHead<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// The client's address.
    pub client: Option<ClientAddr>,
    /// The method.
    pub method: &'static str,
    /// The route's pattern.
    pub route: &'a str,
    /// The page's origin.
    pub origin: Option<String>,
}

/// The page's origin, shortened.
pub fn origin_of(request: &Request) -> Option<String> {
    let origin = request.headers().get(ORIGIN)?.to_str().ok()?;
    Some(origin.chars().take(ORIGIN_SHOWN_MAX).collect())
}

/// Writes the line of a request; for a 5xx, two lines.
pub fn log_line(app: &App, head: RequestHead<'_>, response: &Response, took: Duration) {
    let RequestHead { request_id, client, method, route, origin } = head;
    let status = response.status().as_u16();
    let error = response.extensions().get::<ErrorBody>();
    let code = error.map(|error| error.code);
    let client = client.map(|client| tracing::field::display(client.0));
    let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let spender = response.extensions().get::<Option<Arc<Spender>>>().and_then(Option::as_deref);
    let user = spender.and_then(|spender| spender.user.as_ref()).map(User::as_str);
    let label = spender.and_then(|spender| spender.label.as_ref()).map(Label::as_str);
    if let Some(minted) = response.extensions().get::<Minted>() {
        let (outcome, Minted { source, reason, issued }) = (minted.outcome(), *minted);
        let (grant, ttl) = issued.map(|(grant, ttl)| (tracing::field::display(grant), ttl.as_secs())).unzip();
        let (source, reason) = (source.name(), reason.map(StopCode::reason));
        tracing::info!(
            request_id,
            client,
            route,
            status,
            outcome,
            grant.id = grant,
            source,
            reason,
            ttl,
            user,
            label,
            origin,
            duration_us,
            "mint"
        );
        return;
    }
    // The page may not know which origin the browser sent, so the operator finds it here.
    let refused_origin = error.and_then(|error| error.refused_origin.as_deref());
    let remedy = error.and_then(remedy);
    let is_routine = is_polled(method, route, code) || response.extensions().get::<Polled>().is_some();
    // `None`: the line is held back, because there were many with this code. Otherwise how many were held back before this one.
    let passed = code.map_or(Some(0), |code| app.refusal_log.pass(code, app.clock.instant()));
    // The line shows this number only if some lines were held back.
    let held_back = passed.filter(|held_back| *held_back > 0 && !is_routine);
    macro_rules! line {
        ($level:ident $(, $who:ident)*) => {
            tracing::$level!(
                request_id,
                $($who,)*
                method,
                route,
                status,
                code,
                origin = refused_origin,
                remedy,
                duration_us,
                held_back,
                "request"
            )
        };
    }
    match status {
        _ if is_routine || passed.is_none() => line!(debug, client, user, label),
        500.. => {
            line!(warn);
            tracing::info!(request_id, client, user, label, "whose request has failed");
        }
        _ => line!(info, client, user, label),
    }
}

/// Whether the response is one of many that say nothing new. An error says something new, and its `requestId` must be in the log. But at
/// `/leader` load balancers often get the error that a replica does not lead.
pub(super) fn is_polled(method: &str, route: &str, code: Option<&str>) -> bool {
    POLLED.contains(&(method, route)) && (code.is_none() || route == "/leader")
}

/// What the operator can do. If the error of a rate limit or an origin has no remedy, its message says it.
fn remedy(error: &ErrorBody) -> Option<&str> {
    let message_says_it = matches!(error.code, "RATE_LIMITED" | "ORIGIN_NOT_ALLOWED");
    let message = if message_says_it { error.message.as_deref() } else { None };
    error.remedy.or(message)
}

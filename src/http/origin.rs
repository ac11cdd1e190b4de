//! The origin rule: which requests may mint. A request with an `Origin` that is not allowed is rejected before anything is minted.
//! So is a prefetch by a browser. A request without an `Origin` comes from a program (curl, a server, a native app), from a person
//! who typed the URL, or from a page of this host. It passes, unless the browser reports that another site loads or opens the URL,
//! because then each visitor of that site would mint. A server with its key passes, and a wrong key gets 401 from any origin. Only
//! allowed origins get CORS headers. The one exception is the response that refuses an origin: the refused page may read it, so that
//! the page's developer learns which setting to change.

use axum::http::Method;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName, LINK, ORIGIN, RETRY_AFTER, VARY};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::mint_request::shown_key;
use super::prelude::*;
use super::refusals;
use crate::config::AllowedOrigins;
use crate::limit::{LIMIT, POLICY, REMAINING, RESET, STATE};
use turn_base::{ORIGIN_SHOWN_MAX, REQUEST_ID, only_line};

/// Shown for an origin that is not plain text.
const UNNAMED: &str = "the page's origin";
/// The values of `Sec-Fetch-Site` if no other site is involved: a page of this host, and a person who typed the URL.
const OWN_SITES: [&str; 2] = ["same-origin", "none"];
/// How long a browser may cache a preflight response.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);
/// Headers that a page may read in addition to the safelisted ones.
const EXPOSED: [HeaderName; 8] = [LINK, RETRY_AFTER, STATE, POLICY, LIMIT, REMAINING, RESET, REQUEST_ID];

/// The CORS layer for the API.
pub fn cors(origins: &AllowedOrigins) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // All that a preflight asks for, because tracing libraries add headers of their own.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .vary([ORIGIN])
        .max_age(PREFLIGHT_MAX_AGE);
    match origins {
        AllowedOrigins::Any => layer.allow_origin(tower_http::cors::Any),
        AllowedOrigins::List(_) => {
            let origins = origins.clone();
            let is_allowed =
                move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|o| origins.allows(o));
            // A browser sends a beacon with its cookies. Without `allow_credentials`, it reports the response to the beacon as an error.
            layer.allow_origin(AllowOrigin::predicate(is_allowed)).allow_credentials(true)
        }
    }
}

/// The CORS layer for the proxy of the SFU, whose methods are not those of the API.
pub fn sfu_cors(origins: &AllowedOrigins) -> CorsLayer {
    cors(origins).allow_methods([Method::GET, Method::POST, Method::PUT])
}

/// Whether the request is foreign, as far as the browser says: another site causes it, or it is a prefetch.
pub(super) fn is_foreign(app: &App, request: &Request) -> bool {
    what_is_foreign(request.headers(), &app.config.access.origins).is_some()
}

/// Rejects foreign requests that have no server key. A wrong server key in a foreign request gets the error for a wrong key. The response does
/// not pass the CORS layer, which is further in. Its only CORS header lets the page read why the page's origin is refused.
#[expect(clippy::result_large_err, reason = "tower-http chooses the type")]
pub fn refuse_foreign(app: &App, request: &Request) -> Result<(), Response> {
    let Some(foreign) = what_is_foreign(request.headers(), &app.config.access.origins) else { return Ok(()) };
    let client = request.extensions().get().copied();
    let (error, reader) = match shown_key(app, request.headers(), request.uri(), client) {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => {
            app.metrics.origins_refused.inc();
            let is_of_origin = foreign.body.refused_origin.is_some();
            let origin = only_line(request.headers(), &ORIGIN).filter(|_| is_of_origin);
            (foreign, origin.map(|origin| [(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())]))
        }
        Err(error) => (error, None),
    };
    Err(([(VARY, "Origin")], reader, error).into_response())
}

/// The refusal of a foreign request; `None` for any other request. The browser sets the headers that are read here, and no page can change them.
fn what_is_foreign(headers: &HeaderMap, origins: &AllowedOrigins) -> Option<ApiError> {
    if headers.contains_key("sec-purpose") || headers.contains_key("purpose") {
        return Some(refusals::foreign("Send the request when a call begins: a prefetch mints nothing."));
    }
    if let Some(origin) = origins.foreign(headers) {
        let plain = origin.to_str().unwrap_or(UNNAMED);
        return Some(refusals::origin_not_allowed(plain.chars().take(ORIGIN_SHOWN_MAX).collect()));
    }
    // A page's fetch has an `Origin`, which was checked above. Any other request that another site causes has no `Origin`.
    let is_own = |site: &HeaderValue| OWN_SITES.iter().any(|own| site == own);
    let by_another_site = !headers.get_all("sec-fetch-site").iter().all(is_own);
    let message =
        "Call `fetch` in a page whose origin is in CLIENT_URL, or type the URL: a link mints nothing.";
    (by_another_site && !headers.contains_key(ORIGIN)).then(|| refusals::foreign(message))
}

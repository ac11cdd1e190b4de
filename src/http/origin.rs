//! The origin rule: which pages may mint. A request with an `Origin` that is not allowed is rejected before anything is
//! minted. A request without one is not a page's (curl, a server, a native app) and passes, unless the browser reports that
//! another site loads the URL, for example as an image: each visitor would then mint. Only allowed origins get CORS headers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, ORIGIN, RETRY_AFTER, VARY};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::error::ApiError;
use crate::app::App;
use crate::config::AllowedOrigins;

/// Shown for an origin that is missing or not plain text.
const UNNAMED: &str = "the page's origin";
/// How long a browser may cache a preflight response.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);
/// Headers that a page may read in addition to the safelisted ones.
const EXPOSED: [HeaderName; 5] = [
    RETRY_AFTER,
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("x-request-id"),
];

/// Characters of a rejected origin that the response repeats.
const ORIGIN_SHOWN_MAX: usize = 100;

/// The CORS layer for the API.
pub fn cors(origins: &AllowedOrigins) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers(EXPOSED)
        .vary([ORIGIN])
        .max_age(PREFLIGHT_MAX_AGE);
    match origins {
        AllowedOrigins::Any => layer.allow_origin(tower_http::cors::Any),
        AllowedOrigins::List(_) => {
            let origins = origins.clone();
            let is_allowed =
                move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|o| origins.allows(o));
            // A beacon is sent with credentials. Without this the browser reports its response as an error.
            layer.allow_origin(AllowOrigin::predicate(is_allowed)).allow_credentials(true)
        }
    }
}

/// Rejects foreign origins. It is outside the CORS layer, so the response has no CORS headers.
pub async fn refuse_foreign(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Some(origin) = foreign_origin(request.headers(), &app.origins) {
        app.metrics.origins_refused.inc();
        let mut response = ApiError::OriginNotAllowed { origin }.into_response();
        response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
        return response;
    }
    next.run(request).await
}

/// The first origin that is not allowed, as plain text.
fn foreign_origin(headers: &HeaderMap, origins: &AllowedOrigins) -> Option<String> {
    let is_allowed = |origin: &HeaderValue| match origins {
        AllowedOrigins::Any => true,
        AllowedOrigins::List(_) => origin.to_str().is_ok_and(|origin| origins.allows(origin)),
    };
    let Some(foreign) = headers.get_all(ORIGIN).iter().find(|origin| !is_allowed(origin)) else {
        let is_open = matches!(origins, AllowedOrigins::Any);
        return (!is_open && is_loaded_by_another_site(headers)).then(|| UNNAMED.to_owned());
    };
    let plain = foreign.to_str().unwrap_or(UNNAMED);
    Some(plain.chars().take(ORIGIN_SHOWN_MAX).collect())
}

/// The browser sets these headers, and no page can change them. A person who follows a link may see the response.
fn is_loaded_by_another_site(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|said| said == value);
    !headers.contains_key(ORIGIN)
        && says("sec-fetch-site", "cross-site")
        && !says("sec-fetch-dest", "document")
}

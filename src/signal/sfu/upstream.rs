//! The client of Cloudflare's SFU. A request is sent once, without redirects and retries, because a POST that is sent twice
//! opens two sessions. It ends within [`DEADLINE`]. The app's secret is in no error and in no log line.

use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Client;
use serde_json::json;
use tokio::sync::Semaphore;
use turn_signaling::sfu::body::Mid;
use turn_signaling::sfu::fault::Fault;
use turn_signaling::sfu::path::{Call, upstream};
use turn_signaling::sfu::{SessionId, header};
use url::Url;

use crate::config::SfuConfig;
use crate::http_client::{bearer, body_up_to};

/// The time limit of one call: connecting, response and body.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// The longest response that is read, in bytes. A session description of many tracks has some 100 KiB.
pub const RESPONSE_MAX: usize = 1024 * 1024;
/// Calls at the same time. While the SFU does not answer, no others wait for it.
pub const CALLS_MAX: usize = 512;

/// The API of one app.
pub struct Upstream {
    client: Client,
    app: Url,
    authorization: HeaderValue,
    calls: Semaphore,
}

/// What is passed on of a client's request.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// The query, as it came.
    pub query: Option<String>,
    /// The headers that pass.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A response of the SFU.
#[derive(Clone, Debug)]
pub struct Returned {
    /// Its status, which is no redirect.
    pub status: StatusCode,
    /// The headers that come back.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Upstream {
    /// `None` if the base and the secret do not form a request, which the configuration rules out.
    #[must_use]
    pub fn new(config: &SfuConfig, client: Client) -> Option<Self> {
        let mut app = config.api.clone();
        app.path_segments_mut().ok()?.pop_if_empty().extend(["apps", &config.app_id, ""]);
        let authorization = bearer(&config.app_secret)?;
        Some(Self { client, app, authorization, calls: Semaphore::new(CALLS_MAX) })
    }

    /// Opens a session.
    pub async fn open(&self, passed: Passed) -> Result<Returned, Fault> {
        self.send(Method::POST, "sessions/new", passed).await
    }

    /// A call on a session.
    pub async fn call(&self, id: &SessionId, call: Call, passed: Passed) -> Result<Returned, Fault> {
        let method = Method::from_bytes(call.method().as_bytes()).unwrap_or_default();
        self.send(method, &upstream(id, call), passed).await
    }

    /// Closes tracks without the browser's consent.
    pub async fn close(&self, id: &SessionId, mids: &[Mid]) -> Result<Returned, Fault> {
        let tracks: Vec<_> = mids.iter().map(|mid| json!({ "mid": mid.as_str() })).collect();
        let body = json!({ "tracks": tracks, "force": true }).to_string();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.call(id, Call::CloseTracks, Passed { query: None, headers, body: body.into() }).await
    }

    async fn send(&self, method: Method, path: &str, passed: Passed) -> Result<Returned, Fault> {
        let _permit = self.calls.try_acquire().map_err(|_| Fault::Full)?;
        let mut url = self.app.join(path).map_err(|_| Fault::Unreachable)?;
        url.set_query(passed.query.as_deref());
        let mut request = self.client.request(method.clone(), url).timeout(DEADLINE).headers(passed.headers);
        request = request.header(AUTHORIZATION, self.authorization.clone());
        if method != Method::GET {
            // Also without a body: the reference sends `Content-Length: 0`.
            request = request.header(CONTENT_LENGTH, passed.body.len()).body(passed.body);
        }
        let response = request.send().await.map_err(|error| fault_of(&error))?;
        let status = response.status();
        if status.is_redirection() || status.is_informational() {
            // A page that gets a redirect reloads itself.
            return Err(Fault::Unreachable);
        }
        let returned = response.headers().iter().filter(|(name, _)| header::is_returned(name.as_str()));
        let headers = returned.map(|(name, value)| (name.clone(), value.clone())).collect();
        let body = body_up_to(RESPONSE_MAX, response).await.map_err(|error| fault_of(&error))?;
        Ok(Returned { status, headers, body: body.ok_or(Fault::Unreachable)?.into() })
    }
}

fn fault_of(error: &reqwest::Error) -> Fault {
    if error.is_timeout() { Fault::TimedOut } else { Fault::Unreachable }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("app", &self.app.as_str()).finish_non_exhaustive()
    }
}

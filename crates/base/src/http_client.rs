//! The HTTP client that every outgoing request of this process uses. It follows no redirect and reads no proxy setting, so
//! requests go only to the configured addresses. Every request has a time limit, and every body that is read has a bound.

mod error;

use std::fmt;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, redirect};
use secrecy::{ExposeSecret, SecretString};
use turn_ledger::Timestamp;
use url::Url;

pub use error::CallError;

/// Time limit for a whole request, unless the request sets another.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time limit for connecting. Shorter than any of the whole, so that an error says which of the two has passed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const USER_AGENT: &str = concat!("turn-broker/", env!("CARGO_PKG_VERSION"));

/// The HTTP client cannot be built: its TLS settings are wrong.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be built")]
pub struct ClientError(#[source] reqwest::Error);

/// A new client. The root certificates are part of the binary, so that an image without CA files works.
pub fn http_client() -> Result<Client, ClientError> {
    // An error means that a TLS provider is already installed, as in a test process with many brokers.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let roots =
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| Certificate::from_der(der).ok());
    Client::builder()
        .user_agent(USER_AGENT)
        // Only the configured addresses are contacted, even if HTTP_PROXY is set.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(60))
        .tls_certs_only(roots)
        .build()
        .map_err(ClientError)
}

/// An API whose calls carry one token. `Debug` shows only its address.
pub struct Api {
    client: Client,
    address: Url,
    token: SecretString,
}

impl Api {
    /// The API at `base`, whose path is kept, and then `path`.
    pub fn new(client: Client, base: &Url, path: &[&str], token: &SecretString) -> Self {
        Self { client, address: joined(base, path), token: token.clone() }
    }

    /// A call. `path` follows the address of the API. With a token that no header can hold, it is [`CallError::Unsendable`].
    pub fn call(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let call = self.client.request(method, joined(&self.address, path));
        call.bearer_auth(self.token.expose_secret())
    }
}

/// The URL with this path after its own. It must be one that can have a path, as all web URLs can.
pub fn joined(base: &Url, path: &[impl AsRef<str>]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address.as_str())
    }
}

/// The server's clock, from the header `Date`: `Wed, 15 Jan 2025 12:00:00 GMT`.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    chrono::DateTime::parse_from_rfc2822(text).ok().map(|at| at.to_utc().into())
}

/// Sends a request. A response is one with a status of success.
pub async fn send(request: RequestBuilder) -> Result<Response, CallError> {
    let response = request.send().await?;
    if response.status().is_success() { Ok(response) } else { Err(CallError::from(&response)) }
}

/// The response's body, of at most `max` bytes.
pub async fn body(max: usize, mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Err(CallError::TooLong(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{AUTHORIZATION, HeaderValue};

    use super::*;

    #[test]
    fn a_failed_connect_is_seen_before_the_whole_request_has_timed_out() {
        // What either error says is tested in `error`.
        assert!(CONNECT_TIMEOUT < TIMEOUT);
    }

    #[test]
    fn the_path_of_the_base_is_kept_and_debug_shows_no_token() {
        let (client, base) = (http_client().unwrap(), Url::parse("https://proxy.example/cf/").unwrap());
        let api = Api::new(client, &base, &["v1", "a b"], &SecretString::from("hush"));
        assert_eq!(format!("{api:?}"), "https://proxy.example/cf/v1/a%20b");
        let request = api.call(Method::GET, &["../x", "revoke"]).build().unwrap();
        assert_eq!(request.url().as_str(), "https://proxy.example/cf/v1/a%20b/..%2Fx/revoke");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer hush");
        assert!(!format!("{api:?} {request:?}").contains("hush"));
    }

    #[tokio::test]
    async fn a_token_that_no_header_can_hold_is_not_sent() {
        let (client, base) = (http_client().unwrap(), Url::parse("https://api.example").unwrap());
        let api = Api::new(client, &base, &[], &SecretString::from("two\nlines"));
        assert_eq!(send(api.call(Method::GET, &[])).await.unwrap_err(), CallError::Unsendable);
    }

    #[test]
    fn the_servers_clock_is_read_from_the_date_header() {
        let read = |text: &'static str| date(&HeaderMap::from_iter([(DATE, HeaderValue::from_static(text))]));
        let noon = Timestamp::from_millis(1_736_942_400_000);
        assert_eq!(read("Wed, 15 Jan 2025 12:00:00 GMT"), Some(noon));
        assert_eq!((read("yesterday"), date(&HeaderMap::new())), (None, None));
    }
}

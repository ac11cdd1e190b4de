//! The HTTP client that every outgoing request of this process uses. It follows no redirect and reads no environment, so requests go
//! only to the configured addresses, through the configured proxy. Every request has a time limit, and every body that is read has a
//! bound.

mod connections;
mod error;
mod names;

use std::fmt;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use turn_budget::Timestamp;
use url::{Position, Url};

pub use connections::{HttpClient, chunk};
pub use error::CallError;

use crate::trust::Trust;
use crate::web_url::WebhookUrl;

/// Time limit for a whole request, unless the request sets another.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time limit for connecting. Shorter than the default limit of a whole request, so that an error says which of the two has passed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Hosts of this machine. Requests to them never go through a proxy.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

/// How this process reaches other services.
#[derive(Clone, Debug)]
pub struct Network {
    /// Authorities that are trusted besides those of the program and the system. `CA_FILE`; none when unset.
    pub trust: Trust,
    /// The proxy for requests to `https:` URLs. `HTTPS_PROXY`; none when unset.
    pub proxy: Option<HttpsProxy>,
}

impl Network {
    /// No proxy, and no further authorities.
    pub const DIRECT: Self = Self { trust: Trust::COMMON, proxy: None };

    /// The name that a request to this URL looks up: the host's, or the proxy's. `None` for an address.
    fn name_for<'a>(&'a self, url: &'a Url) -> Option<&'a str> {
        let proxy = self.proxy.as_ref().filter(|proxy| proxy.takes(url));
        proxy.map_or(url, |proxy| &proxy.url).domain()
    }
}

/// A proxy for requests to `https:` URLs. Its `Debug` form shows no password.
#[derive(Clone)]
pub struct HttpsProxy {
    url: Url,
    /// Hosts that are reached without the proxy, comma-separated.
    except: String,
}

impl HttpsProxy {
    /// A URL, or the host and port of a proxy. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        let is_proxy = |url: &Url| matches!(url.scheme(), "http" | "https") && url.path() == "/";
        Some(Self { url: url.ok().filter(is_proxy)?, except: THIS_MACHINE.to_owned() })
    }

    /// Whether requests to this URL go through the proxy. The client's own matcher decides the same for each connection.
    fn takes(&self, url: &Url) -> bool {
        let matcher = Matcher::builder().https(self.url.as_str()).no(self.except.as_str()).build();
        url.as_str().parse().is_ok_and(|url| matcher.intercept(&url).is_some())
    }

    /// The same proxy, but not for these hosts: names, each with the names below it, addresses and CIDRs, comma-separated; or `*`.
    #[must_use]
    pub fn except(self, hosts: &str) -> Self {
        Self { except: format!("{THIS_MACHINE},{hosts}"), ..self }
    }
}

impl fmt::Debug for HttpsProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.url[Position::BeforeHost..Position::AfterPort];
        write!(f, "{}://{address} except {}", self.url.scheme(), self.except)
    }
}

/// The HTTP client cannot be built: its TLS settings are wrong.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be built")]
pub struct ClientError(#[source] reqwest::Error);

/// An API of a provider whose calls carry one token. `Debug` shows only its address.
pub struct Api {
    /// Sends the calls.
    pub client: HttpClient,
    address: Url,
    token: SecretString,
}

impl Api {
    /// The API at `base`, with `path` after the path that `base` has.
    pub fn new(client: HttpClient, base: &Url, path: &[&str], token: &SecretString) -> Self {
        Self { client, address: joined(base, path), token: token.clone() }
    }

    /// A call. `path` follows the address of the API. If no header can hold the token, sending the call fails with
    /// [`CallError::Unsendable`].
    pub fn call(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let call = self.client.request(method, joined(&self.address, path));
        call.bearer_auth(self.token.expose_secret())
    }
}

/// `base` with these segments after its own path. `base` must be able to have a path, as all web URLs are; any other URL stays as it is.
pub fn joined(base: &Url, path: &[impl AsRef<str>]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// The server's clock, from the header `Date`: `Wed, 15 Jan 2025 12:00:00 GMT`.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// The time that a header states.
fn http_date(text: &str) -> Option<Timestamp> {
    chrono::DateTime::parse_from_rfc2822(text).ok().map(|at| at.to_utc().into())
}

/// The response if its status is one of success, and otherwise an error with this status.
pub fn successful(response: Response) -> Result<Response, CallError> {
    if response.status().is_success() { Ok(response) } else { Err(CallError::from(&response)) }
}

/// The response's body, of at most `max` bytes.
pub async fn body(max: usize, mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = chunk(&mut response).await? {
        let chunk = chunk.as_ref();
        if body.len() + chunk.len() > max {
            return Err(CallError::TooLong(max));
        }
        body.extend_from_slice(chunk);
    }
    Ok(body)
}

/// The longest answer of a webhook, in bytes.
const WEBHOOK_BODY_MAX: usize = 64 * 1024;
/// How long a webhook may take, with its answer.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Posts JSON to a webhook of the application. Returns the body of a successful response whose status `is_answer` accepts.
pub async fn post_webhook(
    client: &HttpClient,
    url: &WebhookUrl,
    mut headers: HeaderMap,
    json: String,
    is_answer: fn(StatusCode) -> bool,
) -> Result<Vec<u8>, CallError> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request = client.request(Method::POST, url.expose().clone()).timeout(WEBHOOK_TIMEOUT);
    let response = client.send(request.headers(headers).body(json)).await?;
    if !is_answer(response.status()) {
        return Err(CallError::from(&response));
    }
    body(WEBHOOK_BODY_MAX, response).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use reqwest::header::AUTHORIZATION;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    fn client() -> HttpClient {
        HttpClient::new(&Network::DIRECT).unwrap()
    }

    #[test]
    fn a_failed_connect_is_seen_before_the_whole_request_has_timed_out() {
        // What either error says is tested in `error`.
        assert!(CONNECT_TIMEOUT < TIMEOUT);
    }

    #[test]
    fn the_path_of_the_base_is_kept_and_debug_shows_no_token() {
        let (client, base) = (client(), Url::parse("https://proxy.example/cf/").unwrap());
        let api = Api::new(client, &base, &["v1", "a b"], &SecretString::from("hush"));
        assert_eq!(api.address.as_str(), "https://proxy.example/cf/v1/a%20b");
        let request = api.call(Method::GET, &["../x", "revoke"]).build().unwrap();
        assert_eq!(request.url().as_str(), "https://proxy.example/cf/v1/a%20b/..%2Fx/revoke");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer hush");
        assert!(!format!("{request:?}").contains("hush"));
    }

    #[tokio::test]
    async fn a_token_that_no_header_can_hold_is_not_sent() {
        let (client, base) = (client(), Url::parse("https://api.example").unwrap());
        let api = Api::new(client, &base, &[], &SecretString::from("two\nlines"));
        assert_eq!(api.client.send(api.call(Method::GET, &[])).await.unwrap_err(), CallError::Unsendable);
    }

    /// Also a response with an error has a date.
    #[tokio::test]
    async fn the_clock_of_every_response_is_passed_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
        let dates = Arc::new(Mutex::new(vec![]));
        let seen = Arc::clone(&dates);
        let client = client().telling_clock(move |date: Timestamp| {
            seen.lock().push(date.as_secs());
        });
        let api = Api::new(client.clone(), &url, &[], &SecretString::from("token"));
        let server = async {
            for (asked, status) in
                [("GET /v1 ", "204 No Content"), ("GET /v1 ", "401 No"), ("HEAD / ", "404 No")]
            {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 1_024];
                let length = socket.read(&mut head).await.unwrap();
                assert!(head[..length].starts_with(asked.as_bytes()), "{asked}");
                let date = "date: Wed, 15 Jan 2025 12:00:00 GMT\r\nconnection: close\r\ncontent-length: 0";
                socket.write_all(format!("HTTP/1.1 {status}\r\n{date}\r\n\r\n").as_bytes()).await.unwrap();
            }
        };
        let calls = async {
            api.client.send(api.call(Method::GET, &[])).await.unwrap();
            assert_eq!(api.client.send(api.call(Method::GET, &[])).await.unwrap_err().status(), Some(401));
            client.ask_date(&url).await;
        };
        tokio::join!(server, calls);
        assert_eq!(*dates.lock(), [1_736_942_400; 3]);
    }

    /// Two connections break. When the second one does, the repetition of the first request has left another one idle.
    #[tokio::test]
    async fn a_request_whose_connection_broke_is_repeated_on_a_new_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (client, answered) = (client(), Notify::new());
        let ask = async || {
            let sent = client.send(client.request(Method::GET, url.clone())).await.map(drop);
            answered.notify_one();
            sent
        };
        let accept = async || {
            let (mut socket, _) = listener.accept().await.unwrap();
            assert!(socket.read(&mut [0; 1_024]).await.unwrap() > 0);
            socket
        };
        let server = async {
            for broken in [accept().await, accept().await] {
                drop(broken);
                let mut new = accept().await;
                new.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                answered.notified().await;
                // It stays open.
                std::mem::forget(new);
            }
        };
        let asked = async { tokio::join!(ask(), ask()) };
        assert_eq!(tokio::join!(asked, timeout(TIMEOUT * 2, server)).0, (Ok(()), Ok(())));
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for (text, shown) in [
            ("http://ann:hush@proxy.example:3128", Some("http://proxy.example:3128")),
            ("https://proxy.example/", Some("https://proxy.example")),
            ("proxy.example:3128", Some("http://proxy.example:3128")),
            ("socks5://proxy.example", None),
            ("http://proxy.example/path", None),
            ("http://", None),
        ] {
            let proxy = HttpsProxy::parse(text).map(|proxy| format!("{:?}", proxy.except("a.example")));
            let expected = shown.map(|shown| format!("{shown} except localhost,127.0.0.0/8,::1,a.example"));
            assert_eq!(proxy, expected, "{text}");
        }
    }

    #[test]
    fn the_servers_clock_is_read_from_the_date_header() {
        let read = |text: &'static str| date(&HeaderMap::from_iter([(DATE, HeaderValue::from_static(text))]));
        let noon = Timestamp::from_millis(1_736_942_400_000);
        assert_eq!(read("Wed, 15 Jan 2025 12:00:00 GMT"), Some(noon));
        assert_eq!((read("yesterday"), date(&HeaderMap::new())), (None, None));
    }
}

//! The client of Cloudflare's SFU. A request is repeated only if its connection broke before an answer: then two sessions may open. One
//! of them stays without tracks and costs nothing. Each request ends within [`DEADLINE`]. The app's secret is in no error and in no log
//! line.

use axum::body::Bytes;
use axum::http::Method;
use axum::http::header::CONTENT_LENGTH;
use serde::de::IgnoredAny;
use turn_base::{Api, CallError, HttpClient, http_client};
use turn_limits::MemoryUse;

use crate::answer::parse_answer;
use crate::path::upstream;
use crate::prelude::*;

/// The time limit of one call: connecting, response and body.
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);
/// The longest response that is read, in bytes. A session description of many tracks has some 100 KiB.
pub(crate) const RESPONSE_MAX: usize = 1024 * 1024;

/// Headers of a request that go upstream. No other header passes, in either direction: so cookies, the client's address and our own tokens do
/// not reach Cloudflare, and what Cloudflare sets for its own host does not reach the page. `Authorization` is replaced by the app's secret. `Accept-Encoding` does not pass,
/// because a compressed answer could not be read here.
pub(crate) const SENT: [&str; 3] = ["content-type", "accept", "accept-language"];

/// Headers of a response that come back. `Location` does not, because Orange reloads its page on a redirect.
pub(crate) const RETURNED: [&str; 1] = ["retry-after"];

/// The API of one app.
pub(crate) struct Upstream {
    api: Api,
    deadline: Duration,
}

/// What is passed on of a client's request.
#[derive(Debug, Default)]
pub struct ForwardedRequest {
    /// The query, as it came.
    pub query: Option<String>,
    /// The headers that pass.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Counts a long body while it is in memory.
    pub kept: Option<MemoryUse>,
}

impl ForwardedRequest {
    /// A request of the broker.
    pub(crate) fn json(body: &Value) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { headers, body: body.to_string().into(), ..Self::default() }
    }
}

/// A response of the SFU.
#[derive(Clone, Debug)]
pub struct SfuResponse {
    /// Its status, which is no redirect.
    pub status: StatusCode,
    /// The headers that come back.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A response of the SFU, or why the client gets none.
pub(crate) type Returned = SfuResult<SfuResponse>;

impl SfuResponse {
    /// What the body says, if the status is a success.
    pub fn answered(&self) -> Option<SfuAnswer> {
        if self.status.is_success() { parse_answer(&self.body) } else { None }
    }
}

/// Whether the SFU no longer knows the session.
pub(crate) fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

impl Upstream {
    /// The SFU of the settings.
    pub(crate) fn new(config: &SfuConfig, client: HttpClient) -> Self {
        let api = Api::new(client, &config.api, &["apps", &config.app_id], &config.app_secret);
        Self { api, deadline: DEADLINE }
    }

    pub(crate) async fn open(&self, passed: ForwardedRequest) -> Returned {
        self.send(Method::POST, "sessions/new", passed).await
    }

    pub(crate) async fn call(&self, id: &SessionId, call: SfuCall, passed: ForwardedRequest) -> Returned {
        let (method, path) = upstream(id, call);
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        self.send(method, &path, passed).await
    }

    /// The SFU's response, also one with an error status. A redirect, and a body that is not JSON, are faults.
    async fn send(&self, method: Method, path: &str, passed: ForwardedRequest) -> Returned {
        let path: Vec<&str> = path.split('/').collect();
        let mut request = self.api.call(method.clone(), &path).timeout(self.deadline).headers(passed.headers);
        if method != Method::GET {
            // Also without a body: the reference sends `Content-Length: 0`.
            request = request.header(CONTENT_LENGTH, passed.body.len()).body(passed.body);
        }
        let mut request = request.build().map_err(fault_of)?;
        // As it came: a page may send `?CreatingSession&`.
        request.url_mut().set_query(passed.query.as_deref());
        let response = self.api.client.execute(request).await.map_err(fault_of)?;
        let status = response.status();
        if status.is_redirection() || status.is_informational() {
            // Orange reloads its page on a redirect. An informational status answers nothing.
            return Err(SfuFault::UNREACHABLE);
        }
        let mut headers = passing(response.headers(), &RETURNED);
        let body = http_client::body(RESPONSE_MAX, response).await.map_err(fault_of)?;
        if !body.is_empty() {
            serde_json::from_slice::<IgnoredAny>(&body).map_err(|_| SfuFault::NOT_JSON)?;
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(SfuResponse { status, headers, body: body.into() })
    }
}

fn fault_of(error: impl Into<CallError>) -> SfuFault {
    if error.into() == CallError::Timeout { SfuFault::TIMED_OUT } else { SfuFault::UNREACHABLE }
}

/// The headers that are in `list`. Its names are in lower case.
pub(crate) fn passing(headers: &HeaderMap, list: &[&str]) -> HeaderMap {
    let passing = headers.iter().filter(|(name, _)| list.contains(&name.as_str()));
    passing.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use turn_base::{HttpClient, Network};

    /// A deadline that is waited for.
    const SHORT: Duration = Duration::from_millis(200);

    fn at(listener: &TcpListener, deadline: Duration) -> Upstream {
        let api = format!("http://{}/v1/", listener.local_addr().unwrap());
        let config = SfuConfig {
            prefixes: vec!["/partytracks".to_owned()],
            app_id: "app".to_owned(),
            app_secret: "s3cret".into(),
            api: api.parse().unwrap(),
            rooms_by_token: false,
            is_locked: true,
            look_interval: Duration::from_secs(30),
            client_rate: BitRate::new(100_000_000),
        };
        let mut upstream = Upstream::new(&config, HttpClient::new(&Network::DIRECT).unwrap());
        upstream.deadline = deadline;
        upstream
    }

    /// What an upstream answers that sends `head` and then nothing more, in the end.
    async fn answer_of(head: &'static [u8], deadline: Duration) -> Returned {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = at(&listener, deadline);
        let silent = async {
            let mut open = vec![];
            // A broken connection is followed by another one.
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().await.unwrap();
                let _ = socket.read(&mut [0; 1_024]).await.unwrap();
                socket.write_all(head).await.unwrap();
                open.push(socket);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = upstream.open(ForwardedRequest::default()) => answer,
            () = silent => unreachable!("it waits for ever"),
        }
    }

    #[test]
    fn the_type_of_a_body_passes_and_what_identifies_a_client_or_a_server_does_not() {
        let passing = |names: &str, list: &[&str]| {
            let headers = names.split_whitespace().map(|name| (name.parse().unwrap(), "x".parse().unwrap()));
            passing(&headers.collect(), list).len()
        };
        assert_eq!((passing("content-type", &SENT), passing("Retry-After", &RETURNED)), (1, 1));
        let of_client = "host cookie authorization origin referer user-agent x-forwarded-for forwarded cf-connecting-ip \
            cf-access-jwt-assertion x-realtime-room connection keep-alive te trailer transfer-encoding upgrade \
            proxy-authorization content-length accept-encoding traceparent";
        assert_eq!(passing(of_client, &SENT), 0);
        let of_server =
            "content-type set-cookie location connection transfer-encoding content-length server cf-ray";
        assert_eq!(passing(of_server, &RETURNED), 0);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_or_does_not_end_in_time_is_a_timeout() {
        for head in [&b""[..], b"HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\n{"] {
            assert_eq!(answer_of(head, SHORT).await.err(), Some(SfuFault::TIMED_OUT));
        }
        assert_eq!((SfuFault::TIMED_OUT.status, SfuFault::TIMED_OUT.code), (504, "sfu_timeout"));
    }

    #[tokio::test]
    async fn an_sfu_that_cannot_be_reached_is_no_timeout() {
        let broken = answer_of(b"not HTTP at all\r\n\r\n", Duration::from_secs(120)).await;
        assert_eq!(broken.err(), Some(SfuFault::UNREACHABLE));
    }
}

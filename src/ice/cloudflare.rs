//! The client of Cloudflare Realtime TURN: mints and revokes credentials. Every mint ends within [`DEADLINE`], with a cleaned
//! list of servers, or with a [`ProviderError`] that contains nothing of the response's body. docs/PROVIDER.md describes the
//! API (shapes, statuses, the 201).

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::server::{IceServerList, IceServersError, OnBadUrl, RawIceServer};
use crate::http_client::{bearer, body_up_to, date};
use crate::request::trace::{TRACEPARENT, TraceParent};
use turn_ledger::Timestamp;

/// The time limit of one mint: connecting, a retry and the body together.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// Maximum number of attempts. A retry follows only a failed connect or a 5xx. A gateway can return 5xx although a credential
/// was minted. Nobody has received that credential, so it is not charged.
const ATTEMPTS_MAX: u32 = 2;
/// Pause before the retry, so that a server that is restarting does not get both in the same millisecond.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest response that is read. Real ones have 0.7 KiB.
const BODY_MAX: usize = 64 * 1024;

/// A TURN key at Cloudflare, and the client that uses it.
pub struct Cloudflare {
    client: Client,
    endpoint: Url,
    authorization: HeaderValue,
}

/// The response to a mint.
#[derive(Debug)]
pub struct MintResponse {
    /// The servers, with the credential.
    pub servers: IceServerList,
    /// Cloudflare's clock.
    pub date: Option<Timestamp>,
}

/// Why nothing was minted.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No connection: DNS, refused, TLS.
    #[error("no connection to the provider")]
    Connect(#[source] reqwest::Error),
    /// The deadline passed.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// The connection broke during the exchange.
    #[error("the connection to the provider broke")]
    Broken(#[source] reqwest::Error),
    /// A status other than 200 and 201. The body is not kept.
    #[error("the provider answered {0}; {hint}", hint = hint(*.0))]
    Status(StatusCode),
    /// Longer than any real response.
    #[error("the provider's answer is longer than {BODY_MAX} bytes")]
    TooLong,
    /// Not JSON in one of the known shapes.
    #[error("the provider's answer is not a list of ICE servers")]
    Shape,
    /// JSON of the right shape with no usable content.
    #[error("the provider's ICE servers are not usable")]
    Servers(#[source] IceServersError),
}

impl ProviderError {
    /// A short name for the metrics, from a closed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Timeout => "timeout",
            Self::Broken(_) => "broken",
            Self::Status(status) if status.is_server_error() => "status_5xx",
            Self::Status(status) if status.is_client_error() => "status_4xx",
            Self::Status(_) => "status_other",
            Self::TooLong | Self::Shape | Self::Servers(_) => "bad_body",
        }
    }

    /// Whether Cloudflare does not know the TURN key or its token. Credentials of such a key most likely do not work.
    #[must_use]
    pub fn says_unknown_key(&self) -> bool {
        matches!(self, Self::Status(StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND))
    }

    /// Whether another key may work: Cloudflare answered, and refused this one.
    #[must_use]
    pub fn is_of_the_key(&self) -> bool {
        self.says_unknown_key() || matches!(self, Self::Status(StatusCode::FORBIDDEN))
    }

    /// Whether a second attempt is safe and may help.
    fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Status(status) => status.is_server_error(),
            Self::Timeout | Self::Broken(_) | Self::TooLong | Self::Shape | Self::Servers(_) => false,
        }
    }
}

impl Cloudflare {
    /// `base` is the API's origin. It can have a path, which then precedes `/v1`.
    #[must_use]
    pub fn new(client: Client, base: &Url, key_id: &str, api_token: &SecretString) -> Option<Self> {
        let mut endpoint = base.clone();
        endpoint.path_segments_mut().ok()?.pop_if_empty().extend([
            "v1",
            "turn",
            "keys",
            key_id,
            "credentials",
            "generate-ice-servers",
        ]);
        Some(Self { client, endpoint, authorization: bearer(api_token)? })
    }

    /// Mints one credential with this lifetime. The provider stores `identifier` with it. The call ends `within` this time, and
    /// carries on the caller's `trace`.
    pub async fn mint(
        &self,
        ttl: Duration,
        identifier: &str,
        within: Duration,
        trace: Option<TraceParent>,
    ) -> Result<MintResponse, ProviderError> {
        tokio::time::timeout(within, self.attempts(ttl, identifier, trace))
            .await
            .unwrap_or(Err(ProviderError::Timeout))
    }

    /// Revokes the credential with this user name. `false` if the provider does not know it.
    pub async fn revoke(&self, username: &str) -> Result<bool, ProviderError> {
        let mut endpoint = self.endpoint.clone();
        if let Ok(mut path) = endpoint.path_segments_mut() {
            path.pop().extend([username, "revoke"]);
        }
        let request = self.client.post(endpoint).header(AUTHORIZATION, self.authorization.clone());
        match request.send().await.map_err(broken)?.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            status => Err(ProviderError::Status(status)),
        }
    }

    async fn attempts(
        &self,
        ttl: Duration,
        identifier: &str,
        trace: Option<TraceParent>,
    ) -> Result<MintResponse, ProviderError> {
        let mut attempt = 1;
        loop {
            match self.attempt(ttl, identifier, trace).await {
                Err(error) if attempt < ATTEMPTS_MAX && error.is_worth_a_retry() => attempt += 1,
                result => return result,
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(
        &self,
        ttl: Duration,
        identifier: &str,
        trace: Option<TraceParent>,
    ) -> Result<MintResponse, ProviderError> {
        let body = serde_json::json!({ "ttl": ttl.as_secs(), "customIdentifier": identifier });
        let trace = trace.and_then(|trace| trace.header()).map(|value| (TRACEPARENT, value));
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .headers(trace.into_iter().collect())
            .json(&body);
        let response = request.send().await.map_err(broken)?;
        let date = date(response.headers());
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => {
                let body = body_up_to(BODY_MAX, response).await.map_err(broken)?;
                let servers = parse(&body.ok_or(ProviderError::TooLong)?)?;
                Ok(MintResponse { servers, date })
            }
            status => Err(ProviderError::Status(status)),
        }
    }
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

fn broken(error: reqwest::Error) -> ProviderError {
    // The URL contains the key id, which must not be logged.
    let error = error.without_url();
    if error.is_timeout() {
        ProviderError::Timeout
    } else if error.is_connect() {
        ProviderError::Connect(error)
    } else {
        ProviderError::Broken(error)
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "iceServers")]
    ice_servers: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<RawIceServer>),
    One(RawIceServer),
}

/// Parses every shape that Cloudflare has used. A response without a relay is an error, because the broker has its own STUN
/// servers.
fn parse(body: &[u8]) -> Result<IceServerList, ProviderError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| ProviderError::Shape)?;
    let raw = match answer.ice_servers {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) => vec![one],
    };
    let servers = IceServerList::clean(raw, OnBadUrl::Drop).map_err(ProviderError::Servers)?;
    if servers.relays() { Ok(servers) } else { Err(ProviderError::Servers(IceServersError::NoRelay)) }
}

/// The remedy for a status, from reports by users of the API. Cloudflare does not document its error bodies.
fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "the token is mistyped or withdrawn: compare it, or create a new TURN key and set both values",
        403 => "the token lacks a permission, or the client is blocked: recreate the token with Calls Edit",
        404 => "wrong key id (or token): compare it with the dashboard's Turn Token ID",
        429 => "too many mints: find the callers that mint most",
        300..=399 => "redirects are not followed: check CLOUDFLARE_API_BASE",
        _ => "see docs/PROVIDER.md",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::http_client;
    use crate::ice::server::IceUrls;
    use proptest::prelude::*;

    fn urls(body: &str) -> Vec<String> {
        let json = serde_json::to_value(parse(body.as_bytes()).unwrap()).unwrap();
        json.as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["urls"].as_array().unwrap().clone())
            .map(|u| u.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn an_object_an_array_and_a_single_url_are_accepted() {
        for body in [
            r#"{"iceServers":{"urls":"turn:a:3478","username":"u","credential":"c"}}"#,
            r#"{"iceServers":[{"urls":"turn:a:3478","username":"u","credential":"c"}]}"#,
            r#"{"iceServers":[{"urls":["turn:a:3478"],"username":"u","credential":"c"}],"more":1}"#,
        ] {
            assert_eq!(urls(body), ["turn:a:3478"], "{body}");
        }
    }

    #[test]
    fn urls_with_unknown_schemes_are_dropped() {
        let body = r#"{"iceServers":{"urls":["quic:a","turn:a:3478"],"username":"u","credential":"c"}}"#;
        assert_eq!(urls(body), ["turn:a:3478"]);
    }

    #[test]
    fn a_response_without_a_usable_relay_is_an_error() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"iceServers":[]}"#,
            r#"{"iceServers":"turn:a"}"#,
            r#"{"iceServers":[{"urls":["stun:a"]}]}"#,
            r#"{"iceServers":[{"urls":["stun:a"]},{"urls":["turn:a"]}]}"#,
            r#"{"iceServers":[{"urls":["turn:a"],"username":"u"}]}"#,
            r#"{"iceServers":[{"urls":["turn:a:53"],"username":"u","credential":"c"}]}"#,
        ] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert_eq!(error.outcome(), "bad_body", "{body}");
        }
    }

    #[test]
    fn a_401_or_404_says_that_the_key_is_unknown() {
        for (status, is_unknown) in [(401, true), (404, true), (403, false), (429, false), (500, false)] {
            let error = ProviderError::Status(StatusCode::from_u16(status).unwrap());
            assert_eq!(error.says_unknown_key(), is_unknown, "{status}");
        }
        assert!(!ProviderError::Timeout.says_unknown_key());
    }

    #[test]
    fn the_path_of_the_base_url_precedes_the_path_of_the_api() {
        let base = Url::parse("https://proxy.example/cf/").unwrap();
        let client = http_client().unwrap();
        let cloudflare = Cloudflare::new(client, &base, "key", &SecretString::from("token")).unwrap();
        let expected = "https://proxy.example/cf/v1/turn/keys/key/credentials/generate-ice-servers";
        assert_eq!(cloudflare.endpoint.as_str(), expected);
        assert!(!format!("{cloudflare:?}").contains("token\""));
    }

    /// A URL of any kind, often a good one.
    fn any_url() -> impl Strategy<Value = String> {
        prop_oneof![
            "(stun|stuns|turn|turns):[ab](:(53|053|80|3478))?",
            "(turn|turns):[ab]:[0-9]{1,6}[?]transport=(udp|tcp|x)",
            ".{0,20}",
        ]
    }

    /// An entry of any shape, often a good one.
    fn any_entry() -> impl Strategy<Value = serde_json::Value> {
        let urls = proptest::collection::vec(any_url(), 0..40);
        let texts = (proptest::option::of("u?"), proptest::option::of("c?"));
        (urls, texts, any::<bool>()).prop_map(|(urls, (username, credential), is_one)| {
            let urls = if is_one { serde_json::json!(urls.first()) } else { serde_json::json!(urls) };
            serde_json::json!({ "urls": urls, "username": username, "credential": credential })
        })
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body: Vec<u8>, text in "[{}\\[\\]\",:a-zA-Z0-9 ]{0,80}") {
            prop_assert!(parse(&body).is_err());
            prop_assert!(parse(text.as_bytes()).is_err());
        }

        #[test]
        fn whatever_is_sent_a_browser_accepts_what_is_handed_out(entries in proptest::collection::vec(any_entry(), 0..4)) {
            let body = serde_json::json!({ "iceServers": entries }).to_string();
            let Ok(servers) = parse(body.as_bytes()) else { return Ok(()) };
            prop_assert!(servers.relays());
            let mut seen = vec![];
            for server in servers.as_slice() {
                let IceUrls::Many(urls) = &server.urls else { unreachable!("a list after cleaning") };
                let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
                for url in urls {
                    prop_assert!(!url.is_blocked_by_browsers() && !seen.contains(url), "{}", url.as_str());
                    prop_assert!(!url.relays() || has(&server.username) && has(&server.credential));
                    seen.push(url.clone());
                }
            }
            prop_assert!((1..=64).contains(&seen.len()));
        }
    }
}

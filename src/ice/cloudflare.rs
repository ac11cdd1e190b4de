//! Minting at Cloudflare Realtime TURN. Whatever the other side does, a call ends within [`DEADLINE`]: with a cleaned
//! list of servers, or with a [`ProviderError`] that names the fault and holds nothing of the answer's body. The facts
//! about the API (shapes, statuses, the 201) are in docs/PROVIDER.md.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::server::{IceServerList, IceServersError, OnBadUrl, RawIceServer};
use crate::http_client::{bearer, body_up_to, date};
use turn_ledger::units::Timestamp;

/// For one mint in all: connecting, a retry, the body.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// Attempts at most: a retry only follows a failed connect or a 5xx. A gateway's 5xx may hide a credential that was made;
/// nobody holds it, and it is not charged.
const ATTEMPTS_MAX: u32 = 2;
/// Pause before the retry, so that a restarting edge is not hit twice in the same millisecond.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest answer that is read. Real ones have 0.7 KiB.
const BODY_MAX: usize = 64 * 1024;

/// A TURN key at Cloudflare, and the way there.
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
    /// The connection broke in mid-exchange.
    #[error("the connection to the provider broke")]
    Broken(#[source] reqwest::Error),
    /// A status other than 200 and 201. The body is not kept.
    #[error("the provider answered {0}; {hint}", hint = hint(*.0))]
    Status(StatusCode),
    /// Longer than any real answer.
    #[error("the provider's answer is longer than {BODY_MAX} bytes")]
    TooLong,
    /// Not the JSON that is expected, in any of its known shapes.
    #[error("the provider's answer is no list of ICE servers")]
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

    /// Whether the TURN key or its token is unknown there: then so is, most likely, what was minted with them.
    #[must_use]
    pub fn says_unknown_key(&self) -> bool {
        matches!(self, Self::Status(StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND))
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
    /// `base` is the API's origin, perhaps with a path before `/v1`.
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

    /// Mints one credential of that life; `identifier` is kept by the provider beside it.
    pub async fn mint(&self, ttl: Duration, identifier: &str) -> Result<MintResponse, ProviderError> {
        tokio::time::timeout(DEADLINE, self.attempts(ttl, identifier))
            .await
            .unwrap_or(Err(ProviderError::Timeout))
    }

    /// Revokes the credential of that user name. `false`: the provider does not know it.
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

    async fn attempts(&self, ttl: Duration, identifier: &str) -> Result<MintResponse, ProviderError> {
        let mut attempt = 1;
        loop {
            match self.attempt(ttl, identifier).await {
                Err(error) if attempt < ATTEMPTS_MAX && error.is_worth_a_retry() => attempt += 1,
                result => return result,
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&self, ttl: Duration, identifier: &str) -> Result<MintResponse, ProviderError> {
        let body = serde_json::json!({ "ttl": ttl.as_secs(), "customIdentifier": identifier });
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(AUTHORIZATION, self.authorization.clone())
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
    // The URL names the key id; no log line needs it.
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

/// Every shape that was seen over time. An answer without a relay is none: STUN we have ourselves.
fn parse(body: &[u8]) -> Result<IceServerList, ProviderError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| ProviderError::Shape)?;
    let raw = match answer.ice_servers {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) => vec![one],
    };
    let servers = IceServerList::clean(raw, OnBadUrl::Drop).map_err(ProviderError::Servers)?;
    if servers.relays() { Ok(servers) } else { Err(ProviderError::Servers(IceServersError::NoRelay)) }
}

/// What to do about a status, as far as users of the API found out. Errors have no documented body.
fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "the token is mistyped or withdrawn: compare it, or create a new TURN key and set both values",
        403 => "the token lacks the right, or the client is blocked: recreate the token with Calls Edit",
        404 => "wrong key id (or token): compare CLOUDFLARE_TURN_KEY_ID with the dashboard's Turn Token ID",
        429 => "minting too fast",
        300..=399 => "redirects are not followed: check CLOUDFLARE_API_BASE",
        _ => "see docs/PROVIDER.md",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::http_client;

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
    fn an_object_an_array_and_a_text_mean_the_same() {
        for body in [
            r#"{"iceServers":{"urls":"turn:a:3478","username":"u","credential":"c"}}"#,
            r#"{"iceServers":[{"urls":"turn:a:3478","username":"u","credential":"c"}]}"#,
            r#"{"iceServers":[{"urls":["turn:a:3478"],"username":"u","credential":"c"}],"more":1}"#,
        ] {
            assert_eq!(urls(body), ["turn:a:3478"], "{body}");
        }
    }

    #[test]
    fn unknown_schemes_are_left_out_and_not_fatal() {
        let body = r#"{"iceServers":{"urls":["quic:a","turn:a:3478"],"username":"u","credential":"c"}}"#;
        assert_eq!(urls(body), ["turn:a:3478"]);
    }

    #[test]
    fn an_answer_without_a_usable_relay_is_a_failure() {
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
    fn a_key_is_gone_where_the_provider_does_not_know_it() {
        for (status, is_gone) in [(401, true), (404, true), (403, false), (429, false), (500, false)] {
            let error = ProviderError::Status(StatusCode::from_u16(status).unwrap());
            assert_eq!(error.says_unknown_key(), is_gone, "{status}");
        }
        assert!(!ProviderError::Timeout.says_unknown_key());
    }

    #[test]
    fn a_base_with_a_path_keeps_it() {
        let base = Url::parse("https://proxy.example/cf/").unwrap();
        let client = http_client().unwrap();
        let cloudflare = Cloudflare::new(client, &base, "key", &SecretString::from("token")).unwrap();
        let expected = "https://proxy.example/cf/v1/turn/keys/key/credentials/generate-ice-servers";
        assert_eq!(cloudflare.endpoint.as_str(), expected);
        assert!(!format!("{cloudflare:?}").contains("token\""));
    }
}

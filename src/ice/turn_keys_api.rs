//! The client of Cloudflare's REST API for TURN keys: lists, creates and deletes them. One call is one request, never repeated, and
//! ends within [`DEADLINE`]. An error contains nothing of the response's body, and says whether the call can have had an effect.
//! docs/PROVIDER.md describes the API.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::http_client::{bearer, body_up_to};
use crate::rotation::{KeySecret, ListedKey};

/// The time limit of one call.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Longest response that is read. A list of 1,000 keys, the most of an account, has 200 KiB.
const BODY_MAX: usize = 1024 * 1024;

/// The TURN keys of one account.
pub struct TurnKeysApi {
    client: Client,
    endpoint: Url,
    authorization: HeaderValue,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum TurnKeysError {
    /// No connection, so the request was not sent.
    #[error("no connection to Cloudflare's API")]
    Connect(#[source] reqwest::Error),
    /// The deadline passed.
    #[error("Cloudflare's API did not respond within {} s", DEADLINE.as_secs())]
    Timeout,
    /// The connection broke during the exchange.
    #[error("the connection to Cloudflare's API broke")]
    Broken(#[source] reqwest::Error),
    /// The API token is wrong, or may not write TURN keys.
    #[error("Cloudflare refuses CLOUDFLARE_API_TOKEN ({0})")]
    Unauthorized(StatusCode),
    /// Another refusal.
    #[error("Cloudflare's API refused ({0})")]
    Refused(StatusCode),
    /// Any other status.
    #[error("Cloudflare's API answered {0}")]
    Status(StatusCode),
    /// A body that is too long, incomplete or of another form.
    #[error("the response of Cloudflare's API cannot be used")]
    Body,
}

impl TurnKeysError {
    /// Whether nothing was changed, and nothing will be.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unauthorized(_) | Self::Refused(_))
    }

    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => {
                "create an API token with the permission Calls: Edit for this account, and set CLOUDFLARE_API_TOKEN"
            }
            Self::Refused(_) => {
                "compare CLOUDFLARE_ACCOUNT_ID with the dashboard, and look for TURN keys there that can be deleted: an account has at most 1000"
            }
            Self::Connect(_) | Self::Timeout | Self::Broken(_) => {
                "check the network and CLOUDFLARE_REST_BASE; the call is made again"
            }
            Self::Status(_) | Self::Body => {
                "look at https://www.cloudflarestatus.com and check CLOUDFLARE_REST_BASE; the call is made again"
            }
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    result: Vec<Key>,
    result_info: Option<ResultInfo>,
}

#[derive(Deserialize)]
struct ResultInfo {
    total_count: Option<usize>,
}

#[derive(Deserialize)]
struct Key {
    uid: String,
    #[serde(default)]
    name: String,
}

/// A created key. It has been seen in `result`, and without that envelope.
#[derive(Deserialize)]
#[serde(untagged)]
enum Created {
    Enveloped { result: CreatedKey },
    Bare(CreatedKey),
}

#[derive(Deserialize)]
struct CreatedKey {
    uid: String,
    key: String,
}

impl TurnKeysApi {
    /// `base` is the API's origin. It can have a path, which then precedes `/client/v4`. `None` if the base or the token is
    /// invalid, which the configuration rules out.
    #[must_use]
    pub fn new(client: Client, base: &Url, account_id: &str, token: &SecretString) -> Option<Self> {
        let mut endpoint = base.clone();
        let path = ["client", "v4", "accounts", account_id, "calls", "turn_keys"];
        endpoint.path_segments_mut().ok()?.pop_if_empty().extend(path);
        Some(Self { client, endpoint, authorization: bearer(token)? })
    }

    /// All TURN keys of the account.
    pub async fn list(&self) -> Result<Vec<ListedKey>, TurnKeysError> {
        let Listed { result, result_info } = self.call(Method::GET, None, None).await?;
        let total = result_info.and_then(|info| info.total_count);
        if total.is_some_and(|total| total > result.len()) {
            return Err(TurnKeysError::Body);
        }
        Ok(result.into_iter().map(|key| ListedKey { id: key.uid, name: key.name }).collect())
    }

    /// Creates a key. Returns its id and its secret, which the API shows only here.
    pub async fn create(&self, name: &str) -> Result<(String, KeySecret), TurnKeysError> {
        let created = self.call(Method::POST, None, Some(json!({ "name": name }))).await?;
        let (Created::Enveloped { result: key } | Created::Bare(key)) = created;
        Ok((key.uid, KeySecret::new(key.key)))
    }

    /// Deletes a key.
    pub async fn delete(&self, id: &str) -> Result<(), TurnKeysError> {
        self.call::<serde::de::IgnoredAny>(Method::DELETE, Some(id), None).await.map(drop)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        id: Option<&str>,
        body: Option<Value>,
    ) -> Result<T, TurnKeysError> {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(id);
        }
        let mut request = self.client.request(method, url).timeout(DEADLINE);
        request = request.header(AUTHORIZATION, self.authorization.clone());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(broken)?;
        match response.status() {
            status if status.is_success() => {
                let body =
                    body_up_to(BODY_MAX, response).await.map_err(broken)?.ok_or(TurnKeysError::Body)?;
                // A response without content is a success too.
                let body = if body.is_empty() { b"null".to_vec() } else { body };
                serde_json::from_slice(&body).map_err(|_| TurnKeysError::Body)
            }
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(TurnKeysError::Unauthorized(status))
            }
            status @ StatusCode::REQUEST_TIMEOUT => Err(TurnKeysError::Status(status)),
            status if status.is_client_error() => Err(TurnKeysError::Refused(status)),
            status => Err(TurnKeysError::Status(status)),
        }
    }
}

impl fmt::Debug for TurnKeysApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnKeysApi").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

fn broken(error: reqwest::Error) -> TurnKeysError {
    // The URL contains the account and the id of the key.
    let error = error.without_url();
    if error.is_timeout() {
        TurnKeysError::Timeout
    } else if error.is_connect() {
        TurnKeysError::Connect(error)
    } else {
        TurnKeysError::Broken(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::http_client;

    #[test]
    fn a_created_key_is_read_with_and_without_its_envelope() {
        for body in [
            r#"{"success":true,"errors":[],"result":{"uid":"id","key":"secret","name":"n"}}"#,
            r#"{"uid":"id","key":"secret","name":"n","created":"2025-01-15T12:00:00Z"}"#,
        ] {
            let (Created::Enveloped { result: key } | Created::Bare(key)) =
                serde_json::from_str(body).unwrap();
            assert_eq!((&*key.uid, &*key.key), ("id", "secret"), "{body}");
        }
        for body in ["null", "{}", r#"{"result":{"uid":"id"}}"#, r#"{"result":[]}"#] {
            assert!(serde_json::from_str::<Created>(body).is_err(), "{body}");
        }
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_changed() {
        let status = StatusCode::BAD_GATEWAY;
        for (error, expected) in [
            (TurnKeysError::Unauthorized(StatusCode::FORBIDDEN), true),
            (TurnKeysError::Refused(StatusCode::TOO_MANY_REQUESTS), true),
            (TurnKeysError::Timeout, false),
            (TurnKeysError::Status(status), false),
            (TurnKeysError::Body, false),
        ] {
            assert_eq!(error.had_no_effect(), expected, "{error}");
        }
    }

    #[test]
    fn the_path_of_the_base_is_kept_and_debug_shows_no_token() {
        let base = Url::parse("https://proxy.example/cf/").unwrap();
        let token = SecretString::from("hush");
        let api = TurnKeysApi::new(http_client().unwrap(), &base, "account", &token).unwrap();
        let expected = "https://proxy.example/cf/client/v4/accounts/account/calls/turn_keys";
        assert_eq!(api.endpoint.as_str(), expected);
        assert!(!format!("{api:?}").contains("hush"));
    }
}

//! The client of Cloudflare's REST API for TURN keys: lists, creates and deletes them. One call is one request, never repeated, and
//! ends within [`DEADLINE`]. An error says whether the call can have had an effect.
//! docs/PROVIDER.md describes the API.

use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::rotation::{KeySecret, ListedKey};
use turn_base::http_client::{Api, CallError, ProviderClient, body};

/// The time limit of one call.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Longest response that is read. A list of 1,000 keys, the most of an account, has 200 KiB.
const BODY_MAX: usize = 1024 * 1024;

/// The TURN keys of one account.
#[derive(Debug)]
pub struct TurnKeysApi(Api);

/// What to do.
pub fn remedy(error: &CallError) -> &'static str {
    match error {
        CallError::Status { status, .. } if matches!(status.as_u16(), 401 | 403) => {
            "create an API token with the permission Calls: Edit for this account, and set CLOUDFLARE_API_TOKEN"
        }
        CallError::Status { .. } if error.had_no_effect() => {
            "compare CLOUDFLARE_ACCOUNT_ID with the dashboard, and look for TURN keys there that can be deleted: an account has at most 1000"
        }
        CallError::Unsendable | CallError::Connect(_) | CallError::Timeout | CallError::Broken(_) => {
            "check the network and CLOUDFLARE_REST_BASE; the call is made again"
        }
        CallError::Status { .. } | CallError::TooLong(_) | CallError::Unusable(_) => {
            "look at https://www.cloudflarestatus.com and check CLOUDFLARE_REST_BASE; the call is made again"
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
    /// `base` is the API's origin. It can have a path, which then precedes `/client/v4`.
    pub fn new(client: ProviderClient, base: &Url, account_id: &str, token: &SecretString) -> Self {
        let path = ["client", "v4", "accounts", account_id, "calls", "turn_keys"];
        Self(Api::new(client, base, &path, token))
    }

    /// All TURN keys of the account.
    pub async fn list(&self) -> Result<Vec<ListedKey>, CallError> {
        let Listed { result, result_info } = self.call(Method::GET, &[], None).await?;
        let total = result_info.and_then(|info| info.total_count);
        if total.is_some_and(|total| total > result.len()) {
            return Err(CallError::Unusable("it lacks keys".to_owned()));
        }
        Ok(result.into_iter().map(|key| ListedKey { id: key.uid, name: key.name }).collect())
    }

    /// Creates a key. Returns its id and its secret, which the API shows only here.
    pub async fn create(&self, name: &str) -> Result<(String, KeySecret), CallError> {
        let created = self.call(Method::POST, &[], Some(json!({ "name": name }))).await?;
        let (Created::Enveloped { result: key } | Created::Bare(key)) = created;
        Ok((key.uid, KeySecret::new(key.key)))
    }

    /// Deletes a key.
    pub async fn delete(&self, id: &str) -> Result<(), CallError> {
        self.call::<serde::de::IgnoredAny>(Method::DELETE, &[id], None).await.map(drop)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        json: Option<Value>,
    ) -> Result<T, CallError> {
        let mut request = self.0.call(method, path).timeout(DEADLINE);
        if let Some(json) = json {
            request = request.json(&json);
        }
        let body = body(BODY_MAX, self.0.send(request).await?).await?;
        // A response without content is a success too.
        let body = if body.is_empty() { b"null".to_vec() } else { body };
        serde_json::from_slice(&body).map_err(|_| CallError::Unusable("it has another form".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

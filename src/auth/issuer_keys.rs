//! The issuer's public keys, fetched from `AUTH_JWKS_URL`. While the issuer cannot be reached, the last good keys stay. A token
//! with an unknown key fetches them again, but not more often than each [`FETCH_PAUSE`], and all tokens share that one call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Client;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::key_set::KeySet;
use crate::clock::Clock;
use crate::http_client::{CallError, body, send};
use crate::telemetry::metrics::Metrics;

/// The longest document that is read.
const DOCUMENT_MAX: usize = 64 * 1_024;
/// How often the keys are fetched. So long a key that the issuer has withdrawn may still be used.
const FETCH_INTERVAL: Duration = Duration::from_secs(300);
/// The shortest time between two calls.
const FETCH_PAUSE: Duration = Duration::from_secs(10);

/// The keys, and how to fetch them.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    client: Client,
    url: Url,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    known: Mutex<Known>,
    /// Held during a call, so that there is one at a time.
    call: tokio::sync::Mutex<()>,
}

/// What the latest calls brought.
#[derive(Clone, Debug, Default)]
struct Known {
    keys: Arc<KeySet>,
    called_at: Option<Instant>,
    is_failing: bool,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer has no such key.
    Unknown,
    /// The issuer cannot be reached, so it may have one.
    Unreachable,
}

/// What to do if the keys cannot be fetched.
pub(crate) fn keys_remedy(error: &CallError) -> &'static str {
    match error {
        CallError::Status { .. } | CallError::TooLong(_) => {
            "set AUTH_JWKS_URL to the issuer's JWKS document, which its discovery document names as jwks_uri"
        }
        CallError::Unusable(_) => {
            "set AUTH_JWKS_URL to a JWKS document, and let the issuer sign with RS256, ES256 or EdDSA"
        }
        CallError::Unsendable | CallError::Connect(_) | CallError::Timeout | CallError::Broken(_) => {
            "check AUTH_JWKS_URL, and let this machine connect to its host"
        }
    }
}

/// Whether a call may be made now.
fn may_call(called_at: Option<Instant>, now: Instant) -> bool {
    called_at.is_none_or(|at| now.saturating_duration_since(at) >= FETCH_PAUSE)
}

impl IssuerKeys {
    pub(super) fn new(client: Client, url: Url, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { client, url, clock, metrics, known: Mutex::default(), call: tokio::sync::Mutex::default() }
    }

    /// The key of that id for that algorithm.
    pub(super) async fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Result<DecodingKey, NoKey> {
        let find = || self.known().keys.find(algorithm, id).cloned();
        if let Some(key) = find() {
            return Ok(key);
        }
        self.fetch().await;
        find().ok_or_else(|| if self.known().is_failing { NoKey::Unreachable } else { NoKey::Unknown })
    }

    /// Fetches the keys at the start and from time to time, until `end`.
    pub(super) async fn keep_fresh(&self, end: &CancellationToken) {
        let fetch = async {
            loop {
                self.fetch().await;
                let pause = if self.known().is_failing { FETCH_PAUSE } else { FETCH_INTERVAL };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = end.cancelled() => {}
            () = fetch => {}
        }
    }

    /// Fetches the keys, unless the last call is too recent. Waits for a call in progress, which takes 3 s at most.
    async fn fetch(&self) {
        let _call = self.call.lock().await;
        let now = self.clock.instant();
        if !may_call(self.known().called_at, now) {
            return;
        }
        self.change(|known| known.called_at = Some(now));
        match download(&self.client, &self.url).await {
            Ok(keys) => {
                self.metrics.key_fetches.count("ok");
                if self.known().is_failing {
                    tracing::info!("the keys of AUTH_JWKS_URL can be fetched again");
                }
                self.change(|known| (known.keys, known.is_failing) = (Arc::new(keys), false));
            }
            Err(error) => {
                self.metrics.key_fetches.count(error.outcome());
                if !self.known().is_failing {
                    let remedy = keys_remedy(&error);
                    tracing::warn!(
                        remedy,
                        "the keys of AUTH_JWKS_URL cannot be fetched, so the last ones are used: {error}"
                    );
                }
                self.change(|known| known.is_failing = true);
            }
        }
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn download(client: &Client, url: &Url) -> Result<KeySet, CallError> {
    let document = body(DOCUMENT_MAX, send(client.get(url.clone())).await?).await?;
    let none = || CallError::Unusable("it has no key for RS256, ES256 or EdDSA".to_owned());
    KeySet::parse(&document).ok_or_else(none)
}

/// Fetches the keys once. Returns how many can verify a token.
pub(crate) async fn count_keys(client: &Client, url: &Url) -> Result<usize, CallError> {
    download(client, url).await.map(|keys| keys.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn there_is_a_pause_between_two_calls() {
        let at = SystemClock.instant();
        assert!(may_call(None, at));
        assert!(!may_call(Some(at), at) && !may_call(Some(at), at + Duration::from_millis(9_999)));
        assert!(may_call(Some(at), at + FETCH_PAUSE));
    }
}

//! The issuer's public keys, fetched from `AUTH_JWKS_URL`. While the issuer cannot be reached, the last good keys stay. A token
//! with an unknown key causes another fetch, at most once every [`FETCH_PAUSE`] for all tokens together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::Mutex;
use reqwest::Method;
use tokio::sync::OwnedMutexGuard;
use turn_ledger::ClientKey;
use turn_limits::{Bounds, MemoryQuota};
use url::Url;

use super::TokenFault;
use super::key_set::KeySet;
use crate::telemetry::metrics::Metrics;
use turn_base::http_client::body;
use turn_base::{CallError, Clock, HttpClient};

/// The longest document that is read.
const DOCUMENT_MAX: usize = 64 * 1_024;
/// The time between two fetches. A key that the issuer has withdrawn is accepted for that long at most, while the issuer can be reached.
const FETCH_INTERVAL: Duration = Duration::from_secs(300);
/// The shortest time between two fetches for tokens with an unknown key. Also the pause after a fetch that failed.
const FETCH_PAUSE: Duration = Duration::from_secs(10);
/// The most bytes of requests that may wait for a fetch. A request counts with its token and [`REQUEST_BYTES`]. Anybody can make up the id
/// of a key, so one client may have only a part of these bytes.
const WAITING: Bounds = Bounds { client_max: 64 * 1_024, all_max: 512 * 1_024 };
/// The bytes of a request in addition to its token.
const REQUEST_BYTES: usize = 1_024;

/// The keys, and how to fetch them.
pub(super) struct IssuerKeys {
    client: HttpClient,
    url: Url,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    known: Mutex<Known>,
    /// Held during a fetch, so that there is one at a time.
    fetching: Arc<tokio::sync::Mutex<()>>,
    /// The bytes of the requests that wait for a fetch.
    waiting: MemoryQuota,
}

/// What the latest fetches brought.
#[derive(Clone, Debug, Default)]
struct Known {
    keys: Arc<KeySet>,
    /// When a token with an unknown key last caused a fetch.
    token_fetch_at: Option<Instant>,
    /// Whether the last fetch has failed.
    is_failing: bool,
}

/// What to do if the keys cannot be fetched.
pub(crate) fn keys_remedy(error: &CallError) -> &'static str {
    match error {
        CallError::Status { .. } if error.is_temporary() => "wait; if it continues, check AUTH_JWKS_URL",
        CallError::Status { .. } | CallError::TooLong(_) => {
            "set AUTH_JWKS_URL to the issuer's JWKS document, which its discovery document names as jwks_uri"
        }
        CallError::Unusable(_) => "set AUTH_JWKS_URL to a JWKS document with keys for RS256, ES256 or EdDSA",
        CallError::Unsendable | CallError::Connect(_) | CallError::Timeout | CallError::Broken(_) => {
            "check AUTH_JWKS_URL, and let this machine connect to its host"
        }
    }
}

impl IssuerKeys {
    pub(super) fn new(client: HttpClient, url: Url, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (known, fetching) = Default::default();
        Self { client, url, clock, metrics, known, fetching, waiting: MemoryQuota::new(0, WAITING) }
    }

    /// The key with this id for this algorithm. If it is not known, waits for a fetch that may bring it. `bytes`: the length of the token.
    /// `client`: who has sent the token. The request with the token counts in `waiting` during the wait.
    pub(super) async fn find(
        self: &Arc<Self>,
        algorithm: Algorithm,
        id: Option<&str>,
        bytes: usize,
        client: ClientKey,
    ) -> Result<DecodingKey, TokenFault> {
        let known_key = || self.known().keys.find(algorithm, id).cloned();
        if let Some(key) = known_key() {
            return Ok(key);
        }
        let mut waiting = self.waiting.open(client);
        if !waiting.try_resize(bytes.saturating_add(REQUEST_BYTES)) {
            // Too many tokens wait. For the client that is like an issuer that cannot be reached: a later try may work.
            return Err(TokenFault::KeysUnreachable);
        }
        self.fetch_for(algorithm, id).await;
        known_key().ok_or_else(|| {
            if self.known().is_failing { TokenFault::KeysUnreachable } else { TokenFault::UnknownKey }
        })
    }

    /// Fetches the keys at the start, and then again each [`FETCH_INTERVAL`]; after a failure, each [`FETCH_PAUSE`]. Never returns.
    pub(super) async fn keep_fresh(self: &Arc<Self>) {
        loop {
            self.fetch(Arc::clone(&self.fetching).lock_owned().await).await;
            let pause = if self.known().is_failing { FETCH_PAUSE } else { FETCH_INTERVAL };
            tokio::time::sleep(pause).await;
        }
    }

    /// Fetches the keys for a token, unless another fetch has brought its key meanwhile, or the last fetch for a token was less than
    /// [`FETCH_PAUSE`] ago.
    async fn fetch_for(self: &Arc<Self>, algorithm: Algorithm, id: Option<&str>) {
        let guard = Arc::clone(&self.fetching).lock_owned().await;
        let (known, now) = (self.known(), self.clock.instant());
        let is_due = known.token_fetch_at.is_none_or(|at| now.saturating_duration_since(at) >= FETCH_PAUSE);
        if is_due && known.keys.find(algorithm, id).is_none() {
            self.known.lock().token_fetch_at = Some(now);
            self.fetch(guard).await;
        }
    }

    /// Fetches the keys. `guard`: the lock of `fetching`, which allows one fetch at a time. A fetch takes 3 s at most.
    async fn fetch(self: &Arc<Self>, guard: OwnedMutexGuard<()>) {
        // A task, so that the keys are stored also if the caller disconnects.
        let keys = Arc::clone(self);
        let fetched = tokio::spawn(async move {
            let _guard = guard;
            keys.call_issuer().await;
        });
        // An error is a panic, which the panic hook has logged.
        let _ = fetched.await;
    }

    /// Asks the issuer for its keys. Stores, counts and logs the result; of several failures in a row, only the first has a log line.
    async fn call_issuer(&self) {
        match download(&self.client, &self.url).await {
            Ok(keys) => {
                self.metrics.key_fetches.count(["ok"]);
                if self.known().is_failing {
                    tracing::info!("the keys of AUTH_JWKS_URL can be fetched again");
                }
                let mut known = self.known.lock();
                (known.keys, known.is_failing) = (Arc::new(keys), false);
            }
            Err(error) => {
                self.metrics.key_fetches.count([error.outcome()]);
                if !self.known().is_failing {
                    let remedy = keys_remedy(&error);
                    tracing::warn!(
                        remedy,
                        "the keys of AUTH_JWKS_URL cannot be fetched, so the last ones are used: {error}"
                    );
                }
                self.known.lock().is_failing = true;
            }
        }
    }

    fn known(&self) -> Known {
        self.known.lock().clone()
    }
}

async fn download(client: &HttpClient, url: &Url) -> Result<KeySet, CallError> {
    let document = body(DOCUMENT_MAX, client.send(client.request(Method::GET, url.clone())).await?).await?;
    let no_key = || CallError::Unusable("it has no key for RS256, ES256 or EdDSA".to_owned());
    KeySet::parse(&document).ok_or_else(no_key)
}

/// Fetches the keys once. Returns how many can verify a token.
pub(crate) async fn count_keys(client: &HttpClient, url: &Url) -> Result<usize, CallError> {
    download(client, url).await.map(|keys| keys.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;
    use turn_base::{HttpClient, Network, SystemClock};

    const ONE: &str = "192.0.2.1";

    #[tokio::test]
    async fn a_caller_that_disconnects_during_a_fetch_does_not_end_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let clock = Arc::new(SystemClock);
        let keys =
            Arc::new(IssuerKeys::new(HttpClient::new(&Network::DIRECT).unwrap(), url, clock, Arc::default()));
        let find = |from: &'static str| {
            keys.find(Algorithm::EdDSA, Some("a"), 100, ClientKey::of(from.parse().unwrap()))
        };
        let (socket, _) = tokio::select! {
            _ = find(ONE) => panic!("nobody has answered"),
            accepted = listener.accept() => accepted.unwrap(),
        };
        // The caller is gone, and what it sent counts no more.
        let mut of_one = keys.waiting.open(ClientKey::of(ONE.parse().unwrap()));
        assert!(of_one.try_resize(WAITING.client_max));
        // Its share is full, and it hears that at once.
        assert_eq!(find(ONE).await.map(drop), Err(TokenFault::KeysUnreachable));
        let of_another = find("192.0.2.2");
        tokio::pin!(of_another);
        assert!(futures_util::poll!(&mut of_another).is_pending(), "another client waits");
        drop(of_one);
        let mut socket = BufReader::new(socket);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(socket.read_line(&mut line).await.unwrap() > 0, "the fetch was ended");
        }
        let document = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AA"}]}"#;
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{document}", document.len());
        socket.write_all(response.as_bytes()).await.unwrap();
        assert!(of_another.await.is_ok());
        assert!(find(ONE).await.is_ok());
    }

    #[test]
    fn the_remedy_for_an_outage_of_the_issuer_is_to_wait() {
        for (status, waits) in [(500, true), (503, true), (429, true), (404, false), (302, false)] {
            let error = CallError::of_status(status);
            assert_eq!(keys_remedy(&error).starts_with("wait"), waits, "{status}");
        }
    }
}

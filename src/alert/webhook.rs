//! The webhook client: it posts an alert once, as a JSON body for Slack, Discord and programs, signed as in the Standard
//! Webhooks specification. The URL is a secret: errors and `Debug` forms contain only its host. Of a response it reads
//! only the status and `Retry-After`.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::body;
use crate::alert::Alert;
use crate::config::{AlertConfig, PublicUrl, WebhookUrl};
use turn_ledger::Timestamp;

/// The time limit of one attempt.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that is honoured.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A receiver of alerts.
pub struct Webhook {
    client: Client,
    url: WebhookUrl,
    key: Option<Hmac<Sha256>>,
    /// Where the dashboard is.
    public_url: Option<PublicUrl>,
}

/// Why an alert was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection: DNS, refused, TLS.
    #[error("no connection to the receiver of alerts")]
    Connect(#[source] reqwest::Error),
    /// The deadline passed. The alert may have arrived.
    #[error("the receiver of alerts gave no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// The connection broke. The alert may have arrived.
    #[error("the connection to the receiver of alerts broke")]
    Broken(#[source] reqwest::Error),
    /// A temporary error response.
    #[error("the receiver of alerts cannot accept it now: {status}")]
    NotNow {
        /// 408, 425, 429 or 5xx.
        status: StatusCode,
        /// The wait that the receiver requested, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// A permanent error response.
    #[error("the receiver of alerts refused it with {0}; {hint}", hint = hint(*.0))]
    Refused(StatusCode),
    /// The request could not be built.
    #[error("the alert cannot be sent as a request")]
    Request(#[source] reqwest::Error),
}

impl SendError {
    /// Whether a later attempt may succeed.
    #[must_use]
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout | Self::Broken(_) | Self::NotNow { .. } => true,
            Self::Refused(_) | Self::Request(_) => false,
        }
    }

    /// The wait that the receiver requested.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::NotNow { retry_after, .. } = self { *retry_after } else { None }
    }
}

impl Webhook {
    /// `client` must not follow redirects: one of [`crate::http_client::http_client`].
    #[must_use]
    pub fn new(client: Client, config: &AlertConfig, public_url: Option<PublicUrl>) -> Self {
        let key = config.signing_key.as_ref().map(|key| mac(key.expose_secret()));
        Self { client, url: config.url.clone(), key, public_url }
    }

    /// The host, which is not secret.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host()
    }

    /// Makes one attempt, within [`DEADLINE`]. `at`: the current time, because receivers refuse old signatures.
    pub async fn send(&self, alert: &Alert, at: Timestamp) -> Result<(), SendError> {
        let body = body::of(alert, self.public_url.as_ref());
        let mut request = self
            .client
            .post(self.url.expose().clone())
            .timeout(DEADLINE)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &*alert.id)
            .header("webhook-timestamp", at.as_secs());
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", signature(key, &alert.id, at, &body));
        }
        let response = request.body(body).send().await.map_err(failed)?;
        judge(response.status(), response.headers())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("an HMAC takes a key of any length")
}

/// `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`.
fn signature(key: &Hmac<Sha256>, id: &str, at: Timestamp, body: &str) -> String {
    let signed = format!("{id}.{}.{body}", at.as_secs());
    let mac = key.clone().chain_update(signed).finalize().into_bytes();
    format!("v1,{}", STANDARD.encode(mac))
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), SendError> {
    if status.is_success() {
        return Ok(());
    }
    let is_temporary = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if is_temporary {
        return Err(SendError::NotNow { status, retry_after: retry_after(headers) });
    }
    Err(SendError::Refused(status))
}

/// Whole seconds. A date is ignored, and the back-off applies.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = is_number.then(|| text.parse().unwrap_or(u64::MAX))?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn failed(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    if error.is_timeout() {
        SendError::Timeout
    } else if error.is_connect() {
        SendError::Connect(error)
    } else if error.is_builder() {
        SendError::Request(error)
    } else {
        SendError::Broken(error)
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "set ALERT_WEBHOOK_URL to the final address: redirects are not followed",
        401 | 403 => "check ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET",
        404 | 410 => "create a new webhook and set ALERT_WEBHOOK_URL: this one no longer exists",
        _ => "check the receiver: it does not understand the message",
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;

//! The webhook client: it posts an alert once, as a JSON body for Slack, Discord, Google Chat, Teams and programs, signed as in the Standard
//! Webhooks specification. The URL is a secret: errors and `Debug` forms contain only its host. Of a response it reads
//! only the status and `Retry-After`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::body::{self, Form};
use crate::alert::Alert;
use crate::config::{AlertConfig, PublicUrl};
use turn_base::http_client::{CallError, HttpClient};
use turn_base::web_url::WebhookUrl;
use turn_ledger::Timestamp;

/// The time limit of one attempt.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// A receiver of alerts.
pub struct Webhook {
    client: HttpClient,
    /// Where it leads.
    pub url: WebhookUrl,
    key: Option<Hmac<Sha256>>,
    /// Where the dashboard is.
    public_url: Option<PublicUrl>,
}

/// What to do if an alert was not delivered.
pub fn remedy(error: &CallError) -> &'static str {
    match error {
        CallError::Connect(_) => "allow connections to that host, and check that its certificate is trusted",
        CallError::Timeout | CallError::Broken(_) => "check why the receiver does not respond within 5 s",
        CallError::Status { status, .. } => match status.as_u16() {
            300..=399 => "set ALERT_WEBHOOK_URL to the final address: redirects are not followed",
            401 | 403 => "check ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET",
            404 | 410 => "create a new webhook and set ALERT_WEBHOOK_URL: this one no longer exists",
            _ if error.is_temporary() => "check the receiver: it is overloaded, or fails by itself",
            _ => "check the receiver: it does not understand the message",
        },
        CallError::Unsendable | CallError::TooLong(_) | CallError::Unusable(_) => "check ALERT_WEBHOOK_URL",
    }
}

impl Webhook {
    /// A receiver that gets its alerts by this client.
    pub fn new(client: HttpClient, config: &AlertConfig, public_url: Option<PublicUrl>) -> Self {
        let key = config.signing_key.as_ref().map(|key| mac(key.expose_secret()));
        Self { client, url: config.url.clone(), key, public_url }
    }

    /// Makes one attempt, within [`DEADLINE`]. `at`: the current time, because receivers refuse old signatures.
    pub async fn send(&self, alert: &Alert, at: Timestamp) -> Result<(), CallError> {
        let form = Form::of(self.url.expose().path());
        let body = body::of(alert, self.public_url.as_ref(), form).to_string();
        let mut request = self
            .client
            .request(Method::POST, self.url.expose().clone())
            .timeout(DEADLINE)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &*alert.id)
            .header("webhook-timestamp", at.as_secs());
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", signature(key, &alert.id, at, &body));
        }
        self.client.send(request.body(body)).await.map(drop)
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

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;

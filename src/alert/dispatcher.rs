//! Delivery of alerts, those of one condition in order, so that no recovery arrives before its failure. While an alert waits for its next
//! attempt, alerts of other conditions are sent. An alert leaves the outbox only when it is delivered, refused for good, or out of
//! attempts. If the dispatcher stops before that, the next one sends the alert again with the same id.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;

use super::webhook::{Webhook, remedy};
use crate::alert::Alert;
use crate::telemetry::metrics::Metrics;
use turn_base::backoff::RetryPolicy;
use turn_base::clock::Clock;
use turn_base::random;

/// The queue of alerts to deliver.
pub trait Outbox: Send + Sync {
    /// All waiting alerts, the oldest first. If possible, they are stored before this returns, so that another replica that sends one of
    /// them again uses the same id.
    fn waiting(&self) -> impl Future<Output = Vec<Alert>> + Send;
    /// Removes an alert that is delivered or given up.
    fn remove(&self, id: &str);
}

/// The pause before the outbox is checked again.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// Sends the alerts of an outbox to a webhook.
pub struct AlertDispatcher {
    /// The receiver.
    pub webhook: Webhook,
    /// Wall time, for the signature.
    pub clock: Arc<dyn Clock>,
    /// Counts alerts by outcome.
    pub metrics: Arc<Metrics>,
    /// When to retry, and how often.
    pub retry: RetryPolicy,
}

impl AlertDispatcher {
    /// Delivers what is in the outbox, and what comes into it. Never returns.
    pub async fn deliver(&self, outbox: &impl Outbox) {
        // One request at a time.
        let sending = &Mutex::new(());
        // `busy`: the kinds of the alerts in `deliveries`.
        let (mut deliveries, mut busy) = (FuturesUnordered::new(), vec![]);
        let deliver = |alert: Alert| async move {
            let outcome = self.deliver_one(&alert, sending).await;
            outbox.remove(&alert.id);
            self.metrics.alerts.count([alert.kind.name(), outcome]);
            alert.kind
        };
        loop {
            for alert in outbox.waiting().await {
                if !busy.iter().any(|kind| alert.kind.has_condition_of(*kind)) {
                    busy.push(alert.kind);
                    deliveries.push(deliver(alert));
                }
            }
            let next_end = tokio::time::timeout(IDLE_PAUSE, deliveries.next());
            if let Ok(Some(ended)) = next_end.await {
                busy.retain(|kind| *kind != ended);
            } else if busy.is_empty() {
                // Without deliveries, `next` has returned `None` at once.
                tokio::time::sleep(IDLE_PAUSE).await;
            }
        }
    }

    /// Sends an alert until it is delivered, refused for good, or out of attempts. Returns the outcome for the metrics. Holds `sending` during each request, not between
    /// attempts.
    async fn deliver_one(&self, alert: &Alert, sending: &Mutex<()>) -> &'static str {
        let (id, text, host) = (&alert.id, &alert.what, self.webhook.url.host());
        let mut attempt = 1;
        loop {
            let sent = {
                let _sending = sending.lock().await;
                self.webhook.send(alert, self.clock.now()).await
            };
            let Err(error) = sent else {
                tracing::info!(id, attempt, host, "alert delivered");
                return "delivered";
            };
            let remedy = remedy(&error);
            let delay = self.retry.next_delay(attempt, random::number()).filter(|_| error.is_temporary());
            let Some(delay) = delay else {
                tracing::error!(id, attempt, host, text, remedy, "alert not delivered: {error}");
                return if error.is_temporary() { "given_up" } else { "failed" };
            };
            tracing::warn!(id, attempt, host, remedy, "alert not delivered yet: {error}");
            tokio::time::sleep(delay.max(error.retry_after().unwrap_or_default())).await;
            attempt += 1;
        }
    }
}

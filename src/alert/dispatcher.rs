//! Delivery of alerts, one at a time and in order, so that no recovery arrives before its failure. An alert leaves the outbox
//! only when it is delivered, refused for good, or out of attempts. If the dispatcher stops before that, the next one sends
//! the alert again with the same id.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::webhook::{SendError, Webhook};
use crate::alert::Alert;
use crate::backoff;
use crate::clock::Clock;
use crate::random;
use crate::telemetry::cause::innermost;
use crate::telemetry::metrics::Metrics;

/// The queue of alerts to deliver.
pub trait Outbox: Send + Sync {
    /// The oldest alert.
    fn next(&self) -> Option<Alert>;
    /// Removes an alert that is delivered or given up.
    fn settled(&self, id: &str);
}

/// When to retry, and how often.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The pause before an empty outbox is checked again.
    pub idle: Duration,
    /// The longest wait after the first failure. It doubles with each further failure.
    pub first: Duration,
    /// The longest wait after any failure.
    pub longest: Duration,
    /// The most attempts for one alert.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    /// Twenty attempts in about a quarter of an hour.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(1),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            attempts_max: 20,
        }
    }
}

impl RetryPolicy {
    /// The wait after failure number `attempt`, counted from 1: between half of the back-off's step and all of it.
    /// `None` after the last attempt.
    #[must_use]
    pub fn next_delay(&self, attempt: u32, random: u64) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let step = backoff::step(self.first, attempt.saturating_sub(1), self.longest);
        Some(step.saturating_sub(backoff::jitter(step / 2, random)))
    }
}

/// Sends the alerts of an outbox to a webhook.
#[derive(Debug)]
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

/// The outcome of one alert, a label of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum Outcome {
    Delivered,
    Failed,
    GivenUp,
}

impl AlertDispatcher {
    /// Delivers until `end`, which cancels a running attempt.
    pub async fn deliver(&self, outbox: &impl Outbox, end: &CancellationToken) {
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            () = self.deliver_all(outbox) => {}
        }
    }

    async fn deliver_all(&self, outbox: &impl Outbox) {
        loop {
            let Some(alert) = outbox.next() else {
                tokio::time::sleep(self.retry.idle).await;
                continue;
            };
            let outcome = self.deliver_one(&alert).await;
            outbox.settled(&alert.id);
            self.metrics.alert(alert.kind.name(), outcome.name(), 1);
        }
    }

    async fn deliver_one(&self, alert: &Alert) -> Outcome {
        let mut attempt = 1;
        loop {
            let Err(error) = self.webhook.send(alert, self.clock.now()).await else {
                tracing::info!(alert = alert.id, attempt, host = self.webhook.host(), "alert delivered");
                return Outcome::Delivered;
            };
            if !error.is_worth_a_retry() {
                self.log_loss(alert, attempt, &error);
                return Outcome::Failed;
            }
            let Some(delay) = self.retry.next_delay(attempt, random_number()) else {
                self.log_loss(alert, attempt, &error);
                return Outcome::GivenUp;
            };
            let delay = delay.max(error.retry_after().unwrap_or_default());
            self.log_failure(alert, attempt, &error);
            tokio::time::sleep(delay).await;
            attempt += 1;
        }
    }

    fn log_failure(&self, alert: &Alert, attempt: u32, error: &SendError) {
        let (host, cause) = (self.webhook.host(), innermost(error));
        tracing::warn!(alert = alert.id, attempt, host, cause, "alert not delivered yet: {error}");
    }

    fn log_loss(&self, alert: &Alert, attempt: u32, error: &SendError) {
        let (host, cause, what) = (self.webhook.host(), innermost(error), &alert.what);
        tracing::error!(alert = alert.id, attempt, host, cause, what, "alert not delivered: {error}");
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        self.into()
    }
}

/// Zero if no random bytes are available. The wait then has no jitter.
fn random_number() -> u64 {
    random::bytes().map(u64::from_le_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end_after_the_last_attempt() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=20).map(|attempt| policy.next_delay(attempt, 0)).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(waits[..7], [1, 2, 4, 8, 16, 32, 60].map(seconds));
        assert!(waits[7..19].iter().all(|wait| *wait == seconds(60)), "{waits:?}");
        assert_eq!(waits[19], None);
        let all: Duration = waits.iter().flatten().sum();
        assert!(
            all <= Duration::from_secs(15 * 60),
            "the receiver may be unreachable for a quarter of an hour: {all:?}"
        );
    }

    proptest! {
        #[test]
        fn jitter_shortens_a_wait_by_at_most_half(attempt in 1_u32..20, random: u64) {
            let policy = RetryPolicy::default();
            let step = policy.next_delay(attempt, 0).unwrap();
            let wait = policy.next_delay(attempt, random).unwrap();
            prop_assert!(wait <= step && wait >= step / 2);
        }

        #[test]
        fn no_number_of_attempts_makes_it_panic(attempt: u32, random: u64, first: u64, longest: u64) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
            let policy = RetryPolicy { first, longest, attempts_max: u32::MAX, ..RetryPolicy::default() };
            prop_assert!(policy.next_delay(attempt, random).is_none_or(|wait| wait <= longest));
        }
    }
}

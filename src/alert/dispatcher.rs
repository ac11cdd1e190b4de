//! Delivers alerts: one at a time and in order, so that no recovery overtakes its failure. An alert leaves the outbox
//! when it was delivered, refused for good, or tried too often, and on no other path: a dispatcher that is stopped in the
//! middle leaves it where it is, and the next one sends it again under the same id.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::webhook::{SendError, Webhook};
use crate::clock::Clock;
use crate::random;
use crate::telemetry::cause::innermost;
use crate::telemetry::metrics::Metrics;
use turn_ledger::alert::Alert;

/// Where alerts wait.
pub trait Outbox: Send + Sync {
    /// The oldest that is not delivered.
    fn next(&self) -> Option<Alert>;
    /// It is not to be sent again: delivered, or never to be.
    fn settled(&self, id: &str);
}

/// How often and how soon.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often the outbox is looked into while it is empty.
    pub idle: Duration,
    /// After the first failure; doubled with each further one.
    pub first: Duration,
    /// The longest of these.
    pub longest: Duration,
    /// Attempts at most.
    pub attempts_max: u32,
}

impl Default for Pace {
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

impl Pace {
    /// How long to wait after failure number `attempt`, counted from 1: between half of the step and all of it, as
    /// `random` says. `None`: that was the last attempt.
    #[must_use]
    pub fn next_delay(&self, attempt: u32, random: u64) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let step = self.first.saturating_mul(doubled).min(self.longest);
        let half = u64::try_from(step.as_millis()).unwrap_or(u64::MAX) / 2;
        Some(step.saturating_sub(Duration::from_millis(random % half.saturating_add(1))))
    }
}

/// Brings alerts from an outbox to a webhook.
#[derive(Debug)]
pub struct AlertDispatcher {
    /// Where to.
    pub webhook: Webhook,
    /// Wall time, for the signature.
    pub clock: Arc<dyn Clock>,
    /// Counts what became of each alert.
    pub metrics: Arc<Metrics>,
    /// How often and how soon.
    pub pace: Pace,
}

/// What became of an alert, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Delivered,
    Failed,
    GivenUp,
}

impl AlertDispatcher {
    /// Delivers until `end`; an attempt that is under way then is cut.
    pub async fn deliver(&self, outbox: &impl Outbox, end: &CancellationToken) {
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            () = self.work(outbox) => {}
        }
    }

    async fn work(&self, outbox: &impl Outbox) {
        loop {
            let Some(alert) = outbox.next() else {
                tokio::time::sleep(self.pace.idle).await;
                continue;
            };
            let outcome = self.bring(&alert).await;
            outbox.settled(&alert.id);
            self.metrics.alert(alert.kind.name(), outcome.name(), 1);
        }
    }

    async fn bring(&self, alert: &Alert) -> Outcome {
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
            let Some(delay) = self.pace.next_delay(attempt, dice()) else {
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
    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}

/// Without random numbers the wait is the whole step: that is no reason not to send.
fn dice() -> u64 {
    random::bytes().map(u64::from_le_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end_after_the_last_attempt() {
        let pace = Pace::default();
        let waits: Vec<_> = (1..=20).map(|attempt| pace.next_delay(attempt, 0)).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(waits[..7], [1, 2, 4, 8, 16, 32, 60].map(seconds));
        assert!(waits[7..19].iter().all(|wait| *wait == seconds(60)), "{waits:?}");
        assert_eq!(waits[19], None);
        let all: Duration = waits.iter().flatten().sum();
        assert!(
            all <= Duration::from_secs(15 * 60),
            "the receiver may be away for a quarter of an hour: {all:?}"
        );
    }

    proptest! {
        #[test]
        fn chance_takes_away_half_of_a_step_at_most(attempt in 1_u32..20, random: u64) {
            let pace = Pace::default();
            let step = pace.next_delay(attempt, 0).unwrap();
            let wait = pace.next_delay(attempt, random).unwrap();
            prop_assert!(wait <= step && wait >= step / 2);
        }

        #[test]
        fn no_number_of_attempts_makes_it_panic(attempt: u32, random: u64, first: u64, longest: u64) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
            let pace = Pace { first, longest, attempts_max: u32::MAX, ..Pace::default() };
            prop_assert!(pace.next_delay(attempt, random).is_none_or(|wait| wait <= longest));
        }
    }
}

//! The delivery of one message to a webhook: attempts until it is accepted, refused for good, or out of attempts. The webhook's URL
//! is a secret: only its host is logged.

use crate::backoff::RetryPolicy;
use crate::http_client::CallError;
use crate::random;

/// What the log says of a message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is.
    pub noun: &'static str,
    /// Its id and its text, if a lost message is logged with them.
    pub content: Option<(&'a str, &'a str)>,
    /// The receiver's host.
    pub host: &'a str,
    /// What to do about a failure.
    pub remedy: fn(&CallError) -> &'static str,
}

/// How a delivery ended: a label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryOutcome {
    /// The receiver accepted it.
    Delivered,
    /// The receiver refused it.
    Failed,
    /// It is out of attempts.
    GivenUp,
}

impl DeliveryOutcome {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Message<'_> {
    /// Delivers it with attempts of `send`.
    pub async fn deliver<F>(self, policy: RetryPolicy, send: impl Fn() -> F) -> DeliveryOutcome
    where
        F: Future<Output = Result<(), CallError>>,
    {
        let Self { noun, content, host, remedy } = self;
        let (id, text) = content.unzip();
        let mut attempt = 1;
        loop {
            let Err(error) = send().await else {
                tracing::info!(id, attempt, host, "{noun} delivered");
                return DeliveryOutcome::Delivered;
            };
            let remedy = remedy(&error);
            let delay = policy.next_delay(attempt, random::number()).filter(|_| error.is_temporary());
            let Some(delay) = delay else {
                tracing::error!(id, attempt, host, text, remedy, "{noun} not delivered: {error}");
                return if error.is_temporary() { DeliveryOutcome::GivenUp } else { DeliveryOutcome::Failed };
            };
            tracing::warn!(id, attempt, host, remedy, "{noun} not delivered yet: {error}");
            tokio::time::sleep(delay.max(error.retry_after().unwrap_or_default())).await;
            attempt += 1;
        }
    }
}

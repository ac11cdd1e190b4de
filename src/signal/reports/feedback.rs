//! Cards for a chat: a bounded queue, and attempts for each card until it is accepted, refused, or out of attempts. The URL is a
//! secret: only its host is logged. Waiting cards are lost when the process ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use tokio::sync::Notify;

use crate::alert::dispatcher::RetryPolicy;
use crate::config::WebhookUrl;
use crate::random;
use crate::telemetry::metrics::Metrics;

/// The most cards that wait.
pub const CARDS_MAX: usize = 64;
/// The time limit of one attempt.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// A chat that gets cards.
#[derive(Debug)]
pub struct Feedback {
    client: Client,
    url: WebhookUrl,
    /// The oldest card is first, and stays until it is finished.
    cards: Mutex<VecDeque<Arc<str>>>,
    arrived: Notify,
    retry: RetryPolicy,
    metrics: Arc<Metrics>,
}

/// The result of an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Delivered,
    /// A later attempt may succeed.
    NotNow(String),
    Refused(StatusCode),
}

impl Feedback {
    /// `client` must not follow redirects: one of [`crate::http_client::http_client`].
    #[must_use]
    pub fn new(client: Client, url: WebhookUrl, metrics: Arc<Metrics>) -> Self {
        let (cards, arrived) = (Mutex::default(), Notify::new());
        Self { client, url, cards, arrived, retry: RetryPolicy::default(), metrics }
    }

    /// Adds a card. `false` if too many wait.
    #[must_use]
    pub fn push(&self, card: String) -> bool {
        let mut cards = self.lock();
        let has_room = cards.len() < CARDS_MAX;
        if has_room {
            cards.push_back(card.into());
        }
        drop(cards);
        self.arrived.notify_one();
        if !has_room {
            self.metrics.feedback_cards.count("dropped");
        }
        has_room
    }

    /// Delivers for ever, one card at a time.
    pub async fn deliver(&self) {
        loop {
            let Some(card) = self.first() else {
                self.arrived.notified().await;
                continue;
            };
            let outcome = self.deliver_one(&card).await;
            self.lock().pop_front();
            self.metrics.feedback_cards.count(outcome);
        }
    }

    async fn deliver_one(&self, card: &str) -> &'static str {
        let (mut attempt, host) = (1, self.url.host());
        loop {
            let why = match self.send(card).await {
                Attempt::Delivered => return "delivered",
                Attempt::NotNow(why) => why,
                Attempt::Refused(status) => {
                    tracing::error!(host, "a card was refused with {status}; check FEEDBACK_URL");
                    return "failed";
                }
            };
            let random = random::bytes().map(u64::from_le_bytes).unwrap_or_default();
            let Some(delay) = self.retry.next_delay(attempt, random) else {
                tracing::error!(host, attempt, "a card was not delivered: {why}");
                return "given_up";
            };
            tracing::warn!(host, attempt, "a card is not delivered yet: {why}");
            tokio::time::sleep(delay).await;
            attempt += 1;
        }
    }

    async fn send(&self, card: &str) -> Attempt {
        let request = self.client.post(self.url.expose().clone()).timeout(DEADLINE);
        let request = request.header(CONTENT_TYPE, "application/json; charset=UTF-8").body(card.to_owned());
        match request.send().await {
            Ok(response) => judge(response.status()),
            Err(error) => Attempt::NotNow(error.without_url().to_string()),
        }
    }

    fn first(&self) -> Option<Arc<str>> {
        self.lock().front().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<str>>> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn judge(status: StatusCode) -> Attempt {
    if status.is_success() {
        return Attempt::Delivered;
    }
    let is_temporary = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if is_temporary { Attempt::NotNow(status.to_string()) } else { Attempt::Refused(status) }
}

//! Cards for a chat: a bounded queue, and attempts for each card until it is accepted, refused, or out of attempts. The URL is a
//! secret: only its host is logged. Waiting cards are lost when the process ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Notify;

use crate::alert::delivery::{DeliveryOutcome, Message};
use crate::backoff::RetryPolicy;
use crate::config::WebhookUrl;
use crate::http_client::{CallError, send};
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
    metrics: Arc<Metrics>,
}

impl Feedback {
    /// `client` must not follow redirects: one of [`crate::http_client::http_client`].
    pub fn new(client: Client, url: WebhookUrl, metrics: Arc<Metrics>) -> Self {
        let (cards, arrived) = (Mutex::default(), Notify::new());
        Self { client, url, cards, arrived, metrics }
    }

    /// Adds a card. `false` if too many wait.
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
            self.metrics.feedback_cards.count(outcome.name());
        }
    }

    async fn deliver_one(&self, card: &str) -> DeliveryOutcome {
        let remedy = |_: &CallError| "check FEEDBACK_URL and its receiver";
        let message = Message { noun: "card", content: None, host: self.url.host(), remedy };
        message.deliver(RetryPolicy::default(), || self.send(card)).await
    }

    async fn send(&self, card: &str) -> Result<(), CallError> {
        let request = self.client.post(self.url.expose().clone()).timeout(DEADLINE);
        let request = request.header(CONTENT_TYPE, "application/json; charset=UTF-8").body(card.to_owned());
        send(request).await.map(drop)
    }

    fn first(&self) -> Option<Arc<str>> {
        self.lock().front().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<str>>> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

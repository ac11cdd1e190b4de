//! Cards for a chat: a bounded queue, and attempts for each card until it is accepted, refused, or out of attempts. The URL is a
//! secret: only its host is logged. Waiting cards are lost when the process ends.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::alert::delivery::Message;
use crate::backoff::RetryPolicy;
use crate::config::WebhookUrl;
use crate::http_client::{CallError, send};
use crate::telemetry::metrics::Metrics;

/// The most cards that wait while one is being delivered.
pub const CARDS_MAX: usize = 64;
/// The time limit of one attempt.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// A chat that gets cards.
#[derive(Debug)]
pub struct Feedback {
    client: Client,
    url: WebhookUrl,
    queue: Sender<String>,
    cards: Mutex<Receiver<String>>,
    metrics: Arc<Metrics>,
}

impl Feedback {
    /// `client` must not follow redirects: one of [`crate::http_client::http_client`].
    pub fn new(client: Client, url: WebhookUrl, metrics: Arc<Metrics>) -> Self {
        let (queue, cards) = mpsc::channel(CARDS_MAX);
        Self { client, url, queue, cards: Mutex::new(cards), metrics }
    }

    /// Adds a card. `false` if too many wait.
    pub fn push(&self, card: String) -> bool {
        let has_room = self.queue.try_send(card).is_ok();
        if !has_room {
            self.metrics.feedback_cards.count("dropped");
        }
        has_room
    }

    /// Delivers for ever, one card at a time.
    pub async fn deliver(&self) {
        let remedy = |_: &CallError| "check FEEDBACK_URL and its receiver";
        let message = Message { noun: "card", content: None, host: self.url.host(), remedy };
        let mut cards = self.cards.lock().await;
        while let Some(card) = cards.recv().await {
            let outcome = message.deliver(RetryPolicy::default(), || self.send(&card)).await;
            self.metrics.feedback_cards.count(outcome.name());
        }
    }

    async fn send(&self, card: &str) -> Result<(), CallError> {
        let request = self.client.post(self.url.expose().clone()).timeout(DEADLINE);
        let request = request.header(CONTENT_TYPE, "application/json; charset=UTF-8").body(card.to_owned());
        send(request).await.map(drop)
    }
}

//! Cards for a chat: a bounded queue, and attempts for each card until it is accepted, refused, or out of attempts. The URL is a
//! secret: only its host is logged. Waiting cards are lost when the process ends.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};
use turn_base::backoff::RetryPolicy;
use turn_base::delivery::Message;
use turn_base::http_client::{CallError, send};
use turn_base::web_url::WebhookUrl;
use turn_ledger::ClientKey;
use turn_limits::{Held, SHARES};

use crate::broker::{Counted, ServerBroker, Service};
use crate::occupancy::NoPlace;

/// The most cards that wait while one is being delivered.
pub(crate) const CARDS_MAX: usize = SHARES * CARDS_PER_CLIENT_MAX;
/// The most of these of one client address. An IPv6 /48 has four times as many.
pub(crate) const CARDS_PER_CLIENT_MAX: usize = 4;
/// The time limit of one attempt.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// A card, and the client whose share it counts against.
type Card = (ClientKey, String);

/// A chat that gets cards.
pub(crate) struct Feedback {
    client: Client,
    url: WebhookUrl,
    queue: Sender<Card>,
    cards: Mutex<Receiver<Card>>,
    held: parking_lot::Mutex<Held<usize>>,
    broker: Arc<dyn ServerBroker>,
}

impl Feedback {
    /// No cards.
    pub(crate) fn new(url: WebhookUrl, service: &Service) -> Self {
        let (client, broker) = (service.client.clone(), Arc::clone(&service.broker));
        let (queue, cards) = mpsc::channel(CARDS_MAX);
        Self { client, url, queue, cards: Mutex::new(cards), held: parking_lot::Mutex::default(), broker }
    }

    /// Adds a card of a client, unless too many wait.
    pub(crate) fn push(&self, client: ClientKey, card: String) -> Result<(), NoPlace> {
        let mut held = self.held.lock();
        let pushed = if held.is_full(client, CARDS_PER_CLIENT_MAX) {
            Err(NoPlace::ClientFull)
        } else {
            self.queue.try_send((client, card)).map_err(|_| NoPlace::Full)
        };
        match &pushed {
            Ok(()) => held.add(client),
            Err(_) => self.broker.count(Counted::Card("dropped")),
        }
        pushed
    }

    /// Delivers for ever, one card at a time.
    pub(crate) async fn deliver(&self) {
        let remedy = |_: &CallError| "check FEEDBACK_URL and its receiver";
        let message = Message { noun: "card", content: None, host: self.url.host(), remedy };
        let mut cards = self.cards.lock().await;
        while let Some((client, card)) = cards.recv().await {
            self.held.lock().remove(client);
            let outcome = message.deliver(RetryPolicy::default(), || self.send(&card)).await;
            self.broker.count(Counted::Card(outcome.name()));
        }
    }

    async fn send(&self, card: &str) -> Result<(), CallError> {
        let request = self.client.post(self.url.expose().clone()).timeout(DEADLINE);
        let request = request.header(CONTENT_TYPE, "application/json; charset=UTF-8").body(card.to_owned());
        send(request).await.map(drop)
    }
}

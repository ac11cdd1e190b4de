//! Webhooks, sign-ins and mints for the protocols. Each is one task, and the number of tasks is bounded. When no task is free, a question
//! is answered as if the attempt had failed.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use turn_base::{ApiError, Minted, WebClient, WebhookUrl, post_webhook};
use turn_budget::{Call, ClientKey, Spender, User};
use turn_signaling::{Closing, Event, Question, Reply, Text, Webhook};

use crate::{AnyHub, Asked, Counted, Sockets};

/// The most webhooks, sign-ins and mints in progress. A webhook that does not answer takes 5 s, and sockets can be opened and closed faster
/// than that.
const TASKS_MAX: usize = 8_192;

impl Sockets {
    /// Gives an event to a protocol, and begins what the protocol asks for.
    pub(crate) fn take(self: &Arc<Self>, hub: &Arc<dyn AnyHub>, event: Event<Text>) {
        self.begin(hub, hub.take(event));
    }

    /// Starts one task for each question.
    pub(crate) fn begin(self: &Arc<Self>, hub: &Arc<dyn AnyHub>, questions: Vec<Asked>) {
        for asked in questions {
            if self.tasks.len() >= TASKS_MAX {
                self.service.broker.count(Counted::Limited("no_task"));
                self.give_up(hub, asked);
                continue;
            }
            let (of_task, hub) = (Arc::clone(self), Arc::clone(hub));
            self.tasks.spawn(async move { of_task.find_reply(&hub, asked).await });
        }
    }

    /// Replies at once, because too many tasks are running.
    fn give_up(self: &Arc<Self>, hub: &Arc<dyn AnyHub>, Asked { socket, question, .. }: Asked) {
        let reply = match question {
            Question::Authorize(_) => Reply::Authorized(None),
            Question::TellDisconnected(_) => return,
            Question::SignIn(_) => Reply::SignedIn(Err(closing(&ApiError::overloaded()))),
            Question::Mint { .. } => self.without_grant(),
        };
        self.take(hub, Event::Replied { socket, reply });
    }

    async fn find_reply(self: &Arc<Self>, hub: &Arc<dyn AnyHub>, asked: Asked) {
        let reply = match &asked.question {
            Question::Authorize(webhook) => Reply::Authorized(self.authorize(webhook).await),
            Question::TellDisconnected(webhook) => return self.tell_disconnected(webhook).await,
            Question::SignIn(token) => Reply::SignedIn(self.sign_in(token, &asked).await),
            Question::Mint { room, user } => {
                let call = Call::of(hub.common().name.as_str(), room);
                self.mint(&asked.web_client, user.clone(), call).await
            }
        };
        self.take(hub, Event::Replied { socket: asked.socket, reply });
    }

    /// The user of a token. From now on the place of the socket counts for this user.
    async fn sign_in(&self, token: &Text, asked: &Asked) -> Result<Option<User>, Closing> {
        let client = ClientKey::of(asked.web_client.address);
        let verified = self.service.broker.verified(token, client).await;
        let verified = verified.map_err(|why| closing(&why.into()))?;
        let user = verified.map(|verified| verified.user);
        if let (Some(user), Some(place)) = (&user, asked.place.upgrade()) {
            let count = |_: &ApiError| self.service.broker.count(Counted::Limited("refused"));
            place.sign_in(user.clone()).inspect_err(count).map_err(|full| closing(&full))?;
        }
        Ok(user)
    }

    /// The application's answer. `None` unless it is a 200 with a text.
    async fn authorize(&self, webhook: &Webhook) -> Option<Text> {
        let ayame = self.ayame.as_ref()?;
        let is_answer = |status| status == StatusCode::OK;
        self.post(ayame.authn_webhook.as_ref()?, webhook, is_answer).await
    }

    async fn tell_disconnected(&self, webhook: &Webhook) {
        if let Some(url) = self.ayame.as_ref().and_then(|ayame| ayame.disconnect_webhook.as_ref()) {
            self.post(url, webhook, |_| true).await;
        }
    }

    /// The body of a response. `None` if none comes, or if `is_ok` does not accept its status. A failure is logged.
    async fn post(&self, url: &WebhookUrl, webhook: &Webhook, is_ok: fn(StatusCode) -> bool) -> Option<Text> {
        let (client, body) = (&self.service.client, webhook.body.clone());
        match post_webhook(client, url, headers(webhook), body, is_ok).await {
            Ok(body) => String::from_utf8(body).ok().map(Text::from),
            Err(error) => {
                if let Some(held_back) = self.webhook_log.pass(self.service.clock.instant()) {
                    let remedy =
                        "check AUTHN_WEBHOOK_URL and DISCONNECT_WEBHOOK_URL, and the log of your application";
                    let host = url.host();
                    tracing::warn!(host, held_back, remedy, "a signaling webhook failed: {error}");
                }
                None
            }
        }
    }

    /// Mints for a member of a call. Without a credential the reply has STUN servers: no call is refused because there is no relay.
    async fn mint(&self, web_client: &WebClient, user: Option<User>, call: Call) -> Reply {
        let origin = web_client.origin.clone();
        let spender = Spender { user, origin, call: Some(call), ..Spender::default() };
        match self.service.broker.mint(web_client, spender.known()).await {
            Some(Minted { ice_servers, grant }) => {
                Reply::Minted { ice_servers: Some(ice_servers), grant: Some(grant) }
            }
            None => self.without_grant(),
        }
    }

    fn without_grant(&self) -> Reply {
        Reply::Minted { ice_servers: Some(self.service.stun.clone()), grant: None }
    }
}

fn headers(webhook: &Webhook) -> HeaderMap {
    let parsed = |(name, value): &(String, String)| Some((name.parse().ok()?, value.parse().ok()?));
    webhook.headers.iter().filter_map(parsed).collect()
}

/// The close frame for a socket whose token is refused. Its reason is the code of the error.
pub(crate) fn closing(refused: &ApiError) -> Closing {
    let code = if refused.status.is_server_error() { 1013 } else { 1008 };
    Closing { code, reason: refused.body.code }
}

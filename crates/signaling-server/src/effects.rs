//! Webhooks and mints for the protocols. Each is one task, and their number is bounded. A question for which there is no task is
//! answered as if it had failed.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use turn_base::broker::{Minted, Requester};
use turn_base::error::ApiError;
use turn_base::http_client::{CallError, body, send};
use turn_base::web_url::WebhookUrl;
use turn_ledger::{Call, ClientKey, Spender, User};
use turn_signaling::protocol::{Closing, Event, Question, Reply, Text, Webhook};

use crate::broker::Counted;
use crate::hub::{AnyHub, Effect};
use crate::server::Signaling;

/// The longest answer of a webhook, in bytes.
const WEBHOOK_BODY_MAX: usize = 64 * 1024;

/// The most webhooks and mints in progress. A webhook that does not answer takes `WEBHOOK_TIMEOUT_SEC`, and sockets can be opened
/// and closed faster than that.
const TASKS_MAX: usize = 8_192;

/// Begins to carry out effects, each in a task of its own.
pub(crate) fn begin(server: &Arc<Signaling>, hub: &Arc<dyn AnyHub>, effects: Vec<Effect>) {
    for effect in effects {
        if !has_room(server) {
            give_up(server, hub, effect);
            continue;
        }
        let (of_task, hub) = (Arc::clone(server), Arc::clone(hub));
        server.tasks.spawn(async move { carry_out(&of_task, &hub, effect).await });
    }
}

/// Whether one more task may begin.
fn has_room(server: &Signaling) -> bool {
    let has_room = server.tasks.len() < TASKS_MAX;
    if !has_room {
        server.service.broker.count(Counted::Limited("no_task"));
    }
    has_room
}

/// The reply to a question that was not asked.
fn give_up(server: &Arc<Signaling>, hub: &Arc<dyn AnyHub>, effect: Effect) {
    let Effect::Ask { socket, question, .. } = effect else { return };
    let reply = match question {
        Question::Authorize(_) => Reply::Authorized(None),
        Question::SignIn(_) => Reply::SignedIn(Err(closing(&ApiError::overloaded()))),
        Question::Mint { .. } => {
            Reply::Minted { ice_servers: Some(server.service.stun.clone()), grant: None }
        }
    };
    server.take(hub, Event::Replied { socket, reply });
}

async fn carry_out(server: &Arc<Signaling>, hub: &Arc<dyn AnyHub>, effect: Effect) {
    match effect {
        Effect::Ask { socket, requester, question } => {
            let reply = match question {
                Question::Authorize(webhook) => Reply::Authorized(authorize(server, &webhook).await),
                Question::SignIn(token) => Reply::SignedIn(user(server, &token, &requester).await),
                Question::Mint { room, user } => {
                    let call = Call::of(hub.common().name.as_str(), &room);
                    mint(server, &requester, user, call).await
                }
            };
            server.take(hub, Event::Replied { socket, reply });
        }
        Effect::TellDisconnected(webhook) => {
            let Some(ayame) = &server.ayame else { return };
            let Some(url) = &ayame.disconnect_webhook else { return };
            post(server, url, &webhook, ayame.webhook_timeout, |_| true).await;
        }
    }
}

/// The user of a token.
async fn user(server: &Signaling, token: &Text, requester: &Requester) -> Result<Option<User>, Closing> {
    let client = ClientKey::of(requester.address);
    let verified = server.service.broker.verified(token.as_str(), client).await;
    verified.map(|it| it.map(|verified| verified.user)).map_err(|why| closing(&why.into()))
}

/// The application's answer. `None` unless it is a 200.
async fn authorize(server: &Signaling, webhook: &Webhook) -> Option<Text> {
    let ayame = server.ayame.as_ref()?;
    let is_answer = |status| status == StatusCode::OK;
    post(server, ayame.authn_webhook.as_ref()?, webhook, ayame.webhook_timeout, is_answer).await
}

/// The body of a success with a status that `is_answer`.
async fn post(
    server: &Signaling,
    url: &WebhookUrl,
    webhook: &Webhook,
    timeout: Duration,
    is_answer: fn(StatusCode) -> bool,
) -> Option<Text> {
    let request = server.service.client.post(url.expose().clone()).timeout(timeout);
    let request = request.headers(headers(webhook)).body(webhook.body.clone());
    let answer = async {
        let response = send(request).await?;
        if !is_answer(response.status()) {
            return Err(CallError::from(&response));
        }
        body(WEBHOOK_BODY_MAX, response).await
    };
    match answer.await {
        Ok(body) => Text::new(body.into()).ok(),
        Err(error) => {
            if let Some(held_back) = server.webhook_log.pass(server.service.clock.instant()) {
                let remedy =
                    "check AUTHN_WEBHOOK_URL and DISCONNECT_WEBHOOK_URL, and the log of your application";
                tracing::warn!(host = url.host(), held_back, remedy, "a signaling webhook failed: {error}");
            }
            None
        }
    }
}

fn headers(webhook: &Webhook) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &webhook.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// Mints for a member of a call. Without a credential the reply has STUN servers: no call is refused because there is no relay.
async fn mint(server: &Signaling, requester: &Requester, user: Option<User>, call: Call) -> Reply {
    let spender = Spender { user, origin: requester.origin.clone(), call: Some(call), ..Spender::default() };
    match server.service.broker.mint(requester, spender.known()).await {
        Some(Minted { ice_servers, grant }) => {
            Reply::Minted { ice_servers: Some(ice_servers), grant: Some(grant) }
        }
        None => Reply::Minted { ice_servers: Some(server.service.stun.clone()), grant: None },
    }
}

/// The close frame for a socket whose token is refused. Its reason is the code of the error.
pub(crate) fn closing(refused: &ApiError) -> Closing {
    let code = if refused.status.is_server_error() { 1013 } else { 1008 };
    Closing { code, reason: refused.body.code }
}

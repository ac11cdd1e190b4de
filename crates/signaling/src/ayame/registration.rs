//! From `register` to `accept` or `reject`: find out who it is, ask the application, take a place, mint, admit.

use serde_json::json;

use super::closing;
use super::ice::IceServers;
use super::message::{Accept, Register, Verdict};
use super::socket::{Registration, SocketStage, Stage, Timer};
use crate::prelude::*;

/// The reason in a `reject` when the application names none, or cannot be asked.
const NO_REASON: &str = "InternalServerError";

impl Ayame {
    /// Handles the first `register` of a socket.
    pub(super) fn register(&mut self, id: SocketId, register: Register, now: Duration) {
        self.deadlines.clear(&(id, Timer::Register));
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.room = register.room;
        socket.client = register.client.unwrap_or_else(|| socket.connection.clone());
        socket.is_standalone = register.is_standalone;
        if socket.named_rooms.iter().any(|named| *named != socket.room) {
            return self.close(id, closing::ROOM_MISMATCH);
        }
        if socket.is_standalone {
            self.deadlines.clear(&(id, Timer::Ping));
            self.deadlines.clear(&(id, Timer::Pong));
        }
        if self.rooms.is_full(&socket.room) {
            return self.reject(id, "full", closing::ROOM_FULL);
        }
        let for_webhook = register.for_webhook;
        let webhook = self.settings.has_authn_webhook.then(|| socket.webhook(Some(&for_webhook)));
        socket.state = SocketStage::Registering(Registration { webhook, ..Registration::default() });
        match for_webhook.signaling_key.filter(|_| self.sign_in != SignIn::Off) {
            Some(token) => self.actions.ask(id, Question::SignIn(token.into())),
            None => self.identified(id, Ok(None), now),
        }
    }

    /// Continues a registration once it is known who the client is.
    fn identified(&mut self, id: SocketId, user: Result<Option<User>, Closing>, now: Duration) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        match user {
            Ok(Some(user)) if socket.holder.user().is_some_and(|known| *known != user) => {
                return self.reject(id, closing::OTHER_USER.reason, closing::OTHER_USER);
            }
            Ok(Some(user)) => socket.holder = Holder::new(socket.holder.client(), Some(user)),
            Ok(None) => {}
            Err(close) => return self.reject(id, close.reason, close),
        }
        if self.sign_in == SignIn::Required && socket.holder.user().is_none() {
            return self.reject(id, closing::NOT_SIGNED_IN.reason, closing::NOT_SIGNED_IN);
        }
        let has_webhooks = self.settings.has_authn_webhook || self.settings.has_disconnect_webhook;
        if has_webhooks && !self.may_call_webhooks(id, now) {
            return self.reject(id, NO_REASON, closing::TOO_MANY_WEBHOOKS);
        }
        let Some(registration) = self.registration(id) else { return };
        registration.stage = Stage::Authorizing;
        match registration.webhook.take() {
            Some(webhook) => self.actions.ask(id, Question::Authorize(webhook)),
            None => self.enter(id, now),
        }
    }

    /// Handles the reply to a question.
    pub(super) fn replied(&mut self, id: SocketId, reply: Reply, now: Duration) {
        let stage = self.registration(id).map(|registration| registration.stage);
        match (stage, reply) {
            (Some(Stage::SigningIn), Reply::SignedIn(user)) => self.identified(id, user, now),
            (Some(Stage::Authorizing), Reply::Authorized(answer)) => {
                self.authorized(id, answer.as_ref(), now);
            }
            (Some(Stage::Minting), Reply::Minted { ice_servers, grant }) => {
                let ice_servers = ice_servers.and_then(|servers| serde_json::from_str(servers.get()).ok());
                self.admit(id, ice_servers, grant, now);
            }
            // The socket for which this was minted has ended.
            (_, Reply::Minted { grant: Some(grant), .. }) => self.actions.call(CallEvent::Unused { grant }),
            (_, Reply::Minted { grant: None, .. } | Reply::SignedIn(_) | Reply::Authorized(_)) => {}
        }
    }

    fn authorized(&mut self, id: SocketId, answer: Option<&Text>, now: Duration) {
        let Some(answer) = answer else { return self.reject(id, NO_REASON, closing::WEBHOOK_FAILED) };
        match serde_json::from_str(answer) {
            Err(_) => self.reject(id, NO_REASON, closing::WEBHOOK_MALFORMED),
            Ok(Verdict { allowed: false, reason, .. }) => {
                self.reject(id, reason.as_deref().unwrap_or(NO_REASON), closing::WEBHOOK_DENIED);
            }
            Ok(verdict) => {
                if let Some(registration) = self.registration(id) {
                    registration.verdict = verdict;
                }
                self.enter(id, now);
            }
        }
    }

    /// A socket that may enter takes a place, and a credential is minted for it. Without a place, it is rejected.
    fn enter(&mut self, id: SocketId, now: Duration) {
        let Some(socket) = self.sockets.get(&id) else { return };
        if !self.rooms.take_place(&socket.room, id) {
            return self.reject(id, "full", closing::ROOM_FULL);
        }
        if socket.is_without_turn {
            return self.admit(id, None, None, now);
        }
        self.actions.ask(id, Question::Mint { room: socket.room.clone(), user: socket.user() });
        if let Some(registration) = self.registration(id) {
            registration.stage = Stage::Minting;
        }
    }

    fn admit(&mut self, id: SocketId, minted: Option<IceServers>, grant: Option<GrantId>, now: Duration) {
        let Some(registration) = self.registration(id).map(std::mem::take) else { return };
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.state = SocketStage::Member;
        let is_second = self.rooms.admit(&socket.room, id);
        let Verdict { authz_metadata, ice_servers, .. } = registration.verdict;
        let accept = object::json(&Accept {
            connection_id: &socket.connection,
            is_exist_client: is_second,
            is_exist_user: is_second,
            authz_metadata,
            ice_servers: ice_servers.into_iter().chain(minted).flat_map(|servers| servers.0).collect(),
        });
        self.actions.call(socket.joined(grant));
        self.actions.send(id, accept);
        for frame in registration.waiting {
            self.handle(id, frame, now);
        }
    }

    fn reject(&mut self, id: SocketId, reason: &str, close: Closing) {
        self.actions.send(id, object::json(&json!({ "type": "reject", "reason": reason })));
        self.close(id, close);
    }

    fn registration(&mut self, id: SocketId) -> Option<&mut Registration> {
        match &mut self.sockets.get_mut(&id)?.state {
            SocketStage::Registering(registration) => Some(registration),
            SocketStage::New | SocketStage::Member | SocketStage::Ended => None,
        }
    }
}

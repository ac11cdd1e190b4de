//! The bodies of the webhooks.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ice;
use super::message::ForWebhook;
use super::socket::Socket;
use crate::object;
use crate::protocol::Webhook;

/// Why a client is refused when the application names no reason, or cannot be asked.
pub(super) const NO_REASON: &str = "InternalServerError";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    room_id: &'a str,
    client_id: &'a str,
    connection_id: &'a str,
    #[serde(flatten)]
    registration: Option<&'a ForWebhook>,
}

fn webhook(socket: &Socket, registration: Option<&ForWebhook>) -> Webhook {
    let body = Body {
        room_id: &socket.room,
        client_id: &socket.client,
        connection_id: &socket.connection,
        registration,
    };
    Webhook { body: object::json(&body), headers: socket.headers.clone() }
}

/// Asks whether a socket may join.
pub(super) fn authorize(socket: &Socket, registration: &ForWebhook) -> Webhook {
    webhook(socket, Some(registration))
}

/// Reports that a socket has ended. A socket that never registered has an empty room and client.
pub(super) fn disconnected(socket: &Socket) -> Webhook {
    webhook(socket, None)
}

/// The application's verdict.
pub(super) enum Verdict {
    Allowed {
        /// For the client.
        authz_metadata: Option<Box<RawValue>>,
        /// Servers that the client gets before ours.
        ice_servers: Option<Box<RawValue>>,
    },
    Denied {
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthnAnswer {
    allowed: bool,
    reason: Option<String>,
    authz_metadata: Option<Box<RawValue>>,
    ice_servers: Option<Box<RawValue>>,
}

impl Verdict {
    /// The verdict in the body of an answer.
    pub(super) fn parse(body: &str) -> Result<Self, serde_json::Error> {
        let answer: AuthnAnswer = serde_json::from_str(body)?;
        let ice_servers = answer.ice_servers.as_deref().map(ice::usable).transpose()?.flatten();
        if answer.allowed {
            return Ok(Self::Allowed { authz_metadata: answer.authz_metadata, ice_servers });
        }
        Ok(Self::Denied { reason: answer.reason.unwrap_or_else(|| NO_REASON.to_owned()) })
    }
}

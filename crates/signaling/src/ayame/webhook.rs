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

/// What the application is told of a socket. With `registration`, the application is asked whether the socket may join. A socket that never registered has an
/// empty room and client.
pub(super) fn webhook(socket: &Socket, registration: Option<&ForWebhook>) -> Webhook {
    let body = Body {
        room_id: &socket.room,
        client_id: &socket.client,
        connection_id: &socket.connection,
        registration,
    };
    Webhook { body: object::json(&body), headers: socket.headers.clone() }
}

/// The application's verdict.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// Why not.
    pub(super) reason: Option<String>,
    /// For the client.
    pub(super) authz_metadata: Option<Box<RawValue>>,
    /// Servers that the client gets before ours.
    pub(super) ice_servers: Option<Box<RawValue>>,
}

impl Verdict {
    /// The verdict in the body of an answer.
    pub(super) fn parse(body: &str) -> Result<Self, serde_json::Error> {
        let mut verdict: Self = serde_json::from_str(body)?;
        verdict.ice_servers = verdict.ice_servers.as_deref().map(ice::usable).transpose()?.flatten();
        Ok(verdict)
    }
}

//! The bodies of the webhooks, and what the application answers when it is asked whether a socket may join.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ice::IceServers;
use super::message::ForWebhook;
use super::socket::Socket;
use crate::object;
use crate::protocol::Webhook;

/// The reason in a `reject` when the application names none, or cannot be asked.
pub(super) const NO_REASON: &str = "InternalServerError";

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
    pub(super) ice_servers: Option<IceServers>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    room_id: &'a str,
    client_id: &'a str,
    connection_id: &'a str,
    #[serde(flatten)]
    registration: Option<&'a ForWebhook>,
}

/// What a request to the application says of a socket. With `registration`, it asks whether the socket may join. Without, it tells that the
/// socket has ended. A socket that never registered has an empty room and client.
pub(super) fn webhook(socket: &Socket, registration: Option<&ForWebhook>) -> Webhook {
    let body = Body {
        room_id: &socket.room,
        client_id: &socket.client,
        connection_id: &socket.connection,
        registration,
    };
    Webhook { body: object::json(&body), headers: socket.headers.clone() }
}

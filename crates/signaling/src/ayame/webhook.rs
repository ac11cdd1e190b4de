//! The bodies of the webhooks.

use serde::Serialize;

use super::message::ForWebhook;
use super::socket::Socket;
use crate::object;
use crate::protocol::Webhook;

/// The reason in a `reject` when the application names none, or cannot be asked.
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

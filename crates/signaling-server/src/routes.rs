//! The routes of the protocols that use a WebSocket.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use axum::routing::get;
use turn_base::error::ApiError;
use turn_signaling::call::ProtocolName;

use crate::rooms;
use crate::server::{Server, Signaling};
use crate::socket_request::SocketRequest;

/// A client of Ayame may name its room here too.
const AYAME_ROOM: HeaderName = HeaderName::from_static("cf-room-id");

/// The routes of Ayame, y-webrtc and rooms, if they are on, without the rule about origins.
pub fn sockets<S: Clone + Send + Sync + 'static>(server: &Arc<Signaling>) -> Router<S> {
    let mut router = Router::new();
    for hub in &server.hubs {
        router = match hub.common().name {
            ProtocolName::Ayame => {
                router.route("/signaling", get(ayame)).route("/.ok", get(async || StatusCode::OK))
            }
            ProtocolName::Yjs => router.route("/yjs", get(yjs)),
            ProtocolName::Rooms => router.route("/parties/{party}/{room}", get(rooms::open)),
            ProtocolName::Peerjs | ProtocolName::P2pcf | ProtocolName::Sfu => router,
        };
    }
    router.with_state(Arc::clone(server))
}

/// A client may also sign in with its `register`.
async fn ayame(
    State(server): Server,
    headers: HeaderMap,
    mut request: SocketRequest,
) -> Result<Response, ApiError> {
    request.known.room = headers.get(AYAME_ROOM).and_then(|room| room.to_str().ok()).map(Into::into);
    request.open(&server, ProtocolName::Ayame)
}

async fn yjs(State(server): Server, request: SocketRequest) -> Result<Response, ApiError> {
    request.open_signed_in(&server, ProtocolName::Yjs)
}

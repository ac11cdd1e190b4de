//! The routes of the protocols that use a WebSocket. Tests: `tests/it/signaling/ayame/mod.rs`, `tests/it/signaling/yjs.rs`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use axum::routing::get;
use turn_base::error::ApiError;
use turn_signaling::call::ProtocolName;

use crate::rooms;
use crate::server::Signaling;
use crate::socket::Sockets;
use crate::socket_request::SocketRequest;

/// A header in which a client of Ayame may name its room.
const AYAME_ROOM: HeaderName = HeaderName::from_static("cf-room-id");

/// The routes of Ayame, y-webrtc and rooms, if they are on, without the rule about origins.
pub fn sockets<S: Clone + Send + Sync + 'static>(server: &Signaling) -> Router<S> {
    let mut routes = Router::new();
    if server.sockets.hub(ProtocolName::Ayame).is_some() {
        routes = routes.route("/signaling", get(ayame)).route("/.ok", get(async || StatusCode::OK));
    }
    if server.sockets.hub(ProtocolName::Yjs).is_some() {
        routes = routes.route("/yjs", get(yjs));
    }
    routes.with_state(Arc::clone(&server.sockets)).merge(rooms::sockets(server.rooms.as_ref()))
}

/// No user is required yet: a client may still sign in with its `register`.
async fn ayame(
    State(sockets): State<Arc<Sockets>>,
    headers: HeaderMap,
    mut request: SocketRequest,
) -> Result<Response, ApiError> {
    request.known.room = headers.get(AYAME_ROOM).and_then(|room| room.to_str().ok()).map(Into::into);
    request.open(&sockets, ProtocolName::Ayame)
}

async fn yjs(State(sockets): State<Arc<Sockets>>, request: SocketRequest) -> Result<Response, ApiError> {
    request.open_signed_in(&sockets, ProtocolName::Yjs)
}

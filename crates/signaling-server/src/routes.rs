//! The routes of the protocols that use a WebSocket. Tests: `tests/it/signaling/ayame/mod.rs`, `tests/it/signaling/yjs.rs`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use turn_base::error::ApiError;
use turn_signaling::call::ProtocolName;

use crate::server::Signaling;
use crate::socket::Sockets;
use crate::socket_request::SocketRequest;

/// A header in which a client of Ayame may name its room.
const AYAME_ROOM: HeaderName = HeaderName::from_static("cf-room-id");

/// A path with its handlers, without layers.
pub type Route<S> = (String, MethodRouter<S>);

/// The routes of Ayame, if it is on.
pub fn of_ayame<S: Clone + Send + Sync + 'static>(server: &Signaling) -> Vec<Route<S>> {
    if server.sockets.hub(ProtocolName::Ayame).is_none() {
        return vec![];
    }
    let socket = get(ayame).with_state(Arc::clone(&server.sockets));
    vec![("/signaling".into(), socket), ("/.ok".into(), get(async || StatusCode::OK))]
}

/// The route of y-webrtc, if it is on.
pub fn of_yjs<S: Clone + Send + Sync + 'static>(server: &Signaling) -> Vec<Route<S>> {
    let hub = server.sockets.hub(ProtocolName::Yjs);
    hub.map(|_| ("/yjs".into(), get(yjs).with_state(Arc::clone(&server.sockets)))).into_iter().collect()
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

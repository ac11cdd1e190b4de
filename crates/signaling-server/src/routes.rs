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

/// The routes of a protocol with its state. None without a state.
pub(crate) fn with_state<T: Clone + Send + Sync + 'static, S>(
    state: Option<&T>,
    routes: impl IntoIterator<Item = (&'static str, MethodRouter<T>)>,
) -> Vec<Route<S>> {
    let Some(state) = state else { return vec![] };
    routes.into_iter().map(|(path, handlers)| (path.into(), handlers.with_state(state.clone()))).collect()
}

/// The routes of Ayame, if it is on.
pub fn of_ayame<S>(server: &Signaling) -> Vec<Route<S>> {
    let sockets = server.sockets.hub(ProtocolName::Ayame).map(|_| &server.sockets);
    with_state(sockets, [("/signaling", get(ayame)), ("/.ok", get(async || StatusCode::OK))])
}

/// The route of y-webrtc, if it is on.
pub fn of_yjs<S>(server: &Signaling) -> Vec<Route<S>> {
    let sockets = server.sockets.hub(ProtocolName::Yjs).map(|_| &server.sockets);
    with_state(sockets, [("/yjs", get(yjs))])
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

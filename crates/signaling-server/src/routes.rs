//! The routes of the protocols that use a WebSocket. Tests: `tests/it/signaling/ayame/mod.rs`, `tests/it/signaling/yjs.rs`.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use axum::routing::get;
use turn_base::error::ApiError;

use crate::rooms;
use crate::server::Signaling;
use crate::socket_request::{SocketRequest, SocketRoute};

/// A client of Ayame may name its room here too.
const AYAME_ROOM: HeaderName = HeaderName::from_static("cf-room-id");

/// The routes of Ayame, y-webrtc and rooms, if they are on, without the rule about origins.
pub fn sockets<S: Clone + Send + Sync + 'static>(server: &Signaling) -> Router<S> {
    let if_on = |protocol: Option<&SocketRoute>, routes: Router<SocketRoute>| match protocol {
        Some(protocol) => routes.with_state(protocol.clone()),
        None => Router::new(),
    };
    let of_ayame = Router::new().route("/signaling", get(ayame)).route("/.ok", get(async || StatusCode::OK));
    if_on(server.ayame.as_ref(), of_ayame)
        .merge(if_on(server.yjs.as_ref(), Router::new().route("/yjs", get(yjs))))
        .merge(rooms::sockets(server.rooms.as_ref()))
}

/// A client may also sign in with its `register`.
async fn ayame(
    State(route): State<SocketRoute>,
    headers: HeaderMap,
    mut request: SocketRequest,
) -> Result<Response, ApiError> {
    request.known.room = headers.get(AYAME_ROOM).and_then(|room| room.to_str().ok()).map(Into::into);
    request.open(&route)
}

async fn yjs(State(route): State<SocketRoute>, request: SocketRequest) -> Result<Response, ApiError> {
    request.open_signed_in(&route)
}

//! The routes of the protocols that use a WebSocket. Tests: `tests/it/signaling/ayame/mod.rs`, `tests/it/signaling/yjs.rs`.

use turn_base::require;

use super::prelude::*;
use crate::{Signaling, SocketRequest};

/// A header in which a client of Ayame may name its room.
const AYAME_ROOM: HeaderName = HeaderName::from_static("cf-room-id");

/// The routes of Ayame, if it is on.
pub fn of_ayame<S>(server: &Signaling) -> Vec<(String, MethodRouter<S>)> {
    let routes = [("/signaling", get(ayame)), ("/.ok", get(async || StatusCode::OK))];
    with_state(server.sockets_of(ProtocolName::Ayame), routes)
}

/// The route of y-webrtc, if it is on.
pub fn of_yjs<S>(server: &Signaling) -> Vec<(String, MethodRouter<S>)> {
    with_state(server.sockets_of(ProtocolName::Yjs), [("/yjs", get(yjs))])
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
    require(&*sockets.service.broker, request.known.user.as_ref())?;
    request.open(&sockets, ProtocolName::Yjs)
}

// Routes with the state that their handlers need, without layers.

/// The routes of a protocol with its state. None without a state.
pub(crate) fn with_state<T: Clone + Send + Sync + 'static, S>(
    state: Option<&T>,
    routes: impl IntoIterator<Item = (&'static str, MethodRouter<T>)>,
) -> Vec<(String, MethodRouter<S>)> {
    let Some(state) = state else { return vec![] };
    routes.into_iter().map(|(path, handlers)| (path.into(), handlers.with_state(state.clone()))).collect()
}

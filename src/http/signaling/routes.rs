//! The routes of the protocols that use a WebSocket.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use turn_signaling::call::ProtocolName;

use super::rooms;
use super::socket_request::SocketRequest;
use crate::app::App;
use crate::http::AppState;
use crate::http::envelope::catch_panic;
use turn_base::error::ApiError;

/// A client of Ayame may name its room here too.
const AYAME_ROOM: HeaderName = HeaderName::from_static("cf-room-id");

/// The routes of the protocols that are on, without the rule about origins. A panic in one of them is an error response.
pub fn sockets(app: &Arc<App>) -> Router<Arc<App>> {
    let mut router = Router::new();
    for hub in &app.signaling.hubs {
        router = match hub.name() {
            ProtocolName::Ayame => {
                router.route("/signaling", get(ayame)).route("/.ok", get(async || StatusCode::OK))
            }
            ProtocolName::Yjs => router.route("/yjs", get(yjs)),
            ProtocolName::Peerjs => router.merge(super::peerjs::routes(app)),
            ProtocolName::Rooms => router.merge(rooms::routes(app)),
            ProtocolName::P2pcf | ProtocolName::Sfu => router,
        };
    }
    router.layer(catch_panic(app))
}

/// Every path that no route has. Allowed pages may read the response, because some clients show nothing else.
pub async fn unknown(app: AppState, uri: Uri) -> ApiError {
    match app.signaling.off_at(uri.path()) {
        Some(name) => ApiError::not_found(format!(
            "Add {name} to the setting SIGNALING to serve this path (docs/SIGNALING.md)."
        )),
        None => ApiError::no_route(),
    }
}

/// A client may also sign in with its `register`.
async fn ayame(app: AppState, headers: HeaderMap, mut request: SocketRequest) -> Response {
    request.known.room = headers.get(AYAME_ROOM).and_then(|room| room.to_str().ok()).map(Into::into);
    request.open(&app, ProtocolName::Ayame)
}

async fn yjs(app: AppState, request: SocketRequest) -> Result<Response, ApiError> {
    request.open_signed_in(&app, ProtocolName::Yjs)
}

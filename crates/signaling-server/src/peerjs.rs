//! The routes of `PeerJS`, below the client's default path `/` and below `/peerjs`. Tests: `tests/it/signaling/peerjs.rs`. A page asks for
//! an id before it opens its socket, unless it has one of its own. Ids are random and nothing is reserved, so any key is accepted, and no
//! user is required: the client sends its token only with its socket, where it also learns that its key is wrong.

use axum::Json;
use axum::extract::Extension;
use axum::http::header::{CACHE_CONTROL, UPGRADE};
use axum::response::Html;
use serde_json::json;
use turn_base::Verbatim;
use turn_signaling::uuid::uuid;

use super::prelude::*;
use crate::routes::with_state;
use crate::{Signaling, SocketRequest};

type Peerjs = State<Arc<Sockets>>;

/// The routes that anyone may call. None if `PeerJS` is off.
pub fn routes<S>(server: &Signaling) -> Vec<(String, MethodRouter<S>)> {
    let routes = [
        ("/peerjs/{key}/id", get(make_id)),
        ("/{key}/id", get(make_id)),
        ("/peerjs", get(open_or_describe)),
        ("/peerjs/", get(describe)),
        ("/peerjs/peerjs", get(open)),
    ];
    with_state(server.sockets_of(ProtocolName::Peerjs), routes)
}

/// The lists of peers, which nobody gets. None if `PeerJS` is off.
pub fn peers<S>(server: &Signaling) -> Vec<(String, MethodRouter<S>)> {
    let routes = ["/peerjs/{key}/peers", "/{key}/peers"].map(|path| (path, get(refuse_peers)));
    with_state(server.sockets_of(ProtocolName::Peerjs), routes)
}

async fn open(State(sockets): Peerjs, mut request: Request) -> Result<Response, ApiError> {
    request.extensions_mut().insert(ProtocolName::Peerjs);
    match SocketRequest::from_request(request, &sockets).await {
        Ok(request) => request.open(&sockets, ProtocolName::Peerjs),
        Err(refused) => Ok(refused),
    }
}

/// A client whose setting `path` is `/` opens its socket here. A client whose path is `/peerjs` gets the description here.
async fn open_or_describe(peerjs: Peerjs, request: Request) -> Result<Response, ApiError> {
    if request.headers().contains_key(UPGRADE) { open(peerjs, request).await } else { Ok(describe().await) }
}

async fn describe() -> Response {
    let description = "Brokers connections between PeerJS clients, and hands out TURN credentials.";
    Json(json!({"name": "turn-broker", "description": description, "website": "https://peerjs.com/"}))
        .into_response()
}

/// Makes an id. The client expects the type `text/html`.
async fn make_id(
    State(sockets): Peerjs,
    Extension(ClientAddr(client)): Extension<ClientAddr>,
) -> Result<Response, ApiError> {
    sockets.polls.count(client)?;
    let id = uuid(u128::from_be_bytes(random::bytes()?));
    Ok(([(CACHE_CONTROL, "no-store")], Html(id)).into_response())
}

/// The list of peers is private.
async fn refuse_peers() -> impl IntoResponse {
    (StatusCode::UNAUTHORIZED, Extension(Verbatim), "Unauthorized")
}

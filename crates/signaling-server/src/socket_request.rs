//! A request for a socket. It must ask for an upgrade, in all protocols, and may carry the user's token. A token that is refused closes the
//! socket instead of failing the upgrade, because a page cannot read the response of a failed upgrade. At `PeerJS` a missing token closes
//! the socket too. There a message comes before the close frame: the client shows the page messages, but no close frames. The rule about
//! origins is a layer around the routes.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use turn_base::{ApiError, ClientAddr, WebClient, page_origin, random, user_of};
use turn_budget::{ClientKey, User};
use turn_limits::Holder;
use turn_signaling::{ProtocolName, Upgrade, peerjs};

use crate::effects::closing;
use crate::socket::{self, SocketRequest, Sockets};

impl FromRequest<Arc<Sockets>> for SocketRequest {
    type Rejection = Response;

    async fn from_request(request: Request, sockets: &Arc<Sockets>) -> Result<Self, Response> {
        let (mut parts, _) = request.into_parts();
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, sockets).await;
        let no_upgrade =
            || ApiError::upgrade_required("Open a WebSocket here: docs/SIGNALING.md names the clients.");
        let upgrade = upgrade.map_err(|_| no_upgrade().into_response())?;
        let address = parts.extensions.get().copied();
        let ClientAddr(address) = address.ok_or_else(|| ApiError::internal().into_response())?;
        let query = parts.uri.query();
        let client = ClientKey::of(address);
        let is_peerjs = parts.extensions.get() == Some(&ProtocolName::Peerjs);
        let user = match user_of(&*sockets.service.broker, &parts.headers, query, client, is_peerjs).await {
            Ok(user) => user,
            Err(why) => {
                let first = is_peerjs.then(|| peerjs::refusal(why.body.code));
                let refused = socket::refuse(sockets, client, upgrade, first, closing(&why));
                return Err(refused.into_response());
            }
        };
        let known = known(sockets, &parts, user.clone()).map_err(IntoResponse::into_response)?;
        let web_client = WebClient { address, origin: page_origin(&parts.headers) };
        Ok(Self { upgrade, web_client, holder: Holder::new(client, user), known })
    }
}

/// What the protocol is told, before a route adds what it knows.
fn known(sockets: &Sockets, parts: &Parts, user: Option<User>) -> Result<Upgrade, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let wanted = sockets.ayame.iter().flat_map(|ayame| &ayame.copied_headers);
    let copied = wanted.filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    Ok(Upgrade {
        room: None,
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: copied.collect(),
        user,
        visitor: 0,
        wall_millis: u64::try_from(sockets.service.clock.now().as_millis()).unwrap_or(0),
        random: u128::from_be_bytes(random::bytes()?),
    })
}

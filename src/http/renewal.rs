//! Renewals: a mint with a grant that may renew counts against the client's allowance for renewals. Any other token is
//! ignored. The right to renew is taken before the mint; if the mint fails or is refused, dropping it gives it back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::request_log::MintNote;
use crate::account::RenewalRight;
use crate::app::App;
use crate::limit::gate::Kind;
use crate::request::bearer::bearer;
use crate::request::client_addr::{ClientAddr, FORWARDED_FOR, is_trusted};
use crate::request::trace::TraceParent;
use turn_ledger::client::ClientKey;

/// Who asks for a credential: the client's address, the right to renew if the request is a renewal, and what the log needs.
pub struct Asker {
    /// The client.
    pub client: Option<ClientKey>,
    /// The right to renew.
    pub renewal: Option<Arc<RenewalRight>>,
    /// The trace that the request belongs to.
    pub trace: Option<TraceParent>,
    /// Takes the result for the log line.
    pub note: MintNote,
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<ClientAddr>().map(|client| ClientKey::of(client.0));
        Ok(Self {
            client,
            renewal: parts.extensions.get::<Arc<RenewalRight>>().cloned(),
            trace: parts.extensions.get().copied(),
            note: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

/// Takes the grant's right to renew. The limiter and the mint find it in the request's extensions.
pub async fn recognise(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let grant = bearer(request.headers()).and_then(|token| app.grant_key.verify(token));
    app.untrusted_proxies.note(is_forwarded_unread(&app, &request));
    let right = grant.and_then(|grant| app.account.take_renewal(&grant));
    app.rate_limit.charge(&mut request, if right.is_some() { Kind::Renewal } else { Kind::Mint });
    if let Some(right) = right {
        request.extensions_mut().insert(Arc::new(right));
    }
    next.run(request).await
}

/// Whether the request has an `X-Forwarded-For` that is not read, because its peer is not among `TRUSTED_PROXIES`.
fn is_forwarded_unread(app: &App, request: &Request) -> bool {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else { return false };
    request.headers().contains_key(FORWARDED_FOR) && !is_trusted(peer.ip(), &app.trusted_proxies)
}

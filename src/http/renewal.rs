//! Renewals: a mint with a grant that may renew does not count against the client's rate limit. Any other token is ignored.
//! The right to renew is taken before the mint; if the mint fails, dropping it gives it back.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use crate::account::RenewalRight;
use crate::app::App;
use crate::request::bearer::bearer;
use crate::request::client_addr::ClientAddr;
use turn_ledger::client::ClientKey;

/// Who asks for a credential: the client's address, and the right to renew if the request is a renewal.
pub struct Asker {
    /// The client.
    pub client: Option<ClientKey>,
    /// The right to renew.
    pub renewal: Option<Arc<RenewalRight>>,
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<ClientAddr>().map(|client| ClientKey::of(client.0));
        Ok(Self { client, renewal: parts.extensions.get::<Arc<RenewalRight>>().cloned() })
    }
}

/// Takes the grant's right to renew. The limiter and the mint find it in the request's extensions.
pub async fn recognise(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let grant = bearer(request.headers()).and_then(|token| app.grant_key.verify(token));
    if let Some(right) = grant.and_then(|grant| app.account.take_renewal(&grant)) {
        request.extensions_mut().insert(Arc::new(right));
    }
    next.run(request).await
}

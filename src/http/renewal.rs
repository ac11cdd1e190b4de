//! Renewals: a mint with a grant that may renew counts against the client's allowance for renewals. Any other token is
//! ignored. The right to renew is taken before the mint; if the mint fails or is refused, dropping it gives it back.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::limit::gate::Kind;
use crate::request::bearer::bearer;

/// Takes the grant's right to renew. The limiter and the mint find it in the request's extensions.
pub async fn recognise(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let grant = bearer(request.headers()).and_then(|token| app.grant_key.verify(token));
    let right = grant.and_then(|grant| app.account.take_renewal(&grant));
    app.rate_limit.charge(&mut request, if right.is_some() { Kind::Renewal } else { Kind::Mint });
    if let Some(right) = right {
        request.extensions_mut().insert(Arc::new(right));
    }
    next.run(request).await
}

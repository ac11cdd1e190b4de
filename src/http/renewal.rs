//! Renewals: a mint that shows a grant which may renew does not spend its client's rate allowance. Any other token is
//! treated as absent. The right is taken before the mint and comes back by itself if nothing is minted on it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::request::bearer::bearer;

/// Recognises a renewal. Limiter and mint find the right among the request's extensions.
pub async fn recognise(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let grant = bearer(request.headers()).and_then(|token| app.grant_key.verify(token));
    if let Some(right) = grant.and_then(|grant| app.account.take_renewal(&grant)) {
        request.extensions_mut().insert(Arc::new(right));
    }
    next.run(request).await
}

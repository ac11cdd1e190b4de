//! Sign-in on the routes of signaling: finds the user's token in a request, and verifies it. A token that is no JWT counts as none:
//! clients of `PeerJS` always send a random one, and a grant is no sign-in.

use axum::http::HeaderMap;
use turn_ledger::User;
use turn_signaling::protocol::Closing;

use crate::app::App;
use crate::auth::{Verified, is_jwt};
use turn_base::error::ApiError;
use turn_base::request::bearer::bearer;
use turn_base::request::query::parameters;

/// The parameter of the query that has the token of a client without headers, such as a browser's WebSocket.
pub(super) const TOKEN: &str = "token";

/// Who has signed in: by the token in `Authorization: Bearer`, else by the one in the query.
pub(super) async fn signed_in(
    app: &App,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Option<Verified>, ApiError> {
    let in_query = parameters(query, TOKEN);
    let mut tokens = bearer(headers).into_iter().chain(in_query.iter().map(|token| &**token));
    match tokens.find(|token| is_jwt(token)) {
        Some(token) => verified(app, token).await,
        None => Ok(None),
    }
}

/// Who has signed in with this token. `None` if it is no JWT, or nobody can sign in.
pub(super) async fn verified(app: &App, token: &str) -> Result<Option<Verified>, ApiError> {
    let Some(auth) = app.auth.as_ref().filter(|_| is_jwt(token)) else { return Ok(None) };
    let verified = auth.verified(token).await?;
    if app.account.read(|books| books.is_blocked(&verified.user)) {
        return Err(ApiError::user_blocked());
    }
    Ok(Some(verified))
}

/// Whether there is a user, if `AUTH_REQUIRED` demands one.
pub(super) fn is_known_enough(app: &App, user: Option<&User>) -> bool {
    user.is_some() || app.auth.as_ref().is_none_or(|auth| !auth.required)
}

/// Refuses a request that is not [known enough](is_known_enough).
pub(super) fn require(app: &App, user: Option<&User>) -> Result<(), ApiError> {
    let expected = "a token of your sign-in as `Authorization: Bearer <token>`, or as `token` in the query";
    if is_known_enough(app, user) { Ok(()) } else { Err(ApiError::unauthorized(format!("Send {expected}."))) }
}

/// The close frame for a socket whose token is refused. Its reason is the code of the error.
pub(super) fn closing(refused: &ApiError) -> Closing {
    let code = if refused.status.is_server_error() { 1013 } else { 1008 };
    Closing { code, reason: refused.body.code }
}

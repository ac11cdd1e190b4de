//! Sign-in on the routes of signaling: finds the user's token in a request, and has it verified. A token that is no JWT counts as none:
//! clients of `PeerJS` always send a random one, and a grant is no sign-in.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use turn_budget::{ClientKey, User};

use crate::broker::{Broker, Unverified, Verified};
use crate::error::ApiError;
use crate::request::bearer::bearer;
use crate::request::query::parameters;

/// The parameter of the query that has the token of a client without headers, such as a browser's WebSocket.
pub const TOKEN: &str = "token";

/// Whether a bearer token is a JWT: its first part is a JSON object with `alg`.
pub fn is_jwt(token: &str) -> bool {
    let first = token.split('.').next().unwrap_or_default();
    let Ok(json) = URL_SAFE_NO_PAD.decode(first) else { return false };
    serde_json::from_slice::<Map<String, Value>>(&json).is_ok_and(|header| header.contains_key("alg"))
}

/// Who has signed in: by the token in `Authorization: Bearer`, or else by a token in the query. `None` if none of these tokens is a JWT.
pub async fn signed_in(
    broker: &dyn Broker,
    headers: &HeaderMap,
    query: Option<&str>,
    client: ClientKey,
) -> Result<Option<Verified>, Unverified> {
    let in_query = parameters(query, TOKEN);
    let mut tokens = bearer(headers).into_iter().chain(in_query.iter().map(|token| &**token));
    match tokens.find(|token| is_jwt(token)) {
        Some(token) => broker.verified(token, client).await,
        None => Ok(None),
    }
}

/// The user who has [signed in](signed_in). `is_required`: refuses a request that is not [known enough](is_known_enough).
pub async fn user_of(
    broker: &dyn Broker,
    headers: &HeaderMap,
    query: Option<&str>,
    client: ClientKey,
    is_required: bool,
) -> Result<Option<User>, ApiError> {
    let user = signed_in(broker, headers, query, client).await?.map(|verified| verified.user);
    if is_required {
        require(broker, user.as_ref())?;
    }
    Ok(user)
}

/// Whether there is a user, or the broker needs no user.
pub fn is_known_enough(broker: &dyn Broker, user: Option<&User>) -> bool {
    user.is_some() || !broker.needs_sign_in()
}

/// Refuses a request that is not [known enough](is_known_enough).
pub fn require(broker: &dyn Broker, user: Option<&User>) -> Result<(), ApiError> {
    if is_known_enough(broker, user) {
        return Ok(());
    }
    Err(ApiError::unauthorized(
        "Send a token of your sign-in as `Authorization: Bearer <token>`, or as `token` in the query.",
    ))
}

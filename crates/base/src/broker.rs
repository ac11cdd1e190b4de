//! What the broker does for routes of other packages: it knows users, and mints.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use turn_budget::{ClientKey, GrantId, Label, Spender, SpenderKind, Timestamp, User};

use crate::error::ApiError;
use crate::request::header::bearer;
use crate::request::query::parameters;

/// What a valid token of the application's sign-in says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The user.
    pub user: User,
    /// When the token expires: the claim `exp`.
    pub until: Timestamp,
    /// The only room that the token is for: the claim `room`.
    pub room: Option<String>,
    /// What the token is used for, if the application says so.
    pub label: Option<Label>,
}

/// Why a token of the application's sign-in is refused.
#[derive(Clone, Debug)]
pub enum Unverified {
    /// It was valid, and has expired.
    Expired(ApiError),
    /// Anything else.
    Refused(ApiError),
}

impl From<Unverified> for ApiError {
    fn from(why: Unverified) -> Self {
        let (Unverified::Expired(error) | Unverified::Refused(error)) = why;
        error
    }
}

/// A page or an app that sends a request.
#[derive(Clone, Debug)]
pub struct WebClient {
    /// The client's address.
    pub address: IpAddr,
    /// The origin of the page.
    pub origin: Option<Arc<str>>,
}

/// A credential.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The ICE servers, as JSON.
    pub ice_servers: Box<RawValue>,
    /// Its grant.
    pub grant: GrantId,
}

/// The broker, for routes of other packages.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Verifies a token that this client sent, and refuses the token of a blocked user. `None` if the text is no JWT, or no sign-in is
    /// configured.
    async fn verified(&self, token: &str, client: ClientKey) -> Result<Option<Verified>, Unverified>;

    /// Whether a sign-in is configured, so that users can have tokens.
    fn has_sign_in(&self) -> bool;

    /// Whether a request must come from a user who has signed in. `AUTH_REQUIRED`.
    fn needs_sign_in(&self) -> bool;

    /// What the operator has blocked: the user, or this client's address. `None`: neither.
    fn block_of(&self, client: ClientKey, user: Option<&User>) -> Option<SpenderKind>;

    /// Mints a credential. This counts against the rate limits of the client's address and of the user. `None` if no credential was minted.
    async fn mint(&self, web_client: &WebClient, spender: Option<Arc<Spender>>) -> Option<Minted>;
}

// Sign-in on the routes of signaling: finds the user's token in a request, and has it verified. A token that is no JWT counts as none:
// clients of `PeerJS` always send a random one, and a grant is no sign-in.

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

//! What the broker does for routes of other packages: it knows users, and mints.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;
use turn_budget::{ClientKey, GrantId, Label, Spender, SpenderKind, Timestamp, User};

use crate::error::ApiError;

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

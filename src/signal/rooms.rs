//! Where the name of a user in a room comes from.

use axum::http::HeaderName;
use turn_signaling::rooms::user_cookie::UserKey;

use crate::config::RoomsConfig;

/// The two sources of a user's name.
#[derive(Clone, Debug)]
pub struct RoomUsers {
    /// The header in which a trusted proxy names the user.
    pub header: HeaderName,
    /// The key that signs the cookie with a chosen name.
    pub key: UserKey,
}

impl RoomUsers {
    /// `secret`: the ledger's key, so that cookies stay valid after a restart.
    pub fn new(config: &RoomsConfig, secret: &[u8]) -> Self {
        Self { header: config.user_header.clone(), key: UserKey::derived_from(secret) }
    }
}

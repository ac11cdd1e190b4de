//! What rooms need beyond the protocol: how the user of a socket is known.

use axum::http::HeaderName;
use turn_signaling::rooms::user_cookie::UserKey;

use crate::config::RoomsConfig;

/// How the users of rooms are known.
#[derive(Clone, Debug)]
pub struct RoomUsers {
    /// The header in which a trusted proxy names the user.
    pub header: HeaderName,
    /// Signs the cookie of a name that a visitor has chosen.
    pub key: UserKey,
}

impl RoomUsers {
    /// `secret`: the key of the ledger, so that names outlive a restart.
    #[must_use]
    pub fn new(config: &RoomsConfig, secret: &[u8]) -> Self {
        Self { header: config.user_header.clone(), key: UserKey::derived_from(secret) }
    }
}

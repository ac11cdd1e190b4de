//! The id of a grant, and what its token says: the record of one issued credential.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_plain::{derive_deserialize_from_fromstr, derive_serialize_from_display};
use sha2::{Digest, Sha256};

use crate::{IceSource, Timestamp};

const ID_BYTES: usize = 16;

/// A grant's id: random, safe to log. It is the user part of a coturn user name and Cloudflare's `customIdentifier`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; ID_BYTES]);

impl GrantId {
    /// From random bytes.
    pub const fn new(random: [u8; ID_BYTES]) -> Self {
        Self(random)
    }

    /// That of a session of the SFU, whose name the SFU made.
    pub fn of_session(name: &str) -> Self {
        let digest = Sha256::digest(name);
        Self(std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default()))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GrantId {
    type Err = NotAGrantId;

    fn from_str(text: &str) -> Result<Self, NotAGrantId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotAGrantId)?;
        bytes.try_into().map(Self).map_err(|_| NotAGrantId)
    }
}

derive_serialize_from_display!(GrantId);
derive_deserialize_from_fromstr!(GrantId, "22 characters of base64url");

/// The text is not a grant id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 22 characters of base64url")]
pub struct NotAGrantId;

/// The content of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The grant's id.
    pub id: GrantId,
    /// The source that made the credential.
    pub source: IceSource,
    /// When the credential was requested.
    pub issued_at: Timestamp,
    /// When the credential expires, as in the response to the client.
    pub expires_at: Timestamp,
}

impl Grant {
    /// The instant from which the client may renew, and should: after three quarters of the lifetime.
    pub fn refresh_after(&self) -> Timestamp {
        self.issued_at.plus(self.expires_at.since(self.issued_at) * 3 / 4)
    }

    /// Whether the credential has expired. Open connections may still report and close.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_expired_from_its_expiry_on() {
        let grant = Grant {
            id: GrantId::new([7; 16]),
            source: IceSource::Coturn,
            issued_at: Timestamp::from_millis(1_000),
            expires_at: Timestamp::from_millis(61_000),
        };
        assert!(!grant.is_expired(Timestamp::from_millis(60_999)));
        assert!(grant.is_expired(Timestamp::from_millis(61_000)));
    }
}

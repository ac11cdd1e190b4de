//! The id of a grant, and the content of its token: source, issue and expiry of one credential. Tests: below.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_plain::{derive_deserialize_from_fromstr, derive_serialize_from_display};
use sha2::{Digest, Sha256};

use crate::source::IceSource;
use crate::units::Timestamp;

/// The longest life of a credential.
pub const LIFE_MAX: Duration = Duration::from_secs(2 * 86_400);
const ID_BYTES: usize = 16;
/// How many bits of an id are the time at which it was made, in milliseconds. This time begins again from zero every 34 years.
const TIME_BITS: u32 = 40;
/// The time in the ids of names that are not ours: the last one that these bits hold.
const FOREIGN: [u8; 5] = [u8::MAX; 5];

/// A grant's id, safe to log: the time and 88 random bits; of a session of the SFU, a digest of its name. It is the user part of a coturn
/// user name and Cloudflare's `customIdentifier`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; ID_BYTES]);

impl GrantId {
    /// The id of these bytes.
    pub const fn new(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new id. It begins with the time, so that grants of one moment are beside each other in the store. The random bits alone make the
    /// id unique, also when the clock steps back.
    pub fn at(now: Timestamp, random: [u8; ID_BYTES]) -> Self {
        let time = u128::from(now.as_millis().cast_unsigned()) << (u128::BITS - TIME_BITS);
        Self((time | u128::from_be_bytes(random) >> TIME_BITS).to_be_bytes())
    }

    /// The id of a session of the SFU, from the name that the SFU gave the session.
    pub fn of_session(name: &str) -> Self {
        let digest = Sha256::digest(name);
        Self(std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default()))
    }

    /// The id for a user name that another program has made with the secret of a relay. The time in it is [`FOREIGN`], which no grant of
    /// the broker has.
    pub fn of_foreign(name: &str) -> Self {
        let digest = Sha256::digest(name);
        let byte = |at: usize| at.checked_sub(FOREIGN.len()).and_then(|at| digest.get(at).copied());
        Self(std::array::from_fn(|at| byte(at).unwrap_or(u8::MAX)))
    }

    /// Whether it was made by [`Self::of_foreign`], so it is not the id of a grant of the broker.
    pub fn is_foreign(&self) -> bool {
        self.0.starts_with(&FOREIGN)
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
        let life = self.expires_at.millis_since(self.issued_at);
        self.issued_at.plus_millis(life.saturating_sub(life.div_ceil(4)))
    }

    /// Whether the credential has expired. Connections that are open then may still report and close.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

/// The reason why the relay stops serving a grant. Logs and metrics use the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum GrantEnd {
    /// Its credential has expired.
    Expired,
    /// It was revoked.
    Revoked,
    /// The budget is spent.
    Spent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_with_the_time_and_keeps_88_random_bits() {
        let at = |millis, random| *GrantId::at(Timestamp::from_millis(millis), [random; 16]).as_bytes();
        let mut expected = [0xab; 16];
        expected[..5].copy_from_slice(&[0x94, 0x6a, 0x00, 0x01, 0x02]);
        assert_eq!(at(0x194_6a00_0102, 0xab), expected, "the time has more than 40 bits since 2004");
        assert!(at(1_000, 0xff) < at(1_001, 0), "a later one is greater");
        assert_ne!(at(1_000, 1), at(1_000, 2), "one time, two ids");
        assert_eq!(at(-1, 0)[..5], [0xff; 5], "a time before 1970 is one, too");
    }

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

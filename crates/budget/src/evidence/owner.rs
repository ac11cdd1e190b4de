//! Whose bytes a count is of. Tests: below.
//! A count is of one owner alone: of a source; of one TURN key, where the provider counts by key; or of one of the operator's own relays.
//! A promise names its owner, and only the owner's count releases it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_plain::{derive_deserialize_from_fromstr, derive_serialize_from_display};
use sha2::{Digest, Sha256};

use crate::source::{Charged, IceSource};

/// A short digest of a text: the id of a TURN key, an account with its app, or the host of a relay. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdDigest([u8; 8]);

impl IdDigest {
    /// The digest of an id.
    pub fn of(id: &str) -> Self {
        let mut digest = [0; 8];
        digest.copy_from_slice(&Sha256::digest(id)[..8]);
        Self(digest)
    }
}

impl fmt::Display for IdDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// See the module's description. Its text is the key of stored rows: `cloudflare`, or `cloudflare/` with the digest of a TURN key or a
/// relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountOwner {
    /// The source that relays.
    pub source: IceSource,
    /// The TURN key that mints there, or the operator's own relay. `None` for a source without either, and for the rest that a source
    /// counts beside its keys or relays.
    pub issuer: Option<IdDigest>,
}

impl CountOwner {
    /// The owner that stands for all owners whose grants are counted together: a relay whose sessions are listed, or a whole source with
    /// all its TURN keys.
    #[must_use]
    pub fn group(self) -> Self {
        if self.source.facts().charged == Charged::Listings { self } else { self.source.into() }
    }
}

impl From<IceSource> for CountOwner {
    fn from(source: IceSource) -> Self {
        Self { source, issuer: None }
    }
}

impl fmt::Display for CountOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.issuer {
            None => self.source.fmt(f),
            Some(issuer) => write!(f, "{}/{issuer}", self.source),
        }
    }
}

impl FromStr for CountOwner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (source, issuer) = text.split_once('/').map_or((text, None), |(source, key)| (source, Some(key)));
        let digest = |key| u64::from_str_radix(key, 16).map(|number| IdDigest(number.to_be_bytes()));
        Ok(Self {
            source: source.parse().map_err(|_| ())?,
            issuer: issuer.map(digest).transpose().map_err(|_| ())?,
        })
    }
}

derive_serialize_from_display!(CountOwner);
derive_deserialize_from_fromstr!(CountOwner, "an owner of counts");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_from_its_text() {
        let issuer = Some(IdDigest::of("0123456789abcdef0123456789abcdef"));
        for owner in [IceSource::Sfu.into(), CountOwner { source: IceSource::Cloudflare, issuer }] {
            assert_eq!(owner.to_string().parse(), Ok(owner));
        }
        for text in ["", "twilio", "cloudflare/", "cloudflare/xyz"] {
            assert_eq!(text.parse::<CountOwner>(), Err(()), "{text}");
        }
    }

    #[test]
    fn two_ids_have_two_digests_of_eight_bytes() {
        assert_ne!(IdDigest::of("a"), IdDigest::of("b"));
        assert_eq!(size_of::<Option<IdDigest>>(), 9);
    }
}

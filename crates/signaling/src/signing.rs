//! Signatures of what a client keeps for us. Each purpose has a key of its own, derived from one secret of the service.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::prelude::*;

/// The key of one purpose. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// The key of one purpose. It tells nothing about the keys that the same secret has for other purposes.
    pub fn derived(secret: &[u8], purpose: &[u8]) -> Self {
        Self(keyed(&keyed(secret).chain_update(purpose).finalize().into_bytes()))
    }

    /// The authentication code of a text.
    pub fn code(&self, text: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(text).finalize().into_bytes().into()
    }

    /// A text with its signature, after a dot.
    pub fn sign(&self, text: &str) -> String {
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(self.code(text.as_bytes())))
    }

    /// The text in a [signed](Self::sign) token. `None` if the signature is wrong.
    pub fn signed<'a>(&self, token: &'a str) -> Option<&'a str> {
        let (text, code) = token.rsplit_once('.')?;
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        self.0.clone().chain_update(text).verify_slice(&code).ok()?;
        Some(text)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("an HMAC takes a key of any length")
}

/// The names and values of cookies. `lines`: the values of `Cookie`.
pub fn cookies<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (&'a str, &'a str)> {
    lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_text_one_purpose_and_one_secret() {
        let key = SigningKey::derived(b"secret", b"a");
        let signed = key.sign("x.y");
        assert_eq!(key.signed(&signed), Some("x.y"));
        for other in [
            SigningKey::derived(b"secret", b"b"),
            SigningKey::derived(b"other", b"a"),
            SigningKey(keyed(b"secret")),
        ] {
            assert_eq!(other.signed(&signed), None);
        }
        assert_eq!(key.signed(&signed.replace('x', "z")), None);
        for bad in ["", ".", "x.y", "x.y."] {
            assert_eq!(key.signed(bad), None, "{bad}");
        }
        assert_eq!(format!("{key:?}"), "SigningKey([redacted])");
    }
}

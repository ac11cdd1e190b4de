//! Bearer tokens. Fixed ones (operator, reporter) are compared by their SHA-256, in constant time, so neither their
//! content nor their length shows in how long a refusal takes.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A fixed token that somebody may show. Only its digest is kept.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Of a configured token.
    #[must_use]
    pub fn of(token: &SecretString) -> Self {
        Self(digest(token.expose_secret()))
    }

    /// Whether this is the token.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        self.0.ct_eq(&digest(shown)).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest([redacted])")
    }
}

/// The token in `Authorization: Bearer <token>`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_matches() {
        let token = TokenDigest::of(&SecretString::from("0123456789abcdef"));
        assert!(token.matches("0123456789abcdef"));
        assert!(
            !token.matches("0123456789abcdeF") && !token.matches("") && !token.matches("0123456789abcdef0")
        );
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_nothing_else_is_a_token() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc ").as_deref(), Some("abc"));
        for other in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

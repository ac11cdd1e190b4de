//! Bearer tokens. Fixed tokens (operator, reporter) are compared by their SHA-256 in constant time, so the duration of a
//! comparison reveals neither content nor length.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The digest of a token. The token itself is not kept.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of `token`.
    pub fn of(token: &SecretString) -> Self {
        Self::of_text(token.expose_secret())
    }

    /// The digest of a token that is no `SecretString`, such as one that somebody has sent.
    pub fn of_text(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether both are digests of the same token.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Whether this is the digest of `token`.
    pub fn matches(&self, token: &str) -> bool {
        self.is(&Self::of_text(token))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest([redacted])")
    }
}

/// The token in `Authorization: Bearer <token>`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
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
    fn the_scheme_matches_in_any_case_and_other_schemes_are_no_bearer_token() {
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

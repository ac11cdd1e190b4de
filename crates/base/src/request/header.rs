//! Headers that many routes read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use turn_budget::ORIGIN_MAX;

/// The most characters of an origin that a response or the log repeats.
pub const ORIGIN_SHOWN_MAX: usize = 100;

/// The only line of a header. `None` without a line, and with several: then a proxy has added its line to that of the client, and none is
/// certain.
pub fn only_line<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// The entries of a header that is a list, from all its lines.
pub fn entries<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The origin of the page, if the request has one of 1 to [`ORIGIN_MAX`] bytes.
pub fn page_origin(headers: &HeaderMap) -> Option<Arc<str>> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    (1..=ORIGIN_MAX).contains(&origin.len()).then(|| origin.into())
}

// Request ids: the id in the request, which a proxy usually sets, if it is short and plain, or a new one. An id is always valid in a
// header and in the log.

/// The header that contains the id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is accepted from a request. Bytes.
const LENGTH_MAX: usize = 64;

/// Makes ids: a random prefix for the process and a counter.
#[derive(Debug)]
pub struct RequestIds {
    /// 16 hexadecimal digits and a dash.
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids with this prefix.
    pub fn new(random: [u8; 8]) -> Self {
        Self { prefix: format!("{:016x}-", u64::from_be_bytes(random)), next: AtomicU64::new(0) }
    }

    /// The id in `headers`, or a new one.
    pub fn of(&self, headers: &HeaderMap) -> String {
        let new = || format!("{}{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        inbound(headers).unwrap_or_else(new)
    }
}

/// The id in the request, if it is short and plain.
fn inbound(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (!id.is_empty() && id.len() <= LENGTH_MAX && is_plain).then(|| id.to_owned())
}

// Bearer tokens. Fixed tokens (operator, reporter) are compared by their SHA-256 in constant time, so the duration of a
// comparison reveals neither content nor length.

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

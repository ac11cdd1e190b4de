//! Request ids: the id in the request, which a proxy usually sets, if it is short and plain, or a new one. An id is always valid in a
//! header and in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName};

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

//! Headers that many routes read.

use std::sync::Arc;

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
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

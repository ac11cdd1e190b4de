//! The query of a request. A parameter may stand there several times; who reads it decides what that means.

use std::borrow::Cow;

/// The values of one query parameter, in their order.
pub fn parameters<'a>(query: Option<&'a str>, wanted: &str) -> Vec<Cow<'a, str>> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
}

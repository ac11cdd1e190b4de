//! The query of a request.

use std::borrow::Cow;

use crate::error::ApiError;

/// The values of one query parameter, in their order.
pub fn parameters<'a>(query: Option<&'a str>, wanted: &str) -> Vec<Cow<'a, str>> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
}

/// A parameter as `parse` reads it; `None` if it is absent. One that stands there twice is as wrong as one that cannot be read.
pub fn parameter<T>(
    query: Option<&str>,
    name: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    wrong: impl FnOnce() -> ApiError,
) -> Result<Option<T>, ApiError> {
    match parameters(query, name).as_slice() {
        [] => Ok(None),
        [text] => parse(text).map(Some).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// The same, but an empty text is none, as a form sends it.
pub fn text_parameter<T>(
    query: Option<&str>,
    name: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    wrong: impl FnOnce() -> ApiError,
) -> Result<Option<T>, ApiError> {
    let parse = |text: &str| if text.is_empty() { Some(None) } else { parse(text).map(Some) };
    parameter(query, name, parse, wrong).map(Option::flatten)
}

//! The query of a request. A struct that describes it for the `OpenAPI` document also parses it.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error, Unexpected};
use serde::{Deserialize, Deserializer};

use crate::body::remedy;
use crate::error::ApiError;

/// The query of a request, as `T` describes it. Other parameters are ignored, unless `T` denies them. A parameter of `T` that occurs twice
/// is refused.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parse_query(parts.uri.query()).map(Self)
    }
}

/// Parses a query as [`Query`] does.
pub fn parse_query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, ApiError> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map_err(|error| {
        ApiError::invalid(remedy(&error.path().to_string(), &error.inner().to_string()) + ".")
    })
}

/// A parameter as `parse` reads it. `expected` completes the sentence "Set it to …". For `#[serde(deserialize_with)]`.
pub fn form<'de, D: Deserializer<'de>, T>(
    text: D,
    parse: impl FnOnce(&str) -> Option<T>,
    expected: &str,
) -> Result<T, D::Error> {
    let text = Cow::<str>::deserialize(text)?;
    // The error does not repeat the text, which may be a token.
    parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Other("text"), &expected))
}

/// The same as [`form`], but an empty text, which HTML forms send, is `None`.
pub fn form_or_none<'de, D: Deserializer<'de>, T>(
    text: D,
    parse: impl FnOnce(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, D::Error> {
    form(text, |text| if text.is_empty() { Some(None) } else { parse(text).map(Some) }, expected)
}

/// The values of one query parameter, in their order.
pub fn parameters<'a>(query: Option<&'a str>, wanted: &str) -> Vec<Cow<'a, str>> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OnlyPage {
        #[expect(dead_code, reason = "only errors are read")]
        limit: Option<u8>,
        #[expect(dead_code, reason = "only errors are read")]
        cursor: Option<u8>,
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused_and_not_repeated() {
        let refused = parse_query::<OnlyPage>(Some("a-secret%2C+expected+x=1")).unwrap_err();
        let said = refused.body.message.as_deref();
        assert_eq!(said, Some("Use no other name than `limit` or `cursor`."));
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Page {
        #[serde(default, deserialize_with = "limit")]
        limit: Option<u8>,
    }

    fn limit<'de, D: Deserializer<'de>>(text: D) -> Result<Option<u8>, D::Error> {
        form_or_none(text, |text| text.parse().ok(), "a number up to 255")
    }

    #[test]
    fn the_error_names_a_malformed_or_repeated_parameter() {
        for query in [None, Some(""), Some("limit="), Some("other=1&other=2")] {
            assert_eq!(parse_query::<Page>(query).unwrap(), Page { limit: None }, "{query:?}");
        }
        for (query, said) in [
            ("limit=256", "Set `limit` to a number up to 255."),
            ("limit=x, expected secret", "Set `limit` to a number up to 255."),
            ("limit=1&limit=1", "Send `limit` once."),
        ] {
            let refused = parse_query::<Page>(Some(query)).unwrap_err();
            assert_eq!(refused.body.message.as_deref(), Some(said), "{query}");
        }
    }
}

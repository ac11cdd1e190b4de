//! Request bodies: JSON whatever the content type (a beacon cannot send another than text/plain), at most 16 KiB, and
//! there within 5 s. With the 5 s for the headers a request has 10 s in all.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Longest body that is read.
pub const BODY_MAX: usize = 16 * 1024;
/// For the whole body.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads and parses a body. An empty one is `{}`, so that every field can be left out.
pub async fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, ApiError> {
    let bytes = read(headers, body).await?;
    let text = match bytes.trim_ascii() {
        b"" => b"{}",
        text if text.starts_with(b"{") => text,
        // serde would take a list for the fields in their order.
        _ => return Err(ApiError::InvalidRequest("The body is to be a JSON object.".into())),
    };
    serde_json::from_slice(text).map_err(|error| ApiError::InvalidRequest(describe(&error)))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    if announced_length(headers).is_some_and(|length| length > BODY_MAX) {
        return Err(ApiError::PayloadTooLarge);
    }
    let collected = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if is_too_long(&*error) => Err(ApiError::PayloadTooLarge),
        Ok(Err(_)) => Err(ApiError::InvalidRequest("The body could not be read.".into())),
        Err(_) => Err(ApiError::InvalidRequest(format!(
            "The body did not arrive within {} s.",
            READ_TIMEOUT.as_secs()
        ))),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>()
}

/// Where the JSON is wrong and what was expected, never what stood there: it may be a token.
fn describe(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            format!("The body is JSON, but a field has the wrong type (line {line}, column {column}).")
        }
        _ => format!("The body is not JSON (line {line}, column {column})."),
    }
}

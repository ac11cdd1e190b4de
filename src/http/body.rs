//! Request bodies: JSON whatever the content type (a beacon cannot send another than text/plain), at most 16 KiB, and
//! there by the request's deadline.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use crate::clock;

/// From a request's first byte to its last.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body that is read.
pub const BODY_MAX: usize = 16 * 1024;
/// By when a request's body has to be there; travels with the request.
#[derive(Clone, Copy, Debug)]
pub struct BodyDeadline(pub Instant);

/// Lets a request on only when its body is there in full: who is slow to send holds a socket, and nothing else.
pub async fn gather(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match read(&parts, body).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(error) => error.into_response(),
    }
}

/// Parses a gathered body. An empty one is `{}`, so that every field can be left out.
pub async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts, body).await?;
    let text = match bytes.trim_ascii() {
        b"" => b"{}",
        text if text.starts_with(b"{") => text,
        // serde would take a list for the fields in their order.
        _ => return Err(ApiError::invalid("The body is to be a JSON object.")),
    };
    serde_json::from_slice(text).map_err(|error| ApiError::invalid(describe(&error)))
}

async fn read(parts: &Parts, body: Body) -> Result<Bytes, ApiError> {
    if announced_length(&parts.headers).is_some_and(|length| length > BODY_MAX) {
        return Err(ApiError::PayloadTooLarge { bytes_max: BODY_MAX });
    }
    let deadline = parts.extensions.get::<BodyDeadline>().map(|deadline| deadline.0);
    let deadline = deadline.unwrap_or_else(|| clock::deadline(REQUEST_TIMEOUT));
    match timeout_at(deadline, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::PayloadTooLarge { bytes_max: BODY_MAX })
        }
        Ok(Err(_)) => Err(ApiError::invalid("The body could not be read.")),
        Err(_) => {
            let seconds = REQUEST_TIMEOUT.as_secs();
            Err(ApiError::invalid(format!("The request did not arrive within {seconds} s.")))
        }
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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

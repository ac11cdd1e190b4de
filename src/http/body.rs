//! Request bodies: JSON of at most 16 KiB that arrives before the request's deadline, in a bounded number of parts. The bytes
//! are copied into one buffer as they arrive, because each part needs more memory than its bytes. The content type is
//! ignored, because a beacon can only send text/plain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use crate::clock;

/// The longest time from a request's first byte to its last.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body that is read. Bytes.
pub const BODY_MAX: usize = 16 * 1024;
/// The most parts (chunks, or reads from the socket) in which a body may arrive.
pub const PARTS_MAX: usize = 1_024;

/// When a request's body must have arrived, and whether it has. An extension of the request.
#[derive(Clone, Debug)]
pub struct BodyProgress {
    deadline: Instant,
    has_arrived: Arc<AtomicBool>,
}

impl BodyProgress {
    /// `has_arrived` is shared with the connection, which counts as idle while it waits for a body.
    #[must_use]
    pub fn new(deadline: Instant, has_arrived: Arc<AtomicBool>) -> Self {
        Self { deadline, has_arrived }
    }

    /// The whole body is here.
    pub fn arrived(&self) {
        self.has_arrived.store(true, Ordering::Relaxed);
    }
}

/// Passes a request on once its whole body has arrived. Until then it occupies only its socket and the buffer of its body.
pub async fn gather(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match read(&parts, body, BODY_MAX).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(error) => error.into_response(),
    }
}

/// Parses a gathered body. An empty body is `{}`.
pub async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts, body, BODY_MAX).await?;
    let text = match bytes.trim_ascii() {
        b"" => b"{}",
        text if text.starts_with(b"{") => text,
        // serde would read an array as the fields in order.
        _ => return Err(ApiError::invalid("Send a JSON object as the body.")),
    };
    serde_json::from_slice(text).map_err(|error| ApiError::invalid(describe(&error)))
}

/// The whole body, of at most `bytes_max`.
pub async fn read_up_to(bytes_max: usize, request: Request) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    read(&parts, body, bytes_max).await
}

async fn read(parts: &Parts, body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    if announced_length(&parts.headers).is_some_and(|length| length > bytes_max) {
        return Err(ApiError::PayloadTooLarge { bytes_max });
    }
    let progress = parts.extensions.get::<BodyProgress>();
    let deadline = progress.map_or_else(|| clock::deadline(REQUEST_TIMEOUT), |progress| progress.deadline);
    let collected = timeout_at(deadline, collect(body, bytes_max)).await.unwrap_or_else(|_| {
        let seconds = REQUEST_TIMEOUT.as_secs();
        Err(ApiError::invalid(format!("The request did not arrive within {seconds} s.")))
    });
    if let Some(progress) = progress {
        progress.arrived();
    }
    collected
}

/// Copies the body into one buffer. The buffer grows with the bytes that arrive; the announced length allocates nothing.
async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::new();
    let mut parts = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::invalid("The body could not be read."))?;
        // Trailers are not data.
        let part = frame.into_data().unwrap_or_default();
        if bytes.len() + part.len() > bytes_max {
            return Err(ApiError::PayloadTooLarge { bytes_max });
        }
        parts += 1;
        if parts > PARTS_MAX {
            return Err(ApiError::invalid(format!("Send the body in at most {PARTS_MAX} chunks.")));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.into())
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Says where the JSON is wrong. Does not quote it, because it may contain a token.
fn describe(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            format!("The body is JSON, but a field has the wrong type (line {line}, column {column}).")
        }
        _ => format!("The body is not JSON (line {line}, column {column})."),
    }
}

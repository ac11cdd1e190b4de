//! Paths that no route has. Tests: `tests/it/error.rs`.

use axum::http::Uri;

use super::AppState;
use crate::config::{Off, is_at_or_below};
use turn_base::error::ApiError;

/// Every path that no route has. Allowed pages may read the response, because some clients show nothing else.
pub async fn unknown(app: AppState, uri: Uri) -> ApiError {
    let would_serve = |(_, paths): &&Off| paths.iter().any(|above| is_at_or_below(uri.path(), above));
    match app.signaling_off.iter().find(would_serve) {
        Some((name, _)) => ApiError::not_found(format!(
            "Add {name} to the setting SIGNALING to serve this path (docs/SIGNALING.md)."
        )),
        None => ApiError::no_route(),
    }
}

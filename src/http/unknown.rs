//! Paths that no route has. Tests: `tests/it/error.rs`.

use axum::http::Uri;

use super::AppState;
use turn_base::error::ApiError;

/// Every path that no route has. Allowed pages may read the response, because some clients show nothing else.
pub async fn unknown(app: AppState, uri: Uri) -> ApiError {
    match app.config.signaling.off_at(uri.path()) {
        Some(name) => ApiError::not_found(format!(
            "Add {name} to the setting SIGNALING to serve this path (docs/SIGNALING.md)."
        )),
        None => ApiError::no_route(),
    }
}

//! Paths that no route has. Tests: `tests/it/error.rs`.

use axum::http::Uri;

use super::AppState;
use crate::config::WireFormat;
use turn_base::ApiError;

/// The 404 for a path that no route has, with the setting that would serve the path, if there is one. Allowed pages may read the response,
/// because some clients show nothing else.
pub async fn unknown(app: AppState, uri: Uri) -> ApiError {
    let not_listed = |name, setting, document| {
        ApiError::not_found(format!("Add {name} to the setting {setting} to serve this path ({document})."))
    };
    if let Some(name) = app.config.signaling.off_at(uri.path()) {
        not_listed(name, "SIGNALING", "docs/SIGNALING.md")
    } else if let Some(name) = WireFormat::off_at(&app.config.wire_formats, uri.path()) {
        not_listed(name, "DOORS", "docs/CLIENTS.md")
    } else if let Some(settings) = app.config.signaling.lacks_at(uri.path()) {
        ApiError::not_found(format!("Set {settings} to serve this path (docs/SIGNALING.md)."))
    } else {
        ApiError::no_route()
    }
}

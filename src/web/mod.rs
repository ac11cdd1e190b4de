//! What a browser loads from here: the module `turn-client.js` and its types, and the [`pages`]. Code, not data: it is the
//! same for everybody, so it may be kept and is asked for again by its tag. The module may be imported by any origin.

pub mod pages;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// How long a browser may keep it without asking: a new version reaches every page within the hour.
const KEPT: &str = "public, max-age=3600";
/// Tells tools that resolve types over HTTP where they are.
const TYPES: HeaderName = HeaderName::from_static("x-typescript-types");

/// The browser module: credentials, renewal, reports.
#[utoipa::path(
    get,
    path = "/turn-client.js",
    operation_id = "getTurnClient",
    tag = "browser",
    responses(
        (status = 200, description = "An ES module, for any origin", content_type = "text/javascript", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
    )
)]
pub async fn get_turn_client(headers: HeaderMap) -> Response {
    let script = include_str!("turn-client/turn-client.js");
    ([(TYPES, "/turn-client.d.ts")], file("text/javascript; charset=utf-8", script, &headers)).into_response()
}

/// Its types, for TypeScript.
#[utoipa::path(
    get,
    path = "/turn-client.d.ts",
    operation_id = "getTurnClientTypes",
    tag = "browser",
    responses(
        (status = 200, description = "TypeScript declarations, for any origin", content_type = "application/typescript", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
    )
)]
pub async fn get_turn_client_types(headers: HeaderMap) -> Response {
    let types = include_str!("turn-client/turn-client.d.ts");
    file("application/typescript; charset=utf-8", types, &headers)
}

/// The file, or that the asker's copy is still good.
fn file(content_type: &'static str, text: &'static str, asked: &HeaderMap) -> Response {
    let headers =
        [(CACHE_CONTROL, KEPT), (ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, unless_known(text, asked, ([(CONTENT_TYPE, content_type)], text))).into_response()
}

/// The answer with the tag of `text`, or that the asker's copy is still good.
fn unless_known(text: &str, asked: &HeaderMap, answer: impl IntoResponse) -> Response {
    let tag = tag(text);
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|known| names(known, &tag));
    let headers = [(ETAG, tag)];
    if is_known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, answer).into_response()
    }
}

/// A proxy that compresses makes a tag weak; it stands for the same file.
fn names(known: &str, tag: &str) -> bool {
    let known = known.trim();
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
}

fn tag(text: &str) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..12]))
}

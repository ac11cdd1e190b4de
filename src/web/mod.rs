//! Files for browsers: the module `turn-client.js` with its types, and the [`pages`]. They contain no data: every client
//! gets the same bytes, may keep them, and revalidates them by their `ETag`. Any origin may import the module.

pub mod navigation;
pub mod pages;

use std::sync::Arc;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use utoipa::PartialSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Paths};
use utoipa::openapi::{Content, ResponseBuilder};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::app::App;

/// A new version reaches every page within the hour.
const MODULE_CACHE: &str = "public, max-age=3600";
/// Tells tools that resolve types over HTTP where they are.
const TYPES: HeaderName = HeaderName::from_static("x-typescript-types");

/// A route with its description in the `OpenAPI` document.
pub type Route = UtoipaMethodRouter<Arc<App>>;

/// The browser module and its types.
pub fn module() -> [Route; 2] {
    let script = operation(
        "getTurnClient",
        "The browser module: credentials, renewal, reports.",
        "An ES module, for any origin",
        "text/javascript",
    );
    let types = operation(
        "getTurnClientTypes",
        "TypeScript types of the browser module.",
        "TypeScript declarations, for any origin",
        "application/typescript",
    );
    [
        route("/turn-client.js", script, get(get_turn_client)),
        route("/turn-client.d.ts", types, get(get_turn_client_types)),
    ]
}

async fn get_turn_client(headers: HeaderMap) -> Response {
    let script = include_str!("turn-client/turn-client.js");
    ([(TYPES, "/turn-client.d.ts")], file("text/javascript; charset=utf-8", script, &headers)).into_response()
}

async fn get_turn_client_types(headers: HeaderMap) -> Response {
    let types = include_str!("turn-client/turn-client.d.ts");
    file("application/typescript; charset=utf-8", types, &headers)
}

fn file(content_type: &'static str, text: &'static str, request: &HeaderMap) -> Response {
    let headers = [
        (CACHE_CONTROL, MODULE_CACHE),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, unless_cached(text, request, ([(CONTENT_TYPE, content_type)], text))).into_response()
}

/// Describes a `GET` that serves a text with an `ETag`.
fn operation(id: &str, summary: &str, description: &str, content_type: &str) -> OperationBuilder {
    let text = ResponseBuilder::new().description(description);
    let unchanged = ResponseBuilder::new().description("`If-None-Match` names this version");
    OperationBuilder::new()
        .operation_id(Some(id))
        .tag("browser")
        .summary(Some(summary))
        .response("200", text.content(content_type, Content::new(Some(String::schema()))).build())
        .response("304", unchanged.build())
}

fn route(path: &str, operation: OperationBuilder, handler: MethodRouter<Arc<App>>) -> Route {
    let mut paths = Paths::new();
    paths.add_path_operation(path, vec![HttpMethod::Get], operation);
    (vec![], paths, handler)
}

/// The response with the `ETag` of `text`, or 304 if the client has this version.
fn unless_cached(text: &str, request: &HeaderMap, response: impl IntoResponse) -> Response {
    let tag = tag(text);
    let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|known| matches(known, &tag));
    let headers = [(ETAG, tag)];
    if is_known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, response).into_response()
    }
}

/// A proxy that compresses the response makes its tag weak. A weak tag names the same file.
fn matches(known: &str, tag: &str) -> bool {
    let known = known.trim();
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
}

fn tag(text: &str) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..12]))
}

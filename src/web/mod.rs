//! Files for browsers and tools: the module `turn-client.js` with its types and as an npm package, the `OpenAPI` document, and the
//! [`pages`]. They contain no data: every client gets the same bytes, may keep them, and revalidates them by their `ETag`. Any origin may
//! load all but the pages.

pub mod pages;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::sync::LazyLock;

use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, Header};
use turn_base::request::header::entries;

/// How long clients may keep a file: a new version reaches every page within the hour.
const MODULE_CACHE: &str = "public, max-age=3600";
/// Tells tools that resolve types over HTTP where the types are.
const TYPES: HeaderName = HeaderName::from_static("x-typescript-types");

/// Describes every route, also those that a setting turns on. A test compares this document with the table of routes (src/router).
const OPEN_API: &str = include_str!("openapi.json");
const TURN_CLIENT: &str = include_str!("turn-client/turn-client.js");
const TURN_CLIENT_TYPES: &str = include_str!("turn-client/turn-client.d.ts");

/// Returns this document.
///
/// Any page may read it.
#[utoipa::path(get, path = "/openapi.json", responses(
    (status = 200, description = "An OpenAPI 3.1 document, for any origin", content_type = "application/json", body = Object),
    (status = 304, description = "`If-None-Match` names this version"),
))]
pub async fn get_open_api(headers: HeaderMap) -> Response {
    text_file("application/json", OPEN_API, &GZIPPED[0], &headers)
}

/// Returns the browser module: credentials, renewal, reports.
#[utoipa::path(get, path = "/turn-client.js", responses(
    (status = 200, description = "An ES module, for any origin", content_type = "text/javascript", body = String),
    (status = 304, description = "`If-None-Match` names this version"),
))]
pub async fn get_turn_client(headers: HeaderMap) -> Response {
    let script = text_file("text/javascript; charset=utf-8", TURN_CLIENT, &GZIPPED[1], &headers);
    ([(TYPES, "/turn-client.d.ts")], script).into_response()
}

/// Returns TypeScript types of the browser module.
#[utoipa::path(get, path = "/turn-client.d.ts", responses(
    (status = 200, description = "TypeScript declarations, for any origin", content_type = "application/typescript", body = String),
    (status = 304, description = "`If-None-Match` names this version"),
))]
pub async fn get_turn_client_types(headers: HeaderMap) -> Response {
    text_file("application/typescript; charset=utf-8", TURN_CLIENT_TYPES, &GZIPPED[2], &headers)
}

/// Returns the browser module as an npm package of the broker's version.
///
/// `npm install https://BROKER/turn-client.tgz`
#[utoipa::path(get, path = "/turn-client.tgz", responses(
    (status = 200, description = "A gzipped tar archive, for any origin", content_type = "application/gzip", body = String),
    (status = 304, description = "`If-None-Match` names this version"),
))]
pub async fn get_turn_client_package(headers: HeaderMap) -> Response {
    file("application/gzip", &TARBALL, &headers)
}

/// The texts, gzipped once.
static GZIPPED: [LazyLock<Vec<u8>>; 3] = [
    LazyLock::new(|| gzipped(OPEN_API)),
    LazyLock::new(|| gzipped(TURN_CLIENT)),
    LazyLock::new(|| gzipped(TURN_CLIENT_TYPES)),
];

fn gzipped(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::best());
    gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).expect("writing to memory does not fail")
}

/// A file of text, gzipped for a client that reads that.
fn text_file(
    content_type: &'static str,
    text: &'static str,
    gzipped: &'static [u8],
    request: &HeaderMap,
) -> Response {
    let reads_gzip = |entry: &str| {
        let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
        coding.trim() == "gzip" && !["q=0", "q=0.0", "q=0.00", "q=0.000"].contains(&weight.trim())
    };
    let is_gzipped = entries(request, &ACCEPT_ENCODING).any(reads_gzip);
    let mut response = file(content_type, if is_gzipped { gzipped } else { text.as_bytes() }, request);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_gzipped {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A file that pages of any origin may load.
fn file(content_type: &'static str, bytes: &'static [u8], request: &HeaderMap) -> Response {
    let headers = [(CACHE_CONTROL, MODULE_CACHE), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, unless_cached(bytes, request, ([(CONTENT_TYPE, content_type)], bytes))).into_response()
}

/// The response with the `ETag` of `bytes`, or 304 if the client has this version.
fn unless_cached(bytes: &[u8], request: &HeaderMap, response: impl IntoResponse) -> Response {
    let tag = tag(bytes);
    let is_known = entries(request, &IF_NONE_MATCH).any(|known| matches(known, &tag));
    let headers = [(ETAG, tag)];
    if is_known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, response).into_response()
    }
}

/// Whether `known`, an entry of `If-None-Match`, names the version with this tag. A proxy that compresses a response makes its tag weak. A
/// weak tag names the same file.
fn matches(known: &str, tag: &str) -> bool {
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
}

fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

// The browser module as an npm package, so that `npm install https://BROKER/turn-client.tgz` works. It has the version of the
// broker, and the same bytes in every process of that version, because npm stores a hash of the package.

/// The package as `npm pack` would make it.
static TARBALL: LazyLock<Vec<u8>> = LazyLock::new(|| tarball().expect("writing to memory does not fail"));

fn tarball() -> io::Result<Vec<u8>> {
    let manifest = manifest();
    // For programs that cannot load an ES module, such as Jest.
    let common_js = TURN_CLIENT.replace("\nexport ", "\n")
        + "\nmodule.exports = { TurnClientError, createTurnClient };\n";
    let files = [
        ("package.json", manifest.as_str()),
        ("turn-client.js", TURN_CLIENT),
        ("turn-client.cjs", common_js.as_str()),
        ("turn-client.d.ts", TURN_CLIENT_TYPES),
        ("README.md", include_str!("turn-client/README.md")),
        ("examples/plain.html", include_str!("turn-client/examples/plain.html")),
        ("examples/reporter.mjs", include_str!("turn-client/examples/reporter.mjs")),
        ("examples/useWebRTC.tsx", include_str!("turn-client/examples/useWebRTC.tsx")),
    ];
    let gzip: GzEncoder<Vec<u8>> = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = Builder::new(gzip);
    for (name, text) in files {
        let mut header = Header::new_gnu();
        header.set_size(u64::try_from(text.len()).map_err(io::Error::other)?);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, format!("package/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

/// The module's `package.json` with the version of the broker. The version is put into the text, so the other fields keep their order:
/// TypeScript requires `types` to be the first condition of an export.
fn manifest() -> String {
    let version = concat!("{\n  \"version\": \"", env!("CARGO_PKG_VERSION"), "\",\n");
    include_str!("turn-client/package.json").replacen("{\n", version, 1)
}

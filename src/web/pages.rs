//! The pages and the files that they load: a shell without data each. Nothing of theirs comes from elsewhere, nothing
//! runs that is not a file of theirs, and no other site may frame them or load their files as its own.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::unless_known;
use crate::app::App;
use crate::http::error::{ApiError, ErrorBody};

/// Scripts, styles and answers from here alone. Relayed connections are not requests, and no policy holds for them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Page and files are to be of one version: each is asked for again by its tag.
const KEPT: &str = "no-cache";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Name, content type, content.
type File = (&'static str, &'static str, &'static str);

/// What `/dashboard` loads.
const DASHBOARD: [File; 13] = [
    ("page.css", STYLE, include_str!("page.css")),
    ("dashboard.css", STYLE, include_str!("dashboard/dashboard.css")),
    ("uplot.css", STYLE, include_str!("vendor/uplot/uPlot.min.css")),
    ("uplot.js", SCRIPT, include_str!("vendor/uplot/uPlot.iife.min.js")),
    ("uplot-license.txt", TEXT, include_str!("vendor/uplot/LICENSE")),
    ("main.js", SCRIPT, include_str!("dashboard/main.js")),
    ("actions.js", SCRIPT, include_str!("dashboard/actions.js")),
    ("broker.js", SCRIPT, include_str!("dashboard/broker.js")),
    ("format.js", SCRIPT, include_str!("dashboard/format.js")),
    ("plots.js", SCRIPT, include_str!("dashboard/plots.js")),
    ("series.js", SCRIPT, include_str!("dashboard/series.js")),
    ("verdicts.js", SCRIPT, include_str!("dashboard/verdicts.js")),
    ("view.js", SCRIPT, include_str!("dashboard/view.js")),
];

/// What `/relay-check` loads.
const RELAY_CHECK: [File; 6] = [
    ("page.css", STYLE, include_str!("page.css")),
    ("relay-check.css", STYLE, include_str!("relay-check/relay-check.css")),
    ("main.js", SCRIPT, include_str!("relay-check/main.js")),
    ("gather.js", SCRIPT, include_str!("relay-check/gather.js")),
    ("findings.js", SCRIPT, include_str!("relay-check/findings.js")),
    ("report.js", SCRIPT, include_str!("relay-check/report.js")),
];

/// What `/docs` loads beside `/openapi.json`.
const DOCS: [File; 5] = [
    ("page.css", STYLE, include_str!("page.css")),
    ("docs.css", STYLE, include_str!("docs/docs.css")),
    ("main.js", SCRIPT, include_str!("docs/main.js")),
    ("command.js", SCRIPT, include_str!("docs/command.js")),
    ("document.js", SCRIPT, include_str!("docs/document.js")),
];

/// What `/demo` loads beside the dashboard's.
const DEMO: [File; 6] = [
    ("demo.css", STYLE, include_str!("demo/demo.css")),
    ("main.js", SCRIPT, include_str!("demo/main.js")),
    ("call.js", SCRIPT, include_str!("demo/call.js")),
    ("plot.js", SCRIPT, include_str!("demo/plot.js")),
    ("scene.js", SCRIPT, include_str!("demo/scene.js")),
    ("words.js", SCRIPT, include_str!("demo/words.js")),
];

/// The operator's page has nothing to show where there is no operator.
pub async fn only_with_operator(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.operator_token.is_none() {
        return ApiError::NotFound.into_response();
    }
    next.run(request).await
}

/// The operator's page: a shell without data, which asks for the token.
#[utoipa::path(
    get,
    path = "/dashboard",
    operation_id = "getDashboard",
    tag = "browser",
    responses(
        (status = 200, description = "A page", content_type = "text/html", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
        (status = 404, description = "`NOT_FOUND`: there is no `OPERATOR_TOKEN`", body = ErrorBody),
    )
)]
pub async fn get_dashboard(headers: HeaderMap) -> Response {
    page(include_str!("dashboard/index.html"), &headers)
}

/// Its scripts and styles.
#[utoipa::path(
    get,
    path = "/dashboard/{file}",
    operation_id = "getDashboardFile",
    tag = "browser",
    params(("file" = String, Path, description = "As the page names it", example = "main.js")),
    responses(
        (status = 200, description = "A script or a style", content_type = "text/javascript", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
        (status = 404, description = "`NOT_FOUND`: the page has no such file.", body = ErrorBody),
    )
)]
pub async fn get_dashboard_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&DASHBOARD, &name, &headers)
}

/// A page that tries every ICE server from the browser that it is opened in. Each run takes credentials.
#[utoipa::path(
    get,
    path = "/relay-check",
    operation_id = "getRelayCheck",
    tag = "browser",
    responses(
        (status = 200, description = "A page", content_type = "text/html", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
    )
)]
pub async fn get_relay_check(headers: HeaderMap) -> Response {
    page(include_str!("relay-check/index.html"), &headers)
}

/// Its scripts and styles.
#[utoipa::path(
    get,
    path = "/relay-check/{file}",
    operation_id = "getRelayCheckFile",
    tag = "browser",
    params(("file" = String, Path, description = "As the page names it", example = "main.js")),
    responses(
        (status = 200, description = "A script or a style", content_type = "text/javascript", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
        (status = 404, description = "`NOT_FOUND`: the page has no such file.", body = ErrorBody),
    )
)]
pub async fn get_relay_check_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&RELAY_CHECK, &name, &headers)
}

/// A page that shows this document: every operation, its parameters, answers and fields, and a command for each.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "getDocs",
    tag = "browser",
    responses(
        (status = 200, description = "A page", content_type = "text/html", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
    )
)]
pub async fn get_docs(headers: HeaderMap) -> Response {
    page(include_str!("docs/index.html"), &headers)
}

/// Its scripts and styles.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "getDocsFile",
    tag = "browser",
    params(("file" = String, Path, description = "As the page names it", example = "main.js")),
    responses(
        (status = 200, description = "A script or a style", content_type = "text/javascript", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
        (status = 404, description = "`NOT_FOUND`: the page has no such file.", body = ErrorBody),
    )
)]
pub async fn get_docs_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&DOCS, &name, &headers)
}

/// A call through the relay in this process, and the budget that it spends. With `turn-broker demo` only.
#[utoipa::path(
    get,
    path = "/demo",
    operation_id = "getDemo",
    tag = "browser",
    responses(
        (status = 200, description = "A page", content_type = "text/html", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
    )
)]
pub async fn get_demo(headers: HeaderMap) -> Response {
    page(include_str!("demo/index.html"), &headers)
}

/// Its scripts and styles.
#[utoipa::path(
    get,
    path = "/demo/{file}",
    operation_id = "getDemoFile",
    tag = "browser",
    params(("file" = String, Path, description = "As the page names it", example = "main.js")),
    responses(
        (status = 200, description = "A script or a style", content_type = "text/javascript", body = String),
        (status = 304, description = "`If-None-Match` names this version"),
        (status = 404, description = "`NOT_FOUND`: the page has no such file.", body = ErrorBody),
    )
)]
pub async fn get_demo_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&DEMO, &name, &headers)
}

fn page(html: &'static str, asked: &HeaderMap) -> Response {
    let policies = [(CONTENT_SECURITY_POLICY, POLICY), (OPENER_POLICY, "same-origin")];
    (policies, own(HTML, html, asked)).into_response()
}

fn file(files: &[File], name: &str, asked: &HeaderMap) -> Response {
    match files.iter().find(|(known, ..)| *known == name) {
        Some((_, content_type, text)) => own(content_type, text, asked),
        None => ApiError::NotFound.into_response(),
    }
}

/// Something that only pages from here may load.
fn own(content_type: &'static str, text: &'static str, asked: &HeaderMap) -> Response {
    let headers = [
        (CACHE_CONTROL, KEPT),
        (RESOURCE_POLICY, "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, unless_known(text, asked, ([(CONTENT_TYPE, content_type)], text))).into_response()
}

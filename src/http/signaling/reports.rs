//! The routes of reports. Each is a 404 without the directory or the chat that it needs.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, Request};
use axum::http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceBuilder;
use turn_ledger::{ClientKey, Timestamp};
use turn_signaling::reports::{BadField, BugReport, CallQuality, DeadTrack, Link, card};
use turn_signaling::uuid::uuid;

use super::form::Form;
use crate::app::App;
use crate::http::body::{BodyLimit, read_up_to};
use crate::http::envelope::catch_panic;
use crate::http::error::ApiError;
use crate::http::origin;
use crate::http::{AppState, JsonResult};
use crate::random;
use crate::request::client_addr::ClientAddr;
use crate::request::query::parameters;
use crate::signal::reports::Reports;
use crate::signal::reports::store::Note;

/// The longest form, in bytes. A bug report contains what its page saw.
pub const FORM_MAX: usize = 1024 * 1024;
/// The longest JSON, in bytes.
pub const JSON_MAX: usize = 64 * 1024;
const NO_SNIFF: (HeaderName, &str) = (HeaderName::from_static("x-content-type-options"), "nosniff");

/// The routes, with their rule about origins: pages send reports, and people open a kept one from a chat.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    if app.signaling.reports.is_none() {
        return Router::new();
    }
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(Arc::clone(app), origin::refuse_foreign))
        .layer(origin::cors(&app.origins))
        .layer(catch_panic(app));
    Router::new()
        .route("/api/bugReport", post(bug))
        .route("/api/deadTrack", post(dead_track))
        .route("/call-quality-feedback", post(call_quality))
        .route("/api/reportRefresh", post(refresh))
        .layer(layers)
        .route("/api/debugInfo", get(debug_info).layer(catch_panic(app)))
}

async fn bug(app: AppState, request: Request) -> JsonResult<Value> {
    let reports = reports(&app)?;
    if reports.store.is_none() && reports.feedback.is_none() {
        return Err(ApiError::no_route());
    }
    let limit = BodyLimit::long(FORM_MAX, &reports.uploads);
    let (headers, body, _permit) = read(reports, &limit, request).await?;
    let form = Form::parse(&headers, body).await?;
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let field = |name| form.field(name).unwrap_or_default();
    let mut report = BugReport::parse(field("info"), field("description"), agent).map_err(bad)?;
    let kept = keep(reports, &mut report).await?;
    let link = kept.and_then(|id| Link::new(reports.link(&id)?));
    tell(reports, || card::of_bug(&report, link.as_ref()))?;
    Ok(Json(json!({ "status": "ok" })))
}

/// Keeps what the page saw. Returns its UUID; `None` if there is nothing to keep or no place for it.
async fn keep(reports: &Reports, report: &mut BugReport) -> Result<Option<String>, ApiError> {
    let (Some(store), Some(history)) = (&reports.store, report.history.take()) else { return Ok(None) };
    let id = uuid(u128::from_be_bytes(random::bytes()?));
    let name = id.clone();
    let kept = reports.with_store(store, move |store, now| store.keep(&name, history.get().as_bytes(), now));
    kept.await.map(|()| Some(id)).ok_or_else(ApiError::internal)
}

async fn dead_track(app: AppState, request: Request) -> JsonResult<Value> {
    let reports = reports(&app)?;
    if reports.feedback.is_none() {
        return Err(ApiError::no_route());
    }
    let limit = BodyLimit::long(JSON_MAX, &reports.uploads);
    let (_, body, _permit) = read(reports, &limit, request).await?;
    let report = DeadTrack::parse(&body).map_err(bad)?;
    tell(reports, || card::of_dead_track(&report, &app.clock.now().to_string()))?;
    Ok(Json(json!({ "status": "ok" })))
}

/// Redirects to the start page, also if the report is not kept.
async fn call_quality(app: AppState, request: Request) -> Result<Response, ApiError> {
    let reports = reports(&app)?;
    let (headers, body, _) = read(reports, &BodyLimit::SHORT, request).await?;
    let form = Form::parse(&headers, body).await?;
    let quality =
        CallQuality::parse(form.field("experiencedIssues"), form.field("meetingId")).map_err(bad)?;
    note(reports, Note::Quality, json!(quality)).await;
    Ok((StatusCode::FOUND, [(LOCATION, "/")]).into_response())
}

async fn refresh(app: AppState, request: Request) -> Result<StatusCode, ApiError> {
    let reports = reports(&app)?;
    read(reports, &BodyLimit::SHORT, request).await?;
    let is_kept = note(reports, Note::Refresh, json!({})).await;
    Ok(if is_kept { StatusCode::CREATED } else { StatusCode::OK })
}

/// Adds a note with the time. `false` if it is not kept.
async fn note(reports: &Reports, kind: Note, mut note: Value) -> bool {
    let Some(store) = &reports.store else { return false };
    let kept = reports.with_store(store, move |store, now: Timestamp| {
        note["at"] = json!(now.to_string());
        store.note(kind, &note.to_string(), now)
    });
    kept.await.unwrap_or(false)
}

async fn debug_info(app: AppState, RawQuery(query): RawQuery) -> Result<impl IntoResponse, ApiError> {
    let store = reports(&app)?.store.as_ref().ok_or_else(ApiError::no_route)?;
    let id = parameters(query.as_deref(), "id").into_iter().find(|id| !id.is_empty()).map(Cow::into_owned);
    let id = id.ok_or_else(|| ApiError::invalid("Name the report with the parameter `id`."))?;
    let found = reports(&app)?.with_store(store, move |store, now| store.read(&id, now)).await;
    let report = found.ok_or_else(ApiError::internal)?.ok_or_else(ApiError::no_route)?;
    Ok(([(CONTENT_TYPE, "application/json"), NO_SNIFF], report))
}

fn reports(app: &App) -> Result<&Reports, ApiError> {
    app.signaling.reports.as_ref().ok_or_else(ApiError::no_route)
}

/// Reads a report, if its client may send one now: its headers, its body, and the permit to hold while a long one is in memory.
async fn read(
    reports: &Reports,
    limit: &BodyLimit,
    request: Request,
) -> Result<(HeaderMap, Bytes, Option<OwnedSemaphorePermit>), ApiError> {
    let ClientAddr(address) = request.extensions().get().copied().ok_or_else(ApiError::internal)?;
    reports.take(ClientKey::of(address)).map_err(|retry_in| {
        let message = "Send fewer reports: ten at once, then one a minute.";
        ApiError::too_many("Too many reports", message, retry_in)
    })?;
    let headers = request.headers().clone();
    let (body, permit) = read_up_to(limit, request).await?;
    Ok((headers, body, permit))
}

/// Sends a card, if there is a chat.
fn tell(reports: &Reports, card: impl FnOnce() -> String) -> Result<(), ApiError> {
    match &reports.feedback {
        Some(feedback) if !feedback.push(card()) => Err(ApiError::overloaded()),
        _ => Ok(()),
    }
}

fn bad(BadField(name): BadField) -> ApiError {
    ApiError::invalid(format!("Set `{name}` as documented: it is missing, too long, or of another form."))
}

//! Reports of Orange's page: bugs, tracks without media, the quality of a call. Tests: `tests/it/signaling/reports.rs`. Anyone can send one.
//! A route is a 404 without the directory or the chat that it needs.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawQuery, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use turn_base::body::{BodyLimit, parse_json, read_body};
use turn_base::error::ApiError;
use turn_base::random;
use turn_base::request::client_addr::ClientAddr;
use turn_base::request::query::parameters;
use turn_ledger::ClientKey;
use turn_signaling::uuid::uuid;

use super::card::{self, BugInfo, given, name};
use super::store::{QUALITY, REFRESH, Store, report};
use super::{EACH, Reports, too_many};
use crate::form::Form;
use crate::occupancy::NoPlace;

/// The longest form, in bytes. A bug report contains what its page saw.
pub const FORM_MAX: usize = 1024 * 1024;
/// The longest JSON, in bytes.
pub const JSON_MAX: usize = 64 * 1024;
const NO_SNIFF: (HeaderName, &str) = (HeaderName::from_static("x-content-type-options"), "nosniff");

type Sink = State<Arc<Reports>>;

/// The routes for reports of pages, without the rule about origins.
pub fn routes<S: Clone + Send + Sync + 'static>(reports: Option<&Arc<Reports>>) -> Router<S> {
    let Some(reports) = reports else { return Router::new() };
    let (has_store, has_chat) = (reports.store.is_some(), reports.feedback.is_some());
    let mut router = Router::new()
        .route("/call-quality-feedback", post(call_quality))
        .route("/api/reportRefresh", post(refresh));
    if has_store || has_chat {
        router = router.route("/api/bugReport", post(bug));
    }
    if has_chat {
        router = router.route("/api/deadTrack", post(dead_track));
    }
    router.with_state(Arc::clone(reports))
}

/// The route of kept reports, which people open from a chat.
pub fn kept<S: Clone + Send + Sync + 'static>(reports: Option<&Arc<Reports>>) -> Router<S> {
    let Some(reports) = reports.filter(|reports| reports.store.is_some()) else {
        return Router::new();
    };
    Router::new().route("/api/debugInfo", get(debug_info)).with_state(Arc::clone(reports))
}

/// A client that may send a report now.
struct Sender(ClientKey);

impl FromRequestParts<Arc<Reports>> for Sender {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, reports: &Arc<Reports>) -> Result<Self, ApiError> {
        let ClientAddr(address) = parts.extensions.get().copied().ok_or_else(ApiError::internal)?;
        let client = ClientKey::of(address);
        reports.take(&reports.rate, client, 1)?;
        Ok(Self(client))
    }
}

async fn bug(
    State(reports): Sink,
    Sender(client): Sender,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let headers = request.headers().clone();
    let (body, _counted) = read_body(&reports.limit(FORM_MAX), request).await?;
    let form = Form::parse(&headers, body).await?;
    let mut info: BugInfo = parse_json(form.field("info").unwrap_or_default().as_bytes())?;
    let mut history = info.room_history.take().filter(|_| reports.store.is_some());
    if history.is_some()
        && let Err(refused) = reports.take(&reports.kept, client, 1)
    {
        // Without a chat, the report would be lost.
        if reports.feedback.is_none() {
            return Err(refused);
        }
        history = None;
    }
    let id = uuid(u128::from_be_bytes(random::bytes()?));
    let link = if history.is_some() { reports.link(&id) } else { None };
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let card = card::of_bug(&info, form.field("description"), agent, link.as_deref())?;
    if let Some(history) = history {
        let keep = move |store: &Store, now| store.append(&report(&id), history.get().as_bytes(), now);
        reports.on_disk(keep).await.filter(|is_kept| *is_kept).ok_or_else(ApiError::internal)?;
    }
    tell(&reports, client, card)
}

async fn dead_track(
    State(reports): Sink,
    Sender(client): Sender,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (body, _counted) = read_body(&reports.limit(JSON_MAX), request).await?;
    tell(&reports, client, card::of_dead_track(&parse_json(&body)?, &reports.clock.now().to_string())?)
}

/// Sends a card, if there is a chat.
fn tell(reports: &Reports, client: ClientKey, card: String) -> Result<Json<Value>, ApiError> {
    if let Some(feedback) = &reports.feedback {
        feedback.push(client, card).map_err(|why| match why {
            NoPlace::Full => ApiError::overloaded(),
            NoPlace::ClientFull => too_many(EACH),
        })?;
    }
    Ok(Json(json!({ "status": "ok" })))
}

/// Redirects to the start page, also if the report is not kept.
async fn call_quality(
    State(reports): Sink,
    Sender(client): Sender,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let headers = request.headers().clone();
    let (body, _) = read_body(&BodyLimit::SHORT, request).await?;
    let form = Form::parse(&headers, body).await?;
    let issues = form.field("experiencedIssues");
    let issues = issues.ok_or_else(|| ApiError::invalid("Set `experiencedIssues` to true or false."))?;
    let meeting = name(given("meetingId", form.field("meetingId"))?);
    let (issues, version) = (u8::from(issues == "true"), env!("CARGO_PKG_VERSION"));
    let quality = json!({ "experiencedIssues": issues, "version": version, "meetingId": meeting });
    reports.note(QUALITY, client, quality).await;
    Ok((StatusCode::FOUND, [(LOCATION, "/")]))
}

async fn refresh(State(reports): Sink, Sender(client): Sender) -> StatusCode {
    if reports.note(REFRESH, client, json!({})).await { StatusCode::CREATED } else { StatusCode::OK }
}

async fn debug_info(State(reports): Sink, RawQuery(query): RawQuery) -> Result<impl IntoResponse, ApiError> {
    let id = parameters(query.as_deref(), "id").into_iter().find(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiError::invalid("Name the report with the parameter `id`."))?.into_owned();
    let found = reports.on_disk(move |store, now| store.read(&id, now)).await;
    let gone = || ApiError::not_found("Ask for a new report: this one is gone after seven days.");
    let report = found.ok_or_else(ApiError::internal)?.ok_or_else(gone)?;
    Ok(([(CONTENT_TYPE, "application/json"), NO_SNIFF], report))
}

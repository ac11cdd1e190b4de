//! Reports of Orange's page: bugs, tracks without media, the quality of a call. Anyone can send one. A route is a 404 without the
//! directory or the chat that it needs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use turn_base::body::{BodyLimit, gather, parse_json};
use turn_base::error::ApiError;
use turn_base::random;
use turn_base::request::client_addr::ClientAddr;
use turn_base::request::query::parameters;
use turn_ledger::ClientKey;
use turn_signaling::uuid::uuid;

use super::card::{self, BugInfo, NAME_MAX, bounded};
use super::store::{QUALITY, REFRESH};
use super::{EACH, Reports};
use crate::form::Form;
use crate::occupancy::NoPlace;
use crate::server::Signaling;

/// The longest form, in bytes. A bug report contains what its page saw.
pub const FORM_MAX: usize = 1024 * 1024;
/// The longest JSON, in bytes.
pub const JSON_MAX: usize = 64 * 1024;
const NO_SNIFF: (HeaderName, &str) = (HeaderName::from_static("x-content-type-options"), "nosniff");

type Sink = State<Arc<Reports>>;

/// The JSON of a response, or why there is none.
type JsonResult<T> = Result<Json<T>, ApiError>;

/// The routes for reports of pages, without the rule about origins.
pub fn routes<S: Clone + Send + Sync + 'static>(server: &Signaling) -> Router<S> {
    let Some(reports) = &server.reports else { return Router::new() };
    let (has_store, has_chat) = (reports.store.is_some(), reports.feedback.is_some());
    let long = |bytes_max| BodyLimit::long(bytes_max, &server.service.long_bodies);
    // The layers of a POST: another method is refused without them, and counts against no rate.
    let limited = |body: BodyLimit| {
        ServiceBuilder::new()
            .layer(from_fn_with_state(Arc::clone(reports), limit))
            .layer(from_fn_with_state(body, gather))
    };
    let mut router = Router::new()
        .route("/call-quality-feedback", post(call_quality).route_layer(limited(BodyLimit::SHORT)))
        .route("/api/reportRefresh", post(refresh).route_layer(limited(BodyLimit::SHORT)));
    if has_store || has_chat {
        router = router.route("/api/bugReport", post(bug).route_layer(limited(long(FORM_MAX))));
    }
    if has_chat {
        router = router.route("/api/deadTrack", post(dead_track).route_layer(limited(long(JSON_MAX))));
    }
    router.with_state(Arc::clone(reports))
}

/// The route of kept reports, which people open from a chat.
pub fn kept<S: Clone + Send + Sync + 'static>(server: &Signaling) -> Router<S> {
    let Some(reports) = server.reports.as_ref().filter(|reports| reports.store.is_some()) else {
        return Router::new();
    };
    Router::new().route("/api/debugInfo", get(debug_info)).with_state(Arc::clone(reports))
}

/// Passes a request on if its client may send a report now.
async fn limit(
    State(reports): Sink,
    Extension(ClientAddr(address)): Extension<ClientAddr>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    reports.take(ClientKey::of(address)).map_err(too_many)?;
    Ok(next.run(request).await)
}

fn too_many(retry_in: Duration) -> ApiError {
    let message = "Send fewer reports: ten at once, then one a minute.";
    ApiError::too_many("Too many reports", message, retry_in)
}

async fn bug(
    State(reports): Sink,
    Extension(ClientAddr(address)): Extension<ClientAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> JsonResult<Value> {
    let client = ClientKey::of(address);
    let form = Form::parse(&headers, body).await?;
    let mut info: BugInfo = parse_json(form.field("info").unwrap_or_default().as_bytes())?;
    let history = if reports.store.is_some() { info.room_history.take() } else { None };
    let id = uuid(u128::from_be_bytes(random::bytes()?));
    let link = if history.is_some() { reports.link(&id) } else { None };
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let card = card::of_bug(&info, form.field("description"), agent, link.as_deref())?;
    if let Some(history) = history {
        let kept = reports.on_disk(move |store, now| store.keep(&id, history.get().as_bytes(), client, now));
        kept.await.ok_or_else(ApiError::internal)?;
    }
    tell(&reports, client, card)
}

async fn dead_track(
    State(reports): Sink,
    Extension(ClientAddr(address)): Extension<ClientAddr>,
    body: Bytes,
) -> JsonResult<Value> {
    tell(
        &reports,
        ClientKey::of(address),
        card::of_dead_track(&parse_json(&body)?, &reports.now().to_string())?,
    )
}

/// Sends a card, if there is a chat.
fn tell(reports: &Reports, client: ClientKey, card: String) -> JsonResult<Value> {
    let told = reports.feedback.as_ref().map_or(Ok(()), |feedback| feedback.push(client, card));
    told.map_err(|why| match why {
        NoPlace::Full => ApiError::overloaded(),
        NoPlace::ClientFull => too_many(EACH),
    })?;
    Ok(Json(json!({ "status": "ok" })))
}

/// Redirects to the start page, also if the report is not kept.
async fn call_quality(
    State(reports): Sink,
    Extension(ClientAddr(address)): Extension<ClientAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let form = Form::parse(&headers, body).await?;
    let issues = form.field("experiencedIssues");
    let issues = issues.ok_or_else(|| ApiError::invalid("Set `experiencedIssues` to true or false."))?;
    let meeting = bounded("meetingId", form.field("meetingId"), 1..=NAME_MAX)?;
    let (issues, version) = (u8::from(issues == "true"), env!("CARGO_PKG_VERSION"));
    let quality = json!({ "experiencedIssues": issues, "version": version, "meetingId": meeting });
    note(&reports, QUALITY, ClientKey::of(address), quality).await;
    Ok((StatusCode::FOUND, [(LOCATION, "/")]).into_response())
}

async fn refresh(State(reports): Sink, Extension(ClientAddr(address)): Extension<ClientAddr>) -> StatusCode {
    if note(&reports, REFRESH, ClientKey::of(address), json!({})).await {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

/// Adds a note with the time. `false` if it is not kept.
async fn note(reports: &Reports, kind: &'static str, client: ClientKey, mut note: Value) -> bool {
    note["at"] = json!(reports.now().to_string());
    reports.on_disk(move |store, now| store.note(kind, &note.to_string(), client, now)).await.unwrap_or(false)
}

async fn debug_info(State(reports): Sink, RawQuery(query): RawQuery) -> Result<impl IntoResponse, ApiError> {
    let id = parameters(query.as_deref(), "id").into_iter().find(|id| !id.is_empty()).map(Cow::into_owned);
    let id = id.ok_or_else(|| ApiError::invalid("Name the report with the parameter `id`."))?;
    let found = reports.on_disk(move |store, now| store.read(&id, now)).await;
    let gone = || ApiError::not_found("Ask for a new report: this one is gone after seven days.");
    let report = found.ok_or_else(ApiError::internal)?.ok_or_else(gone)?;
    Ok(([(CONTENT_TYPE, "application/json"), NO_SNIFF], report))
}

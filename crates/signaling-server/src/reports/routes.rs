//! The routes for reports of Orange's page. A route is a 404 without the directory or the receiver that it needs.

use axum::Json;
use axum::extract::{FromRequestParts, RawQuery};
use axum::http::header::{LOCATION, USER_AGENT};
use axum::http::request::Parts;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use turn_base::body::read;
use turn_base::{BODY_MAX, parameters, parse_json, parse_web_url};

use super::Reports;
use crate::form::Form;
use crate::prelude::*;
use crate::routes::with_state;

/// The longest form, in bytes. A bug report contains what its page saw.
pub const FORM_MAX: usize = 1024 * 1024;
/// The longest JSON, in bytes.
pub const JSON_MAX: usize = 64 * 1024;

type Sink = State<Arc<Reports>>;
type Recorded = Result<Json<Value>, ApiError>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bug<'a> {
    description: &'a str,
    user_agent: &'a str,
    info: BugInfo,
}

/// What the page knows of a bug.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct BugInfo {
    room_name: String,
    identity: Option<Identity>,
    url: String,
    /// The page's log of the room. Contains session descriptions.
    room_history: Option<Box<RawValue>>,
}

#[derive(Deserialize, Serialize)]
#[serde(expecting = "an object")]
struct Identity {
    name: Option<String>,
}

/// A track from which nothing arrives.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadTrack {
    pull_session_trace: String,
    pushed_session_trace: String,
    track_id: String,
    pulling_user: Option<String>,
    pushing_user: Option<String>,
    meeting_id: Option<String>,
}

/// The routes for reports of pages.
pub fn routes<S>(reports: Option<&Arc<Reports>>) -> Vec<(String, MethodRouter<S>)> {
    let mut routes =
        vec![("/call-quality-feedback", post(call_quality)), ("/api/reportRefresh", post(refresh))];
    if reports.is_some_and(|reports| reports.file.is_some() || reports.receiver.is_some()) {
        routes.extend([("/api/bugReport", post(bug)), ("/api/deadTrack", post(dead_track))]);
    }
    with_state(reports, routes)
}

/// The route of kept reports, which people open.
pub fn kept<S>(reports: Option<&Arc<Reports>>) -> Vec<(String, MethodRouter<S>)> {
    with_state(reports.filter(|reports| reports.file.is_some()), [("/api/debugInfo", get(debug_info))])
}

/// A client whose rate allowed one more request. To read a report counts like a report, because it searches the file.
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

async fn bug(State(reports): Sink, Sender(client): Sender, request: Request) -> Recorded {
    let (parts, body) = request.into_parts();
    let (body, _counted) = read(&reports.service.bodies, &parts, body, FORM_MAX).await?;
    let form = Form::parse(&parts.headers, body).await?;
    let info: BugInfo = parse_json(form.field("info").unwrap_or_default().as_bytes())?;
    given("roomName", Some(&info.room_name))?;
    if parse_web_url(&info.url).is_none() {
        return Err(ApiError::invalid("Set `url` to an http: or https: URL."));
    }
    let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let description = given("description", form.field("description"))?;
    record(&reports, client, "bug", &Bug { description, user_agent: given("User-Agent", agent)?, info }).await
}

async fn dead_track(State(reports): Sink, Sender(client): Sender, request: Request) -> Recorded {
    let (parts, body) = request.into_parts();
    let (body, _counted) = read(&reports.service.bodies, &parts, body, JSON_MAX).await?;
    let track: DeadTrack = parse_json(&body)?;
    given("trackId", Some(&track.track_id))?;
    record(&reports, client, "deadTrack", &track).await
}

/// Appends a report and posts it.
async fn record(to: &Reports, client: ClientKey, kind: &'static str, report: &impl Serialize) -> Recorded {
    let line = to.line(kind, report)?;
    to.keep(client, line.clone()).await?;
    to.post(line).await;
    Ok(Json(json!({ "status": "ok" })))
}

/// A text that a report must have.
fn given<'a>(field: &str, text: Option<&'a str>) -> Result<&'a str, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    text.ok_or_else(|| ApiError::invalid(format!("Set `{field}` to a text that is not empty.")))
}

/// Redirects to the start page, also if the report is not kept.
async fn call_quality(
    State(reports): Sink,
    Sender(client): Sender,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let (parts, body) = request.into_parts();
    let (body, _counted) = read(&reports.service.bodies, &parts, body, BODY_MAX).await?;
    let form = Form::parse(&parts.headers, body).await?;
    let issues = form.field("experiencedIssues");
    let issues = issues.ok_or_else(|| ApiError::invalid("Set `experiencedIssues` to true or false."))?;
    let meeting = given("meetingId", form.field("meetingId"))?;
    let (issues, version) = (u8::from(issues == "true"), env!("CARGO_PKG_VERSION"));
    let quality = json!({ "experiencedIssues": issues, "version": version, "meetingId": meeting });
    let _ = reports.keep(client, reports.line("quality", &quality)?).await;
    Ok((StatusCode::FOUND, [(LOCATION, "/")]))
}

async fn refresh(State(reports): Sink, Sender(client): Sender) -> Result<StatusCode, ApiError> {
    let kept = reports.keep(client, reports.line("refresh", &json!({}))?).await;
    Ok(if matches!(kept, Ok(true)) { StatusCode::CREATED } else { StatusCode::OK })
}

/// What the page of a bug report saw.
async fn debug_info(
    State(reports): Sink,
    _: Sender,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let id = parameters(query.as_deref(), "id").into_iter().find(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiError::invalid("Name the report with the parameter `id`."))?;
    let gone = || ApiError::not_found("Ask for a new report: the file has none with this `id`.");
    // With both quotes, so that only a whole id finds something.
    let start = format!(r#"{{"id":{},"#, Value::from(id));
    let line = reports.on_disk(move |file| file.find_line(&start)).await?.flatten().ok_or_else(gone)?;
    let mut line: Value = serde_json::from_str(&line).map_err(|_| ApiError::internal())?;
    let history = line["report"]["info"]["roomHistory"].take();
    if history.is_null() { Err(gone()) } else { Ok(Json(history)) }
}

//! A fake SFU on loopback: sessions with tracks, as far as a proxy can tell. A test plans faults and changes the state of tracks.
//!
//! Invariant: a request is in [`FakeSfu::history`] with its exact bytes before its response is sent.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::response::{IntoResponse, Response};

use super::http_server::{HttpServer, Received};
use crate::support::prelude::*;

pub(crate) const SFU_SECRET: &str = "sfu-fixture-secret";
pub(crate) const SFU_APP: &str = "app-1";

/// The settings of the app at the SFU with this URL.
pub(crate) fn sfu_at(url: &str) -> [(&str, &str); 4] {
    [
        ("SIGNALING", "sfu"),
        ("CALLS_APP_ID", SFU_APP),
        ("CALLS_APP_SECRET", SFU_SECRET),
        ("CALLS_API_URL", url),
    ]
}

/// The response to one request, in place of the usual one.
#[derive(Clone, Debug)]
pub(crate) enum SfuFault {
    /// This status with a JSON error.
    Json(u16),
    /// This status with HTML.
    Html(u16),
    /// A redirect.
    Redirect,
    /// JSON without a session, at status 200.
    ErrorAt200,
    /// More than any client reads.
    Huge,
}

/// The SFU. Dropping it stops it.
pub(crate) struct FakeSfu {
    core: Arc<Core>,
    server: HttpServer,
}

#[derive(Default)]
struct Core {
    plan: Mutex<VecDeque<SfuFault>>,
    history: Mutex<Vec<Received>>,
    sessions: Mutex<BTreeMap<String, BTreeMap<String, Value>>>,
}

impl FakeSfu {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        let core = Arc::new(Core::default());
        let router = Router::new().fallback(respond).with_state(Arc::clone(&core));
        Self { core, server: HttpServer::start(router).await }
    }

    /// The value of `CALLS_API_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.server.address)
    }

    /// The next request gets this.
    pub(crate) fn next(&self, fault: SfuFault) {
        self.core.plan.lock().unwrap().push_back(fault);
    }

    /// All requests so far.
    pub(crate) fn history(&self) -> Vec<Received> {
        self.core.history.lock().unwrap().clone()
    }

    /// The requests whose path ends so.
    pub(crate) fn requests(&self, end: &str) -> Vec<Received> {
        let path = |request: &Received| request.path.split('?').next().unwrap_or_default().to_owned();
        self.history().into_iter().filter(|request| path(request).ends_with(end)).collect()
    }

    /// How many tracks a session has.
    pub(crate) fn tracks(&self, session: &str) -> usize {
        self.core.sessions.lock().unwrap().get(session).map_or(0, BTreeMap::len)
    }

    /// Forgets a session, as after half a minute without its browser.
    pub(crate) fn forget(&self, session: &str) {
        self.core.sessions.lock().unwrap().remove(session);
    }
}

async fn respond(State(core): State<Arc<Core>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let received = Received::of(request).await;
    let is_authorized = received.header("authorization") == Some(&*format!("Bearer {SFU_SECRET}"));
    core.history.lock().unwrap().push(received.clone());
    let fault = core.plan.lock().unwrap().pop_front();
    if let Some(fault) = fault {
        return fault_response(&fault);
    }
    if !is_authorized {
        return error(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    let Some(rest) = path.strip_prefix(&format!("/v1/apps/{SFU_APP}/sessions/")) else {
        return error(StatusCode::NOT_FOUND, "not_found");
    };
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    let mut sessions = core.sessions.lock().unwrap();
    if rest == "new" {
        let id = format!("{:032x}", sessions.len() + 1);
        sessions.insert(id.clone(), BTreeMap::new());
        let cookie = (SET_COOKIE, "upstream=1");
        return (StatusCode::CREATED, [cookie], json!({ "sessionId": id }).to_string()).into_response();
    }
    let (id, call) = rest.split_once('/').unwrap_or((rest, ""));
    let known: Vec<String> = sessions.keys().cloned().collect();
    let Some(tracks) = sessions.get_mut(id) else { return error(StatusCode::GONE, "session_error") };
    let answer = match (received.method.as_str(), call) {
        ("GET", "") => {
            let (channels, tracks): (Vec<_>, Vec<_>) =
                tracks.values().partition(|item| item["dataChannelName"].is_string());
            json!({ "tracks": tracks, "dataChannels": channels })
        }
        ("POST", "tracks/new") => new_tracks(tracks, &known, &body),
        ("PUT", "tracks/close") => close_tracks(tracks, &body),
        ("POST", "datachannels/new") => new_channels(tracks, &body),
        ("PUT", "datachannels/update") => update_channels(tracks, &body),
        ("PUT", "datachannels/close") => close_channels(tracks, &body),
        _ => json!({}),
    };
    json_response(StatusCode::OK, &answer)
}

fn new_tracks(tracks: &mut BTreeMap<String, Value>, known: &[String], body: &Value) -> Value {
    let wanted = body["tracks"].as_array().cloned().unwrap_or_default();
    let mut answers = vec![];
    for track in wanted {
        let mid = track["mid"].as_str().map_or_else(|| tracks.len().to_string(), str::to_owned);
        let is_remote = track["location"] == "remote";
        let is_unknown = is_remote && !known.iter().any(|id| track["sessionId"] == id.as_str());
        if is_unknown {
            answers.push(json!({ "mid": mid, "errorCode": "not_found_track_error" }));
            continue;
        }
        let mut answer = json!({ "trackName": track["trackName"], "mid": mid });
        if is_remote {
            answer["sessionId"] = track["sessionId"].clone();
        }
        answers.push(answer.clone());
        answer["location"] = track["location"].clone();
        answer["status"] = "active".into();
        tracks.insert(mid, answer);
    }
    json!({ "tracks": answers, "requiresImmediateRenegotiation": false })
}

fn close_tracks(tracks: &mut BTreeMap<String, Value>, body: &Value) -> Value {
    let closed = body["tracks"].as_array().cloned().unwrap_or_default();
    for mid in closed.iter().filter_map(|track| track["mid"].as_str()) {
        tracks.remove(mid);
    }
    json!({ "tracks": closed })
}

/// Data channels are kept beside the tracks, under a name that no mid has.
fn new_channels(items: &mut BTreeMap<String, Value>, body: &Value) -> Value {
    let wanted = body["dataChannels"].as_array().cloned().unwrap_or_default();
    let mut answers = vec![];
    for mut channel in wanted {
        channel["id"] = json!(items.len());
        items.insert(format!("channel {}", items.len()), channel.clone());
        answers.push(channel);
    }
    json!({ "dataChannels": answers })
}

/// Only what is pulled can be changed.
fn update_channels(items: &BTreeMap<String, Value>, body: &Value) -> Value {
    let mut answers = body["dataChannels"].as_array().cloned().unwrap_or_default();
    for channel in &mut answers {
        let is_same = |item: &&Value| {
            ["sessionId", "dataChannelName"].iter().all(|field| item[field] == channel[field])
        };
        match items.values().find(is_same) {
            Some(item) => channel["id"] = item["id"].clone(),
            None => channel["errorCode"] = "not_found".into(),
        }
    }
    json!({ "dataChannels": answers })
}

fn close_channels(items: &mut BTreeMap<String, Value>, body: &Value) -> Value {
    let closed = body["dataChannels"].as_array().cloned().unwrap_or_default();
    items.retain(|name, item| {
        !name.starts_with("channel ") || !closed.iter().any(|channel| channel["id"] == item["id"])
    });
    json!({ "dataChannels": closed })
}

fn fault_response(fault: &SfuFault) -> Response {
    match fault {
        SfuFault::Json(status) => error(StatusCode::from_u16(*status).unwrap(), "upstream_error"),
        SfuFault::Html(status) => {
            let status = StatusCode::from_u16(*status).unwrap();
            (status, [(CONTENT_TYPE, "text/html")], "<h1>Busy</h1>").into_response()
        }
        SfuFault::Redirect => (StatusCode::FOUND, [(LOCATION, "https://elsewhere.example/")]).into_response(),
        SfuFault::ErrorAt200 => error(StatusCode::OK, "upstream_error"),
        SfuFault::Huge => "x".repeat(2 << 20).into_response(),
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    json_response(status, &json!({ "errorCode": code, "errorDescription": "As the SFU says it" }))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

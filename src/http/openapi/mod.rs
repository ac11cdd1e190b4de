//! The `OpenAPI` document. `openapi.json` describes every route that some setting turns on. A test generates this file
//! from the table of routes, so the program contains the text and no code that makes it. A process serves the part that describes itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::body::Bytes;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::app::App;

const WHOLE: &str = include_str!("openapi.json");

/// The document of this process as it is sent. The first request makes it, so a process that nobody asks holds no copy of the text.
#[derive(Clone)]
pub struct Document(Arc<LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>>);

impl Document {
    /// Describes a process that serves these paths of the table of routes.
    pub fn new(paths: BTreeSet<String>, app: &App) -> Self {
        let accepted = Accepted {
            ttl_max: app.ttl_max.as_secs(),
            regions: app.mint.turn_keys().iter().map(|key| key.name.to_string()).collect(),
            signaling: signaling(app),
        };
        let text = move || Bytes::from(part(&paths, &accepted).to_string());
        Self(Arc::new(LazyLock::new(Box::new(text))))
    }
}

/// What a process accepts.
struct Accepted {
    /// The longest `ttl` of a mint, in seconds.
    ttl_max: u64,
    /// The names of the TURN keys.
    regions: BTreeSet<String>,
    /// The groups of signaling, each with the beginning of its paths where that is a setting: in the document, and here.
    signaling: BTreeMap<&'static str, Option<(&'static str, String)>>,
}

fn signaling(app: &App) -> BTreeMap<&'static str, Option<(&'static str, String)>> {
    let signaling = &app.signaling;
    let p2pcf = signaling.p2pcf.as_ref().map(|p2pcf| Some(("/p2pcf", p2pcf.path().to_owned())));
    let sfu = app.sfu.as_ref().map(|sfu| Some(("/partytracks", sfu.prefix().to_owned())));
    let groups = [
        ("ayame", signaling.ayame.is_some().then_some(None)),
        ("p2pcf", p2pcf),
        ("peerjs", signaling.peerjs.is_some().then_some(None)),
        ("reports", signaling.reports.is_some().then_some(None)),
        ("rooms", signaling.rooms.is_some().then_some(None)),
        ("sfu", sfu),
        ("yjs", signaling.yjs.is_some().then_some(None)),
    ];
    groups.into_iter().filter_map(|(group, served)| Some((group, served?))).collect()
}

/// The part of the document that describes these paths and their schemas, with what the process accepts.
fn part(paths: &BTreeSet<String>, accepted: &Accepted) -> Value {
    let mut document: Value = serde_json::from_str(WHOLE).expect("a test generates the file");
    if let Some(described) = document["paths"].as_object_mut() {
        *described = std::mem::take(described)
            .into_iter()
            .filter_map(|(path, item)| Some((served_as(path, &item, paths, accepted)?, item)))
            .collect();
        described.values_mut().for_each(|item| describe_accepted(item, accepted));
    }
    // One round for each schema that only another one names.
    loop {
        let text = document.to_string();
        let Some(schemas) = document["components"]["schemas"].as_object_mut() else { break };
        let before = schemas.len();
        schemas.retain(|name, _| text.contains(&format!("/schemas/{name}\"")));
        if schemas.len() == before {
            break;
        }
    }
    document
}

/// The path of an item in this process. `None` if it is not served.
fn served_as(path: String, item: &Value, paths: &BTreeSet<String>, accepted: &Accepted) -> Option<String> {
    if paths.contains(&path) {
        return Some(path);
    }
    let group = item.as_object()?.values().next()?["tags"][0].as_str()?;
    Some(match accepted.signaling.get(group)? {
        Some((described, served)) => path.replacen(described, served, 1),
        None => path,
    })
}

fn describe_accepted(item: &mut Value, accepted: &Accepted) {
    let operations = item.as_object_mut().into_iter().flat_map(|item| item.values_mut());
    let parameters =
        operations.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten();
    for parameter in parameters {
        match parameter["name"].as_str() {
            Some("ttl") => parameter["schema"]["maximum"] = accepted.ttl_max.into(),
            Some("region") => {
                // An empty one is none.
                let names = accepted.regions.iter().map(String::as_str).chain([""]);
                parameter["schema"]["enum"] = names.collect();
            }
            _ => {}
        }
    }
}

/// Returns this document.
///
/// It describes what this process serves, except pages. Any page may read it.
#[utoipa::path(
    get, path = "/openapi.json",
    responses((status = 200, description = "An OpenAPI 3.1 document.", content_type = "application/json", body = Object))
)]
pub async fn get_open_api(Extension(Document(text)): Extension<Document>) -> Response {
    // Tools that show it are pages of other origins.
    let headers = [(CONTENT_TYPE, "application/json"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, Bytes::clone(&text)).into_response()
}

//! The `OpenAPI` document. `openapi.json` describes every route that some setting turns on. A test generates this file
//! from the table of routes, so the program contains the text and no code that makes it. A process serves the part that describes itself.

use std::collections::BTreeSet;
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
            regions: app.mint.turn_keys().iter().map(|key| key.group.to_string()).collect(),
        };
        let text = move || Bytes::from(part(&paths, &accepted).to_string());
        Self(Arc::new(LazyLock::new(Box::new(text))))
    }
}

/// What a process accepts in the query of a mint.
struct Accepted {
    /// The longest `ttl`, in seconds.
    ttl_max: u64,
    /// The names of the TURN keys.
    regions: BTreeSet<String>,
}

/// The part of the document that describes these paths and their schemas, with what the process accepts.
fn part(paths: &BTreeSet<String>, accepted: &Accepted) -> Value {
    let mut document: Value = serde_json::from_str(WHOLE).expect("a test generates the file");
    if let Some(described) = document["paths"].as_object_mut() {
        described.retain(|path, _| paths.contains(path));
        described.values_mut().for_each(|item| describe_accepted(item, accepted));
    }
    let text = document.to_string();
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.retain(|name, _| text.contains(&format!("/schemas/{name}\"")));
    }
    document
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
/// It describes what this process serves, except pages, and signaling, which has the protocols of its clients. Any page may read it.
#[utoipa::path(
    get, path = "/openapi.json",
    responses((status = 200, description = "An OpenAPI 3.1 document.", content_type = "application/json", body = Object))
)]
pub async fn get_open_api(Extension(Document(text)): Extension<Document>) -> Response {
    // Tools that show it are pages of other origins.
    let headers = [(CONTENT_TYPE, "application/json"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, Bytes::clone(&text)).into_response()
}

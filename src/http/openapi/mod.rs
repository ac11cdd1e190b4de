//! The `OpenAPI` document. `openapi.json` describes every route that some setting turns on. A test generates this file
//! from the table of routes, so the program contains the text and no code that makes it. A process serves the part that describes itself.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::body::Bytes;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::app::{App, BrokerCore};

const WHOLE: &str = include_str!("openapi.json");

/// The document of this process as it is sent. The first request makes it, so a process that nobody asks holds no copy of the text.
#[derive(Clone)]
pub struct Document(Arc<LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>>);

impl Document {
    /// Describes a process that serves these paths of the table of routes.
    pub fn new(paths: BTreeSet<String>, app: &App) -> Self {
        let core = Arc::clone(&app.core);
        let text = move || Bytes::from(part(&paths, &core).to_string());
        Self(Arc::new(LazyLock::new(Box::new(text))))
    }
}

/// The part of the document that describes these paths and their schemas, with what the process accepts.
fn part(paths: &BTreeSet<String>, core: &BrokerCore) -> Value {
    let mut document: Value = serde_json::from_str(WHOLE).expect("a test generates the file");
    if let Some(described) = document["paths"].as_object_mut() {
        *described = std::mem::take(described)
            .into_iter()
            .flat_map(|(path, item)| served_as(path, item, paths, core).unwrap_or_default())
            .collect();
        described.values_mut().for_each(|item| describe_accepted(item, core));
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

/// An item at each of its paths in this process. `None` if it is not served.
fn served_as(
    path: String,
    item: Value,
    paths: &BTreeSet<String>,
    core: &BrokerCore,
) -> Option<Vec<(String, Value)>> {
    if paths.contains(&path) {
        return Some(vec![(path, item)]);
    }
    let group = item.as_object()?.values().next()?["tags"][0].as_str()?;
    let (described, served) = core.config.signaling.paths_of(group)?;
    let at = |(number, prefix): (usize, &str)| {
        (path.replacen(described, prefix, 1), with_own_names(item.clone(), number))
    };
    Some((1..).zip(served).map(at).collect())
}

/// The item with an `operationId` of its own: at the second path it ends in 2, at the third in 3.
fn with_own_names(mut item: Value, number: usize) -> Value {
    for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
        if number > 1
            && let Some(name) = operation["operationId"].as_str()
        {
            operation["operationId"] = format!("{name}{number}").into();
        }
    }
    item
}

fn describe_accepted(item: &mut Value, core: &BrokerCore) {
    let operations = item.as_object_mut().into_iter().flat_map(|item| item.values_mut());
    let parameters =
        operations.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten();
    for parameter in parameters {
        match parameter["name"].as_str() {
            Some("ttl") => parameter["schema"]["maximum"] = core.config.ice.ttl_max.as_secs().into(),
            Some("region") => {
                // An empty one is none.
                let keys = core.mint.turn_keys().iter();
                let names: BTreeSet<&str> = keys.map(|key| key.name.as_str()).collect();
                parameter["schema"]["enum"] = names.into_iter().chain([""]).collect();
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

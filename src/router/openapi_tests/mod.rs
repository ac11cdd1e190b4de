//! `openapi.json`, generated from the table of routes. After a change of what they serve, write the file again:
//! `UPDATE_OPENAPI=1 cargo test --locked -p turn-broker --lib openapi`. What it says of signaling is kept there by hand, because those
//! packages follow the protocols of clients. tests/it/openapi.rs compares that with what is served, and tests/api compiles clients that
//! are generated from it.

mod shared;

use std::sync::Arc;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Serializer, Value};
use turn_base::SystemClock;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::table;
use crate::app;
use crate::config::{Config, Environment};
use crate::http::route::{ErrorForm, Group};
use crate::http::wire_formats::OLDER_MATRIX_PATHS;
use crate::telemetry::log::LostLines;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/openapi.json");

#[tokio::test]
async fn the_file_is_what_the_routes_say() {
    let file = std::fs::read_to_string(PATH).unwrap();
    let mut document = generate();
    add_signaling(&mut document, &serde_json::from_str(&file).unwrap());
    let expected = pretty(&document);
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(PATH, expected).unwrap();
        return;
    }
    assert!(
        file == expected,
        "src/web/openapi.json is not what the routes say. Write it again: UPDATE_OPENAPI=1 cargo test --locked -p turn-broker --lib openapi"
    );
}

/// One space for each level: the program contains the file.
fn pretty(document: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" "));
    document.serialize(&mut serializer).unwrap();
    String::from_utf8(text).unwrap() + "\n"
}

#[derive(OpenApi)]
#[openapi(
    info(title = "turn-broker", description = include_str!("about.md")),
    servers((url = "/")),
    security(()), // the default: no token
    tags(
        (name = "credentials", description = "The mint. Every request counts against the client's rate limit; renewals have one of their own. Every credential reserves a part of the budget."),
        (name = "cloudflare", description = "The mint as Cloudflare's API has it, for programs that hold a server key."),
        (name = "connections", description = "Reports of connections, the input of the usage estimate. A client reports its own connections with its grant. An app server reports any connection with its server key or the reporter token. Every call is idempotent."),
        (name = "budget", description = "Used and remaining bandwidth. Public; it contains no data about users."),
        (name = "operator", description = "Figures and overrides for the operator of the service. Without an `OPERATOR_TOKEN` these routes do not exist."),
        (name = "health", description = "Health checks for the operator of the container. Never rejected because of overload."),
        (name = "browser", description = "The browser module, and this document."),
    ),
)]
struct Head;

const TOKENS: [(&str, &str); 5] = [
    ("grant", "The `grant` of your credentials."),
    ("user", "A JWT of your sign-in. Only with `AUTH_JWT_SECRET` or `AUTH_JWKS_URL`."),
    ("server", "One of `SERVER_KEYS`, for programs that mint for their users."),
    ("reporter", "`REPORTER_TOKEN`, for app servers."),
    ("operator", "`OPERATOR_TOKEN`."),
];

/// The tags of what the file says of signaling: the words of `SIGNALING`.
const SIGNALING: [&str; 7] = ["ayame", "p2pcf", "peerjs", "reports", "rooms", "sfu", "yjs"];

/// Adds what the file says of signaling: the tags, the paths with these tags, and the schemas of the SFU.
fn add_signaling(document: &mut Value, file: &Value) {
    let is_signaling = |tag: &Value| SIGNALING.iter().any(|name| tag == name);
    let tags = file["tags"].as_array().unwrap().iter().filter(|tag| is_signaling(&tag["name"])).cloned();
    document["tags"].as_array_mut().unwrap().extend(tags);
    let has_tag =
        |path: &Value| path.as_object().unwrap().values().any(|call| is_signaling(&call["tags"][0]));
    let paths = file["paths"].as_object().unwrap().clone().into_iter().filter(|(_, path)| has_tag(path));
    document["paths"].as_object_mut().unwrap().extend(paths);
    let schemas = file["components"]["schemas"].as_object().unwrap().clone();
    let schemas = schemas.into_iter().filter(|(name, _)| name.starts_with("Sfu"));
    document["components"]["schemas"].as_object_mut().unwrap().extend(schemas);
}

/// The tag of a group.
fn tag(group: &Group) -> &'static str {
    match (group.kind, group.errors) {
        ("mint", ErrorForm::Cloudflare) => "cloudflare",
        ("mint", _) => "credentials",
        (kind, _) => kind,
    }
}

/// The document of the table of a process that serves everything.
fn generate() -> Value {
    let mut document = Head::openapi();
    let components = document.components.get_or_insert_default();
    for (name, description) in TOKENS {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description));
        components.add_security_scheme(name, SecurityScheme::Http(token.build()));
    }
    let settings = Environment::from_pairs([
        ("DOORS", "turn,matrix,ice,link,metered,cloudflare"),
        ("SERVER_KEYS", "app=0123456789-0123456789-0123456789"),
    ]);
    let config = Config::from_env(&settings).unwrap();
    let app = app::build(&config, Arc::new(SystemClock), None, LostLines::default()).unwrap();
    for group in table(&app) {
        for route in &group.routes {
            let mut described = route.described.clone();
            shared::describe(tag(&group), &mut described);
            document.merge(described);
        }
    }
    let mut json = serde_json::to_value(document).unwrap();
    describe_older_matrix_paths(&mut json);
    forget_wrong_words(&mut json);
    json
}

/// They have the description of the current path. Each operation needs a name of its own.
fn describe_older_matrix_paths(json: &mut Value) {
    for path in OLDER_MATRIX_PATHS {
        let mut item = json["paths"]["/_matrix/client/v3/voip/turnServer"].clone();
        let version = path.split('/').skip(3).take_while(|part| *part != "voip");
        let name = version.fold("get_matrix_turn_server".to_owned(), |name, part| name + "_" + part);
        item["get"]["operationId"] = shared::camel_case(&name).into();
        json["paths"][path] = item;
    }
}

/// Removes the formats of integers: ours are unsigned, and utoipa describes a `u64` as `int64`, which ends at 2^63. And defaults that are null:
/// generators of clients take a field with a default for one that is always there.
fn forget_wrong_words(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            if matches!(fields.get("format").and_then(Value::as_str), Some("int32" | "int64")) {
                fields.remove("format");
            }
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            fields.values_mut().for_each(forget_wrong_words);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_wrong_words),
        _ => {}
    }
}

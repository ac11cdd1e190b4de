//! `openapi.json`, generated from the handlers. After a change of what they serve, write the file again:
//! `UPDATE_OPENAPI=1 cargo test --locked -p turn-broker --lib openapi`.

mod browser;
mod error_examples;
mod groups;
mod layers;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Serializer, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Server};

use super::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi/openapi.json");

#[test]
fn the_file_is_what_the_handlers_say() {
    let generated = pretty(&generate());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(PATH, &generated).unwrap();
    }
    let file = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        file == generated,
        "src/http/openapi/openapi.json is not what the handlers say. Write it again: UPDATE_OPENAPI=1 cargo test --locked -p turn-broker --lib openapi"
    );
}

/// One space for each level: the program contains the file.
fn pretty(document: &Value) -> String {
    let mut text = Vec::new();
    document
        .serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" ")))
        .unwrap();
    String::from_utf8(text).unwrap() + "\n"
}

/// The document of a process that serves everything.
fn generate() -> Value {
    let mut document = head();
    for group in groups::all() {
        document.merge(group);
    }
    layers::describe_heads(&mut document);
    layers::describe_waits(&mut document);
    let mut json = serde_json::to_value(document).unwrap();
    forget_integer_formats(&mut json);
    error_examples::add(&mut json);
    json
}

/// All paths without these.
fn paths_without(left_out: &[&str]) -> BTreeSet<String> {
    let mut paths: BTreeSet<_> = whole()["paths"].as_object().unwrap().keys().cloned().collect();
    for path in left_out {
        assert!(paths.remove(*path), "{path} is described");
    }
    paths
}

fn accepted<const N: usize>(ttl_max: u64, regions: [&str; N]) -> Accepted {
    Accepted { ttl_max, regions: regions.map(str::to_owned).into() }
}

#[test]
fn a_path_that_is_not_served_is_left_out_with_the_schemas_that_only_it_uses() {
    let optional = ["/turn", "/_matrix/client/v3/voip/turnServer", "/ice", "/demo", "/demo/{file}"];
    for left_out in (0..=optional.len()).map(|count| &optional[..count]) {
        let paths = paths_without(left_out);
        let document = part(&paths, &accepted(60, []));
        assert_eq!(document["paths"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), paths);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas.contains_key("TurnRestBody"), left_out.len() < 2);
        assert_eq!(schemas.contains_key("StunnerBody"), left_out.len() < 3);
        let text = document.to_string();
        let referred: BTreeSet<_> = text
            .split("\"#/components/schemas/")
            .skip(1)
            .map(|text| text.split('"').next().unwrap())
            .collect();
        assert_eq!(referred, schemas.keys().map(String::as_str).collect());
    }
}

#[test]
fn a_mint_is_described_with_the_longest_life_and_the_keys_of_the_process() {
    let paths = paths_without(&[]);
    let document = part(&paths, &accepted(7_200, ["us", "eu"]));
    let mut expected = whole();
    for path in ["/api/turn-credentials", "/turn", "/_matrix/client/v3/voip/turnServer", "/ice"] {
        let parameters = expected["paths"][path]["get"]["parameters"].as_array_mut().unwrap();
        let mut set = |name: &str, key: &str, value: Value| {
            let parameter = parameters.iter_mut().find(|parameter| parameter["name"] == name).unwrap();
            assert_eq!(parameter["schema"][key], Value::Null);
            parameter["schema"][key] = value;
        };
        set("ttl", "maximum", json!(7_200));
        set("region", "enum", json!(["eu", "us", ""]));
    }
    assert!(document == expected, "nothing else is changed");
}

const ABOUT: &str = "TURN credentials for WebRTC, under a monthly bandwidth budget.

Times are UTC, RFC 3339. GB is 10^9 bytes; figures in GB with two decimals are strings, so that both decimals are kept. Unknown fields in a request are ignored. New fields may be added to responses.

Every response has the header `x-request-id`; the log line of the request contains the same id. Of refusals that a client can repeat without end, such as `RATE_LIMITED`, the log has one line in 10 s, and it counts the others. Every error response is JSON in one form, with a stable `code`, and never contains a token or a credential. An unknown path returns `NOT_FOUND` (404), an unknown method of a path `METHOD_NOT_ALLOWED` (405, with `Allow`). With `ALLOWED_HOSTS`, a request for another host returns `MISDIRECTED_REQUEST` (421), except from a health check. Responses must not be stored (`Cache-Control: no-store`), except for what a browser loads.

A page of an origin in `CLIENT_URL` may call everything under `/api/` and read `Retry-After`, `RateLimit-*` and `x-request-id`.

The routes of `SIGNALING` follow the protocols of their clients (Ayame, PeerJS, y-webrtc, P2PCF, partysocket, partytracks), so they are not listed.";

/// The groups of operations, in the order in which they are shown.
const TAGS: [&str; 6] = [
    "credentials: The mint. Every request counts against the client's rate limit; renewals have one of their own. Every credential reserves a part of the budget.",
    "connections: Reports of connections, the input of the usage estimate. A client reports its own connections with its grant. An app server reports any connection with the reporter token. Every call is idempotent.",
    "budget: Used and remaining bandwidth. Public; it contains no data about users.",
    "operator: Figures and overrides for the operator of the service. Without an `OPERATOR_TOKEN` these routes do not exist.",
    "health: Health checks for the operator of the container. Never rejected because of overload.",
    "browser: What a browser loads: the browser module, pages, and this document.",
];

/// Title, version, groups and the four kinds of bearer token.
fn head() -> OpenApi {
    let info =
        InfoBuilder::new().title("turn-broker").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let components = ComponentsBuilder::new()
        .security_scheme("grant", bearer("The `grant` of your credentials."))
        .security_scheme(
            "user",
            bearer("A JWT of your sign-in. Only with `AUTH_JWT_SECRET` or `AUTH_JWKS_URL`."),
        )
        .security_scheme("reporter", bearer("`REPORTER_TOKEN`, for app servers."))
        .security_scheme("operator", bearer("`OPERATOR_TOKEN`."));
    OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(TAGS.map(tag)))
        .components(Some(components.build()))
        .servers(Some([Server::new("/")]))
        .security(Some([SecurityRequirement::default()])) // the default: no token
        .build()
}

fn tag(text: &str) -> Tag {
    let (name, description) = text.split_once(": ").unwrap_or((text, ""));
    TagBuilder::new().name(name).description(Some(description)).build()
}

fn bearer(description: &str) -> SecurityScheme {
    SecurityScheme::Http(
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build(),
    )
}

/// Removes the formats of integers. Ours are unsigned, and utoipa describes a `u64` as `int64`, which ends at 2^63.
fn forget_integer_formats(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            if matches!(fields.get("format").and_then(Value::as_str), Some("int32" | "int64")) {
                fields.remove("format");
            }
            fields.values_mut().for_each(forget_integer_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_integer_formats),
        _ => {}
    }
}

//! The `OpenAPI` document. Its operations come from the table of routes. This module adds what all operations of a group
//! share: the token, and the responses of the layers around the handlers. So each operation lists every response that it can
//! have.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::Number;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::Response as Described;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    Schema, Server, Type,
};

use super::error_examples;
use crate::app::App;
use turn_base::error::Code;

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
pub fn head() -> OpenApi {
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
    let mut document = OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(TAGS.map(tag)))
        .components(Some(components.build()))
        .servers(Some([Server::new("/")]))
        .security(Some([SecurityRequirement::default()])) // the default: no token
        .build();
    document.merge(<SelfDescription as utoipa::OpenApi>::openapi());
    document
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

/// The whole document as it is sent.
#[derive(Clone)]
pub struct Document(Bytes);

impl From<&OpenApi> for Document {
    fn from(document: &OpenApi) -> Self {
        let mut json = serde_json::to_value(document).expect("strings always serialize");
        forget_integer_formats(&mut json);
        error_examples::add(&mut json);
        Self(Bytes::from(json.to_string()))
    }
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

/// The route of the document itself. It serves the finished document, so it cannot be in the table of routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(get_open_api))]
struct SelfDescription;

/// Returns this document.
///
/// It describes exactly what this process serves. `/docs` shows it as a page.
#[utoipa::path(
    get, path = "/openapi.json", tag = "browser",
    responses((status = 200, description = "An OpenAPI 3.1 document.", content_type = "application/json", body = Object))
)]
pub fn get_open_api(Document(json): Document) -> Response {
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

/// The errors of the layers around every API route, one paragraph for each code.
const GUARD_ERRORS: [&str; 2] = [
    "`INTERNAL`: a fault of the service. The log contains it under the `requestId`.",
    "`OVERLOADED`: too many requests are in progress.",
];

/// The errors of every operation with a body.
const BODY_ERRORS: [&str; 2] = [
    "`INVALID_REQUEST`: the body is not a JSON object, has a field of the wrong type, did not arrive within 10 s, or arrived in more than 1,024 chunks.",
    "`PAYLOAD_TOO_LARGE`: the body is longer than 16 KiB.",
];

const MALFORMED: &str = "`INVALID_REQUEST`: the request does not have exactly one `Host`, or has another `Transfer-Encoding` than `chunked`.";
const MISDIRECTED: &str = "`MISDIRECTED_REQUEST`: the `Host` is not in `ALLOWED_HOSTS`. The response has no CORS headers, so a page sees a network error.";

/// The errors of all routes that mint.
const MINT_ERRORS: [&str; 10] = [
    "`INVALID_REQUEST`: `ttl` is not a whole number from 60 to `TURN_TTL_SECONDS`, or `label` has more than 64 characters or one that is not allowed, or `region` is not the name of a TURN key.",
    "`INVALID_TOKEN`: the token is a JWT that is not valid, or has expired.",
    "`UNAUTHORIZED`: there is no valid token, and `AUTH_REQUIRED` is set.",
    "`OVERLOADED`: the keys of `AUTH_JWKS_URL` cannot be fetched, and the token's key is not known.",
    "`USER_BLOCKED`: the operator has blocked the user.",
    "`USER_LIMIT_REACHED`: the user has used `USER_LIMIT_GB`, or in strict mode reserved it. Only with `LIMIT_ACTION=refuse`.",
    "`BUDGET_EXHAUSTED`: the budget is spent, or in strict mode reserved in full. Only with `LIMIT_ACTION=refuse`.",
    "`LEDGER_UNAVAILABLE`: the grant cannot be written to disk, or the clock is in doubt. Only with `LIMIT_ACTION=refuse`.",
    "`ORIGIN_NOT_ALLOWED`: the `Origin` is not in `CLIENT_URL`, another site loads or opens this URL, or a browser prefetches it.",
    "`RATE_LIMITED`: too many requests of this user, from this client address, or from the IPv6 /48 around it.",
];

/// The 429 of every route with a fixed token.
const WRONG_TOKENS: &str = "`RATE_LIMITED`: more than 20 wrong tokens from this client address in a minute. The right token is served at once.";

/// The errors of the routes that report connections.
pub const REPORT_ERRORS: [&str; 3] = [
    "`UNAUTHORIZED`: the request has no token.",
    "`INVALID_GRANT`: the token is neither a grant of this ledger nor the `REPORTER_TOKEN`. Or the grant was revoked. When a connection is opened, also: the grant has expired or was renewed.",
    WRONG_TOKENS,
];

/// The errors of all routes of the operator.
pub const OPERATOR_ERRORS: [&str; 3] = [
    "`UNAUTHORIZED`: the token is missing, or is not the `OPERATOR_TOKEN`.",
    "`NOT_FOUND`: `OPERATOR_TOKEN` is not set.",
    WRONG_TOKENS,
];

const NOT_WRITTEN: &str =
    "`LEDGER_UNAVAILABLE`: the change is in effect, but could not be written, so a restart undoes it.";

/// Adds the responses of the layers around every API route.
pub fn describe_guard(document: &mut OpenApi) {
    for operation in operations(document) {
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            may_be_empty(body);
            fails(operation, &BODY_ERRORS);
        }
        fails(operation, &GUARD_ERRORS);
    }
}

/// Puts the operations into a group, whose callers send one of these tokens, and which has these errors.
pub fn describe_group(document: &mut OpenApi, name: &str, tokens: &[&str], errors: &[&str]) {
    for operation in operations(document) {
        operation.tags = Some(vec![name.to_owned()]);
        if !tokens.is_empty() {
            let tokens = tokens.iter().map(|scheme| SecurityRequirement::new(*scheme, [""; 0]));
            operation.security.get_or_insert_default().splice(..0, tokens);
        }
        fails(operation, errors);
    }
}

/// Names the operations as JavaScript does, and adds the responses to a head that breaks a rule.
pub fn describe_heads(document: &mut OpenApi) {
    for operation in operations(document) {
        operation.operation_id = operation.operation_id.as_deref().map(camel_case);
        fails(operation, &[MALFORMED]);
        if operation.tags.iter().flatten().all(|tag| tag != "health") {
            fails(operation, &[MISDIRECTED]);
        }
    }
}

fn camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_').map(str::to_owned);
    let first = words.next().unwrap_or_default();
    words.fold(first, |name, mut word| {
        word.get_mut(..1).map(str::make_ascii_uppercase);
        name + &word
    })
}

/// Adds the parts that all routes that mint share: token, errors, the rate limit headers, and what this process accepts: the
/// longest life that it issues, and the names of its TURN keys.
pub fn describe_mint(document: &mut OpenApi, app: &App) {
    describe_group(document, "credentials", &["user", "grant"], &MINT_ERRORS);
    let mut regions: Vec<_> = app.mint.turn_keys().iter().map(|key| key.group.to_string()).collect();
    regions.sort_unstable();
    regions.dedup();
    regions.push(String::new());
    for operation in operations(document) {
        for parameter in operation.parameters.iter_mut().flatten() {
            let RefOr::T(parameter) = parameter else { continue };
            let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else { continue };
            match &*parameter.name {
                "ttl" => schema.maximum = Some(seconds_of(app.ttl_max)),
                "region" => schema.enum_values = Some(regions.iter().cloned().map(Value::from).collect()),
                _ => {}
            }
        }
        operation.security.get_or_insert_default().insert(0, SecurityRequirement::default());
        for status in ["200", "400", "401", "429"] {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
                response.headers.extend(rate_headers());
            }
        }
    }
}

fn seconds_of(duration: Duration) -> Number {
    Number::UInt(usize::try_from(duration.as_secs()).unwrap_or(usize::MAX))
}

/// Adds the error that all overrides share.
pub fn describe_overrides(document: &mut OpenApi) {
    operations(document).for_each(|operation| fails(operation, &[NOT_WRITTEN]));
}

/// Adds `Retry-After` to the responses that can have it.
pub fn describe_waits(document: &mut OpenApi) {
    let wait = header(WAIT, 1);
    for operation in operations(document) {
        for status in ["429", "503"] {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
                response.headers.insert("Retry-After".into(), wait.clone().into());
            }
        }
    }
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    let items = document.paths.paths.values_mut();
    items.flat_map(|item| [&mut item.get, &mut item.post, &mut item.delete]).flatten()
}

/// Marks a body without its own description as optional: all its fields are optional.
fn may_be_empty(body: &mut RequestBody) {
    if body.description.is_none() {
        body.required = Some(Required::False);
        body.description = Some("JSON. The `Content-Type` is ignored. An empty body is `{}`.".to_owned());
    }
}

/// Adds errors to the operation: each text begins with its code, which has a status.
fn fails(operation: &mut Operation, errors: &[&str]) {
    for text in errors {
        let code = text.split('`').find_map(|code| code.parse::<Code>().ok());
        let status = code.map_or(StatusCode::INTERNAL_SERVER_ERROR, Code::status);
        let responses = &mut operation.responses.responses;
        let entry = responses.entry(status.as_str().to_owned()).or_insert_with(|| error_response().into());
        let RefOr::T(response) = entry else { continue };
        if !response.description.is_empty() {
            response.description.push_str("\n\n");
        }
        response.description.push_str(text);
    }
}

fn error_response() -> Described {
    let mut response = Described::new("");
    let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    response.content.insert("application/json".into(), content.into());
    response
}

const BURST: &str =
    "Size of a burst, as set by `RATE_LIMIT_REQUESTS`, or for a renewal by `RATE_LIMIT_RENEWALS`.";
const FULL_AGAIN: &str =
    "Seconds. Time until a full burst is accepted again; on a 429, until the next request is accepted.";
const WAIT: &str =
    "Seconds. How long to wait before the next request, rounded up, at least 1. Absent if unknown.";

fn rate_headers() -> [(String, RefOr<Header>); 3] {
    let described = [
        ("RateLimit-Limit", BURST),
        ("RateLimit-Remaining", "Requests that would be accepted now."),
        ("RateLimit-Reset", FULL_AGAIN),
    ];
    described.map(|(name, text)| (name.to_owned(), header(text, 0).into()))
}

fn header(description: &str, minimum: u32) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum)).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

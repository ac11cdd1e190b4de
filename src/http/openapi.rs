//! The `OpenAPI` document. Its paths come from the table of routes; what the layers around a group of routes answer by
//! themselves is added here, by the same table, so that an operation names every answer that it can give.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
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

const ABOUT: &str = "TURN credentials for WebRTC, under a monthly bandwidth budget.

Times are UTC, RFC 3339. GB is 10^9 bytes; figures in GB with two decimals are texts, so that no digit is lost. Fields that are not known are ignored, and new ones may come.

Every answer has `x-request-id`, which is also in the log. Every error answer is JSON in one form, with a stable `code`, and none holds a token or a credential. Any path may answer `NOT_FOUND` (404), any method that it does not have `METHOD_NOT_ALLOWED` (405, with `Allow`). Answers are not to be stored (`Cache-Control: no-store`), but for what a browser loads.

A page of an origin in `CLIENT_URL` may call everything under `/api/` and read `Retry-After`, `RateLimit-*` and `x-request-id`.";

/// The groups, in the order in which people meet them.
const TAGS: [(&str, &str); 6] = [
    (
        "credentials",
        "The mint. Each answer but a renewal's spends one of the client's requests; one with a credential in it holds a part of the budget.",
    ),
    (
        "connections",
        "What feeds the estimate: a client reports its own connections with its grant, an app server any with the reporter token. Each call may be repeated without a second effect.",
    ),
    ("budget", "What was used and what is left. Public, and without names."),
    (
        "operator",
        "Figures and orders for whoever runs the service. Without an `OPERATOR_TOKEN` these do not exist.",
    ),
    ("health", "For whoever runs the container. Never turned away."),
    ("browser", "What a browser loads from here: a module for pages, pages, and this document."),
];

/// Title, version, groups and the three kinds of bearer token.
#[must_use]
pub fn head() -> OpenApi {
    let info =
        InfoBuilder::new().title("turn-broker").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let components = ComponentsBuilder::new()
        .security_scheme("grant", bearer("The `grant` that came with credentials."))
        .security_scheme("reporter", bearer("`REPORTER_TOKEN`, for app servers."))
        .security_scheme("operator", bearer("`OPERATOR_TOKEN`."));
    let mut document = OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(TAGS.map(tag)))
        .components(Some(components.build()))
        .servers(Some([Server::new("/")]))
        .security(Some([SecurityRequirement::default()])) // who says nothing lets anybody in
        .build();
    document.merge(<Itself as utoipa::OpenApi>::openapi());
    document
}

fn tag((name, description): (&str, &str)) -> Tag {
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
        Self(Bytes::from(document.to_json().expect("a tree of texts has a JSON form")))
    }
}

/// Its route is made from the finished document, and so cannot be in the table that it is finished from.
#[derive(utoipa::OpenApi)]
#[openapi(paths(get_document))]
struct Itself;

/// This document.
///
/// It is made from the table of routes, so it holds what this process serves, and nothing else. `/docs` shows it.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenApi",
    tag = "browser",
    responses((status = 200, description = "An OpenAPI 3.1 document", content_type = "application/json", body = Object))
)]
pub fn get_document(Document(json): Document) -> Response {
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

/// What the layers around every API route answer before the handler runs.
pub fn describe_guard(document: &mut OpenApi) {
    for operation in operations(document) {
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            may_be_empty(body);
            let unread = "`INVALID_REQUEST`: the body is no JSON object, has a field of the wrong type, or did not arrive within 10 s.";
            fails(operation, "400", unread);
            fails(operation, "413", "`PAYLOAD_TOO_LARGE`: the body is longer than 16 KiB.");
        }
        fails(operation, "500", "`INTERNAL`: a fault of ours. The log has it under the `requestId`.");
        fails(operation, "503", "`OVERLOADED`: too many requests are under way.");
    }
}

/// What all routes that mint have in common: token, failures, and the headers of the rate.
pub fn describe_mint(document: &mut OpenApi) {
    for operation in operations(document) {
        operation.security = Some(vec![SecurityRequirement::default(), token("grant")]);
        fails(operation, "400", "`INVALID_REQUEST`: `ttl` is no whole number from 60 to `TURN_TTL_SECONDS`.");
        let spent = "`BUDGET_EXHAUSTED`: the budget is spent, or in strict mode promised in full (`LIMIT_ACTION=refuse`).";
        fails(operation, "429", spent);
        let unwritten = "`LEDGER_UNAVAILABLE`: the grant cannot be written to disk (`LIMIT_ACTION=refuse`).";
        fails(operation, "503", unwritten);
        let foreign = "`ORIGIN_NOT_ALLOWED`: the `Origin` is not in `CLIENT_URL`. Without CORS headers: a page sees a network error.";
        fails(operation, "403", foreign);
        fails(operation, "429", "`RATE_LIMITED`: too many requests from this address.");
        for status in ["200", "400", "429"] {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
                response.headers.extend(rate_headers());
            }
        }
    }
}

/// What all calls about one's own connections have in common: who may make them.
pub fn describe_reports(document: &mut OpenApi) {
    for operation in operations(document) {
        operation.security.get_or_insert_default().splice(..0, [token("grant"), token("reporter")]);
        let refused = "`UNAUTHORIZED`: no token at all.\n\n`INVALID_GRANT`: a token that is neither a grant of this ledger nor the `REPORTER_TOKEN`; for opening also a grant that has expired.";
        fails(operation, "401", refused);
    }
}

/// What all overrides have in common.
pub fn describe_overrides(document: &mut OpenApi) {
    for operation in operations(document) {
        let unwritten =
            "`LEDGER_UNAVAILABLE`: it counts, but could not be written, and a restart forgets it.";
        fails(operation, "503", unwritten);
    }
}

/// What the operator's routes answer to others.
pub fn describe_operator(document: &mut OpenApi) {
    for operation in operations(document) {
        operation.security = Some(vec![token("operator")]);
        fails(operation, "401", "`UNAUTHORIZED`: no token, or not the `OPERATOR_TOKEN`.");
        fails(operation, "404", "`NOT_FOUND`: there is no `OPERATOR_TOKEN`.");
    }
}

/// Puts `Retry-After` on the answers that may have it.
pub fn describe_waits(document: &mut OpenApi) {
    for operation in operations(document) {
        for status in ["429", "503"] {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
                let wait =
                    seconds("When to ask again, rounded up, at least 1. Absent where nobody can know.", 1);
                response.headers.insert("Retry-After".into(), wait.into());
            }
        }
    }
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    let items = document.paths.paths.values_mut();
    items.flat_map(|item| [&mut item.get, &mut item.post, &mut item.delete]).flatten()
}

/// Where nothing else is said of a body, every field can be left out, and so can all of them.
fn may_be_empty(body: &mut RequestBody) {
    if body.description.is_none() {
        body.required = Some(Required::False);
        body.description = Some("JSON, whatever the `Content-Type` says. An empty body is `{}`.".to_owned());
    }
}

/// Adds an error to those that the operation names already: a paragraph for each code.
fn fails(operation: &mut Operation, status: &str, said: &str) {
    let responses = &mut operation.responses.responses;
    let entry = responses.entry(status.to_owned()).or_insert_with(|| error_answer().into());
    let RefOr::T(response) = entry else { return };
    if !response.description.is_empty() {
        response.description.push_str("\n\n");
    }
    response.description.push_str(said);
}

fn token(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, [""; 0])
}

fn error_answer() -> Described {
    let mut response = Described::new("");
    let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    response.content.insert("application/json".into(), content.into());
    response
}

fn rate_headers() -> [(String, RefOr<Header>); 3] {
    let count = |description: &str| header(description, Type::Integer, 0);
    [
        ("RateLimit-Limit", count("Requests at once, as set by `RATE_LIMIT_REQUESTS`.")),
        ("RateLimit-Remaining", count("Requests that would pass now.")),
        (
            "RateLimit-Reset",
            seconds("When all of them would pass again; on a refusal, when the next one does.", 0),
        ),
    ]
    .map(|(name, header)| (name.to_owned(), header.into()))
}

fn seconds(description: &str, minimum: u32) -> Header {
    header(&format!("Seconds. {description}"), Type::Integer, minimum)
}

fn header(description: &str, kind: Type, minimum: u32) -> Header {
    let schema = ObjectBuilder::new().schema_type(kind).minimum(Some(minimum)).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

/// A text out of a closed set.
pub fn one_of(names: impl IntoIterator<Item = &'static str>, description: &str) -> RefOr<Schema> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names))
        .description(Some(description))
        .build();
    schema.into()
}

//! What all operations share: the responses of the layers around the handlers. So each operation lists every response that it can
//! have.

use axum::http::StatusCode;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::Response;
use utoipa::openapi::{Content, ObjectBuilder, OpenApi, Ref, RefOr, Required, Type};

use turn_base::error::Code;

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

/// Adds the responses of the layers around every API route.
pub(super) fn describe_guard(document: &mut OpenApi) {
    for operation in operations(document) {
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            may_be_empty(body);
            fails(operation, &BODY_ERRORS);
        }
        fails(operation, &GUARD_ERRORS);
    }
}

/// Names the operations as JavaScript does, and adds the responses to a head that breaks a rule.
pub(super) fn describe_heads(document: &mut OpenApi) {
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

const WAIT: &str =
    "Seconds. How long to wait before the next request, rounded up, at least 1. Absent if unknown.";

/// Adds `Retry-After` to the responses that can have it.
pub(super) fn describe_waits(document: &mut OpenApi) {
    let wait = header(WAIT, 1);
    for operation in operations(document) {
        for status in ["429", "503"] {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
                response.headers.insert("Retry-After".into(), wait.clone().into());
            }
        }
    }
}

pub(super) fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
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
pub(super) fn fails(operation: &mut Operation, errors: &[&str]) {
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

fn error_response() -> Response {
    let mut response = Response::new("");
    let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    response.content.insert("application/json".into(), content.into());
    response
}

pub(super) fn header(description: &str, minimum: u32) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum)).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

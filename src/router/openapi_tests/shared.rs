//! What the operations of a group share: the tokens that callers send, and the responses of the layers around the handlers. So each
//! operation lists every response that it can have.

use axum::http::StatusCode;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ObjectBuilder, OpenApi, Ref, RefOr, Required, Type};

use turn_base::Code;

/// The errors of all routes that mint.
const MINT_ERRORS: [&str; 13] = [
    "`INVALID_REQUEST`: `ttl` is not a whole number from 60 to `TURN_TTL_SECONDS`, or `label` has more than 64 characters or one that is not allowed, or `region` is not the name of a TURN key or a relay.",
    "`INVALID_TOKEN`: the token is a JWT that is not valid, or has expired.",
    "`UNAUTHORIZED`: there is no valid token, and `AUTH_REQUIRED` is set. Or the key that a format reads is none of `SERVER_KEYS`.",
    "`OVERLOADED`: the keys of `AUTH_JWKS_URL` cannot be fetched, and the token's key is not known.",
    "`USER_BLOCKED`: the operator has blocked the user.",
    "`ADDRESS_BLOCKED`: the operator has blocked the client's address.",
    "`USER_LIMIT_REACHED`: the user has used `USER_LIMIT_GB`, or in strict mode reserved it.",
    "`KEY_LIMIT_REACHED`: the server key has used its limit in `SERVER_KEY_LIMITS`, or in strict mode reserved it.",
    "`ADDRESS_LIMIT_REACHED`: the client address has used `ADDRESS_LIMIT_GB` on this UTC day.",
    "`BUDGET_EXHAUSTED`: the budget is spent, or in strict mode reserved in full. Only with `LIMIT_ACTION=refuse`.",
    "`LEDGER_UNAVAILABLE`, `CLOCK_DISAGREES`, `GRANTS_FULL`: the grant cannot be written to disk, the clock is in doubt, or there is no room for the grant. Only with `LIMIT_ACTION=refuse`.",
    "`ORIGIN_NOT_ALLOWED`: the `Origin` is not in `CLIENT_URL`, another site loads or opens this URL, or a browser prefetches it.",
    "`RATE_LIMITED`: too many requests of this user, from this client address, or from the IPv6 /48 around it; or of this server key.",
];

/// The errors of the routes that mint as at Cloudflare.
const SERVER_MINT_ERRORS: [&str; 7] = [
    "`INVALID_REQUEST`: `ttl` is not a whole number from 1 to 172800, or `customIdentifier` is not 1 to 255 characters without control characters.",
    "`USER_BLOCKED`: the operator has blocked the user.",
    "`USER_LIMIT_REACHED`: the user has used `USER_LIMIT_GB`, or in strict mode reserved it.",
    "`KEY_LIMIT_REACHED`: the server key has used its limit in `SERVER_KEY_LIMITS`, or in strict mode reserved it.",
    "`BUDGET_EXHAUSTED`: the budget is spent, or in strict mode reserved in full. Only with `LIMIT_ACTION=refuse`.",
    "`LEDGER_UNAVAILABLE`, `CLOCK_DISAGREES`, `GRANTS_FULL`: the grant cannot be written to disk, the clock is in doubt, or there is no room for the grant. Only with `LIMIT_ACTION=refuse`.",
    "`RATE_LIMITED`: more than `SERVER_KEY_REQUESTS` requests of this key, or more than 20 wrong tokens from this client address in a minute.",
];

/// An error of every route for server keys alone.
const NO_SERVER_KEY: &str = "`UNAUTHORIZED`: the token is missing, or is none of `SERVER_KEYS`.";

/// The 429 of every route with a fixed token.
const WRONG_TOKENS: &str = "`RATE_LIMITED`: more than 20 wrong tokens from this client address in a minute. The right token is served at once.";

/// The errors of the routes that report connections.
const REPORT_ERRORS: [&str; 3] = [
    "`UNAUTHORIZED`: the request has no token.",
    "`INVALID_GRANT`: the token is neither a grant of this ledger, nor one of `SERVER_KEYS`, nor the `REPORTER_TOKEN`. Or the grant was revoked. When a connection is opened, also: the grant has expired or was renewed.",
    WRONG_TOKENS,
];

/// The errors of all routes of the operator.
const OPERATOR_ERRORS: [&str; 4] = [
    "`INVALID_REQUEST`: the query has a parameter that this call does not have.",
    "`UNAUTHORIZED`: the token is missing, or is not the `OPERATOR_TOKEN`.",
    "`NOT_FOUND`: `OPERATOR_TOKEN` is not set.",
    WRONG_TOKENS,
];

/// An error of all changes by the operator.
const NOT_WRITTEN: &str =
    "`LEDGER_UNAVAILABLE`: the change is in effect, but could not be written, so a restart may undo it.";

/// The errors of the layers around every API route, one paragraph for each code.
const GUARD_ERRORS: [&str; 3] = [
    "`INTERNAL`: a fault of the service. The log contains it under the `requestId`.",
    "`OVERLOADED`: too many requests are in progress.",
    "`PAYLOAD_TOO_LARGE`: the body is longer than 16 KiB.",
];

/// An error of every operation that reads a body.
const WRONG_BODY: &str = "`INVALID_REQUEST`: the body is not a JSON object, has a field of the wrong type, did not arrive within 10 s, or arrived in more than 1,024 chunks.";

const MALFORMED: &str = "`INVALID_REQUEST`: the request does not have exactly one `Host`, or has another `Transfer-Encoding` than `chunked`.";
const MISDIRECTED: &str = "`MISDIRECTED_REQUEST`: the `Host` is not in `ALLOWED_HOSTS`. The response has no CORS headers, so a page sees a network error.";

const WAIT: &str =
    "Seconds. How long to wait before the next request, rounded up, at least 1. Absent if unknown.";
const RATE_HEADERS: [(&str, &str); 3] = [
    (
        "RateLimit-Limit",
        "Size of a burst, as set by `RATE_LIMIT_REQUESTS`, for a renewal by `RATE_LIMIT_RENEWALS`, and for a server by `SERVER_KEY_REQUESTS`.",
    ),
    ("RateLimit-Remaining", "Requests that would be accepted now."),
    (
        "RateLimit-Reset",
        "Seconds. Time until a full burst is accepted again; on a 429, until the next request is accepted.",
    ),
];

/// Adds what the operations of `document` share with their group.
pub(super) fn describe(group: &str, document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let is_change = item.get.is_none();
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            if is_change && group == "operator" {
                fails(operation, &[NOT_WRITTEN]);
            }
            describe_operation(group, operation);
        }
    }
}

fn describe_operation(group: &str, operation: &mut Operation) {
    operation.tags = Some(vec![group.to_owned()]);
    operation.operation_id = operation.operation_id.as_deref().map(camel_case);
    let mints = operation.responses.responses.contains_key("201");
    let (tokens, errors): (&[&str], &[&str]) = match group {
        "credentials" => (&["user", "grant", "server"], &MINT_ERRORS),
        "cloudflare" if mints => (&["server"], &SERVER_MINT_ERRORS),
        "cloudflare" => (&["server"], &SERVER_MINT_ERRORS[6..]),
        "connections" => (&["grant", "reporter", "server"], &REPORT_ERRORS),
        "operator" => (&["operator"], &OPERATOR_ERRORS),
        _ => (&[], &[]),
    };
    let no_token = (group == "credentials").then(SecurityRequirement::default);
    let tokens = tokens.iter().map(|token| SecurityRequirement::new(*token, [""; 0]));
    let tokens: Vec<_> = no_token.into_iter().chain(tokens).collect();
    if !tokens.is_empty() {
        operation.security.get_or_insert_default().splice(..0, tokens);
    }
    fails(operation, errors);
    if group == "cloudflare" {
        fails(operation, &[NO_SERVER_KEY]);
    }
    if !matches!(group, "health" | "browser") {
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            // All fields of a body without its own description are optional.
            if body.description.is_none() {
                body.required = Some(Required::False);
                body.description =
                    Some("JSON. The `Content-Type` is ignored. An empty body is `{}`.".to_owned());
            }
            fails(operation, &[WRONG_BODY]);
        }
        fails(operation, &GUARD_ERRORS);
    }
    fails(operation, &[MALFORMED]);
    if group != "health" {
        fails(operation, &[MISDIRECTED]);
    }
    if group == "credentials" {
        add_headers(operation, &["200", "204", "400", "401", "429"], &RATE_HEADERS, 0);
    }
    if group == "cloudflare" && mints {
        add_headers(operation, &["201", "400", "429"], &RATE_HEADERS, 0);
    }
    add_headers(operation, &["429", "503"], &[("Retry-After", WAIT)], 1);
}

pub(super) fn camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_').map(str::to_owned);
    let first = words.next().unwrap_or_default();
    words.fold(first, |name, mut word| {
        word.get_mut(..1).map(str::make_ascii_uppercase);
        name + &word
    })
}

/// Adds errors to the operation: each text begins with its code, which has a status.
fn fails(operation: &mut Operation, errors: &[&str]) {
    for text in errors {
        let code = text.split('`').find_map(|code| code.parse::<Code>().ok());
        let status = code.map_or(StatusCode::INTERNAL_SERVER_ERROR, Code::status);
        let body = || Content::new(Some(Ref::from_schema_name("ErrorBody")));
        let error = || ResponseBuilder::new().content("application/json", body()).build();
        let responses = &mut operation.responses.responses;
        let entry = responses.entry(status.as_str().to_owned()).or_insert_with(|| error().into());
        let RefOr::T(response) = entry else { continue };
        if !response.description.is_empty() {
            response.description.push_str("\n\n");
        }
        response.description.push_str(text);
    }
}

/// Adds headers with a whole number to the responses with these statuses.
fn add_headers(operation: &mut Operation, statuses: &[&str], headers: &[(&str, &str)], minimum: u32) {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum)).build();
    for status in statuses {
        let Some(RefOr::T(response)) = operation.responses.responses.get_mut(*status) else { continue };
        for (name, text) in headers {
            let header = HeaderBuilder::new().schema(Some(schema.clone())).description(Some(*text)).build();
            response.headers.insert((*name).to_owned(), header.into());
        }
    }
}

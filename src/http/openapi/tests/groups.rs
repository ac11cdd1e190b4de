//! The groups of operations: their handlers, and what all operations of a group share.

use utoipa::OpenApi as _;
use utoipa::openapi::header::Header;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, RefOr};

use super::browser;
use super::layers::{describe_guard, fails, header, operations};
use crate::http::{
    alerts, backup, bandwidth_status, calls_live, connections, credentials, health, metrics, openapi,
    operator, overrides, overview, spenders, users, wire_formats,
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    credentials::get_turn_credentials,
    wire_formats::get_turn_rest_credentials,
    wire_formats::get_matrix_turn_server,
    wire_formats::get_stunner_ice,
))]
struct Mint;

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    connections::open_connection,
    connections::heartbeat_connection,
    connections::close_connection,
    connections::delete_connection,
))]
struct Reports;

#[derive(utoipa::OpenApi)]
#[openapi(paths(bandwidth_status::get_bandwidth_status))]
struct Status;

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    overrides::set_limit,
    overrides::set_frozen,
    overrides::drop_reading,
    overrides::revoke_credential,
    users::revoke_user,
    users::block_user,
    users::unblock_user,
    calls_live::end_room,
))]
struct Overrides;

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    operator::list_connections,
    calls_live::list_live_calls,
    spenders::list_spenders,
    spenders::list_grants,
    operator::get_usage,
    overview::get_overview,
    alerts::get_alerts,
    overrides::list_actions,
    backup::get_backup,
    metrics::get_metrics,
))]
struct Operator;

#[derive(utoipa::OpenApi)]
#[openapi(paths(health::get_health, health::get_ready, health::get_leader))]
struct Health;

#[derive(utoipa::OpenApi)]
#[openapi(paths(openapi::get_open_api))]
struct SelfDescription;

/// All groups, without what all operations share.
pub(super) fn all() -> [OpenApi; 6] {
    let mut mint = Mint::openapi();
    describe_mint(&mut mint);
    let mut reports = Reports::openapi();
    describe_group(&mut reports, "connections", &["grant", "reporter"], &REPORT_ERRORS);
    let mut status = Status::openapi();
    describe_group(&mut status, "budget", &[], &[]);
    let mut operator = Overrides::openapi();
    operations(&mut operator).for_each(|operation| fails(operation, &[NOT_WRITTEN]));
    operator.merge(Operator::openapi());
    describe_group(&mut operator, "operator", &["operator"], &OPERATOR_ERRORS);
    [&mut mint, &mut reports, &mut status, &mut operator].into_iter().for_each(describe_guard);
    let mut health = Health::openapi();
    describe_group(&mut health, "health", &[], &[]);
    let mut browser = SelfDescription::openapi();
    browser.paths.merge(browser::files());
    [mint, reports, status, operator, health, browser]
}

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
const REPORT_ERRORS: [&str; 3] = [
    "`UNAUTHORIZED`: the request has no token.",
    "`INVALID_GRANT`: the token is neither a grant of this ledger nor the `REPORTER_TOKEN`. Or the grant was revoked. When a connection is opened, also: the grant has expired or was renewed.",
    WRONG_TOKENS,
];

/// The errors of all routes of the operator.
const OPERATOR_ERRORS: [&str; 3] = [
    "`UNAUTHORIZED`: the token is missing, or is not the `OPERATOR_TOKEN`.",
    "`NOT_FOUND`: `OPERATOR_TOKEN` is not set.",
    WRONG_TOKENS,
];

const NOT_WRITTEN: &str =
    "`LEDGER_UNAVAILABLE`: the change is in effect, but could not be written, so a restart undoes it.";

/// Puts the operations into a group, whose callers send one of these tokens, and which has these errors.
fn describe_group(document: &mut OpenApi, name: &str, tokens: &[&str], errors: &[&str]) {
    for operation in operations(document) {
        operation.tags = Some(vec![name.to_owned()]);
        if !tokens.is_empty() {
            let tokens = tokens.iter().map(|scheme| SecurityRequirement::new(*scheme, [""; 0]));
            operation.security.get_or_insert_default().splice(..0, tokens);
        }
        fails(operation, errors);
    }
}

/// Adds what the routes that mint share: token, errors, the rate limit headers.
fn describe_mint(document: &mut OpenApi) {
    describe_group(document, "credentials", &["user", "grant"], &MINT_ERRORS);
    for operation in operations(document) {
        operation.security.get_or_insert_default().insert(0, SecurityRequirement::default());
        for status in ["200", "400", "401", "429"] {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
                response.headers.extend(rate_headers());
            }
        }
    }
}

const BURST: &str =
    "Size of a burst, as set by `RATE_LIMIT_REQUESTS`, or for a renewal by `RATE_LIMIT_RENEWALS`.";
const FULL_AGAIN: &str =
    "Seconds. Time until a full burst is accepted again; on a 429, until the next request is accepted.";
fn rate_headers() -> [(String, RefOr<Header>); 3] {
    let described = [
        ("RateLimit-Limit", BURST),
        ("RateLimit-Remaining", "Requests that would be accepted now."),
        ("RateLimit-Reset", FULL_AGAIN),
    ];
    described.map(|(name, text)| (name.to_owned(), header(text, 0).into()))
}

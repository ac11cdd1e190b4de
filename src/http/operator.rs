//! The check of the operator token, and two routes for the operator: open connections, and usage over time. Tests: `tests/it/operator.rs`.
//! Without an `OPERATOR_TOKEN` the operator's routes answer 404.

use chrono::DateTime;
use serde::Deserializer;

use super::prelude::*;
use crate::app::Process;
use crate::limit::wrong_tokens::{Role, WrongTokens};
use crate::mint::token::GrantToken;
use turn_base::{ClientAddr, Query, TokenDigest, bearer, form, is_jwt};
use turn_ledger::{Books, Connection, Interval, Minute, Period, Spender, Tariff};

/// Longest list of connections.
const LIST_MAX: usize = 1_000;
/// Most points of a series: a month in half hours.
const POINTS_MAX: u64 = 1_500;
/// Steps are whole minutes, as in the ledger. Seconds.
const STEP_UNIT: u64 = 60;
/// The default step. Seconds.
const STEP_DEFAULT: u64 = 3_600;
const STEPS: &str = "a multiple of 60 seconds that gives at most 1500 points";

/// Rejects requests without the operator token. Rejects changes once the lease has ended, because another replica may lead.
pub fn require_operator(app: &App, request: &Request) -> Result<(), ApiError> {
    check_operator(app, request)?;
    if request.method().is_safe() || app.account.holds_lease() { Ok(()) } else { Err(ApiError::no_leader()) }
}

/// [`require_operator`] for calls without parameters. Also rejects a query: a misspelled or misplaced parameter must not be ignored.
pub fn require_operator_without_query(app: &App, request: &Request) -> Result<(), ApiError> {
    require_operator(app, request)?;
    refuse_query(request)
}

/// Rejects requests for `/metrics` without a token that may read them, and those with a query.
pub fn require_monitor_without_query(app: &App, request: &Request) -> Result<(), ApiError> {
    check_monitor(app, request)?;
    refuse_query(request)
}

fn refuse_query(request: &Request) -> Result<(), ApiError> {
    match request.uri().query() {
        None | Some("") => Ok(()),
        Some(_) => Err(ApiError::invalid("Remove the query: this call has no parameters.")),
    }
}

/// Checks that a request has the operator token.
pub(super) fn check_operator(process: &Process, request: &Request) -> Result<(), ApiError> {
    check_token(process, request, [&process.operator_token, &None], "the OPERATOR_TOKEN")
}

/// Whether a request of a public route has the operator token. A wrong one counts, so that nobody can guess it here; the token of a page
/// is no guess.
pub(super) fn is_operator(process: &Process, request: &Request) -> bool {
    let may_be = |token: &str| !is_jwt(token) && !GrantToken::has_form(token);
    bearer(request.headers()).is_some_and(may_be) && check_operator(process, request).is_ok()
}

/// Checks that a request has the operator token, or that of monitoring.
pub(super) fn check_monitor(process: &Process, request: &Request) -> Result<(), ApiError> {
    let accepted = [&process.operator_token, &process.metrics_token];
    check_token(process, request, accepted, "the OPERATOR_TOKEN or the METRICS_TOKEN")
}

/// Checks that a request has one of the tokens that are set. `names`: their settings.
fn check_token(
    process: &Process,
    request: &Request,
    accepted: [&Option<TokenDigest>; 2],
    names: &str,
) -> Result<(), ApiError> {
    let accepted = || accepted.into_iter().flatten();
    if accepted().next().is_none() {
        return Err(ApiError::no_operator());
    }
    let Some(shown) = bearer(request.headers()) else { return Err(ApiError::no_token(names)) };
    let client = client_of(request);
    let is_accepted = || client.is_some_and(|client| process.wrong_tokens.accepts(client.0, shown));
    if accepted().any(|token| token.matches(shown)) && is_accepted() {
        return Ok(());
    }
    let refusal = ApiError::unauthorized(format!("Check the token: it is not {names} of this service."));
    Err(wrong_token(&process.wrong_tokens, Role::Operator, client, refusal))
}

/// Counts a wrong token. Returns `refusal`; after too many wrong tokens, the error with the time to wait.
pub(super) fn wrong_token(
    wrong_tokens: &WrongTokens,
    role: Role,
    client: Option<ClientAddr>,
    refusal: ApiError,
) -> ApiError {
    // The envelope adds the address to every request.
    let Some(ClientAddr(client)) = client else { return ApiError::internal() };
    let Some(retry_in) = wrong_tokens.count(role, client) else { return refusal };
    let message = "Correct the token, and wait: until then this address is served only with the right token that it used last.";
    ApiError::too_many("Too many wrong tokens", message, retry_in)
}

/// The client that the envelope found.
pub(super) fn client_of(request: &Request) -> Option<ClientAddr> {
    request.extensions().get().copied()
}

/// The open connections.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionsBody {
    /// Sorted by id; the first 1000.
    connections: Vec<OpenConnectionBody>,
    /// Number of open connections.
    #[schema(example = 1)]
    total: usize,
}

/// One open connection.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenConnectionBody {
    /// The connection's id.
    #[schema(example = "call-42")]
    connection_id: String,
    /// The grant's id; null if an app server reports the connection.
    #[schema(required = true, example = "nT3k1s0wQ2Gv8Zb5yXhJ4A")]
    grant: Option<String>,
    /// The user of the grant, or the one that the app server named; null if unknown.
    #[schema(required = true, example = "ann")]
    user: Option<String>,
    /// The label of the grant, or the one that the app server named; null if there is none.
    #[schema(required = true, example = "room-1")]
    label: Option<String>,
    /// The source of the grant's credential.
    #[schema(schema_with = schema::source)]
    source: &'static str,
    /// Whether the packets go through the relay; null until reported.
    #[schema(required = true, example = true)]
    relayed: Option<bool>,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T11:40:00Z")]
    opened_at: Timestamp,
    /// When it was last reported.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    last_seen_at: Timestamp,
    /// Reported bytes from client to relay.
    #[schema(example = 40_000)]
    bytes_sent: u64,
    /// Reported bytes from relay to client.
    #[schema(example = 150_000)]
    bytes_received: u64,
    /// Bytes charged so far.
    #[schema(example = 150_000)]
    charged_bytes: u64,
}

/// Lists the open connections.
///
/// These are the connections reported by clients and app servers.
#[utoipa::path(
    get, path = "/api/connections",
    responses((status = 200, description = "The open connections.", body = ConnectionsBody))
)]
pub async fn list_connections(app: AppState) -> Json<ConnectionsBody> {
    app.account.read(|books| {
        let open = books.connections().iter().take(LIST_MAX);
        let connections = open.map(|connection| open_connection_body(books, connection)).collect();
        Json(ConnectionsBody { connections, total: books.snapshot().open_connections })
    })
}

fn open_connection_body(books: &Books, connection: &Connection) -> OpenConnectionBody {
    // The spender of the connection's grant; without a grant, the spender that the reporter named.
    let spender = match connection.name.grant() {
        Some(id) => books.grants().get(id).and_then(|row| row.spender.clone()),
        None => connection.spender.clone(),
    };
    let Spender { user, label, origin: _, call: _, server: _, signed_in_until: _ } =
        spender.as_deref().cloned().unwrap_or_default();
    OpenConnectionBody {
        connection_id: connection.name.id().to_owned(),
        grant: connection.name.grant().map(|id| id.to_string()),
        user: user.map(|user| user.as_str().to_owned()),
        label: label.map(|label| label.as_str().to_owned()),
        source: connection.counted_by.source.name(),
        relayed: connection.relayed,
        opened_at: connection.opened_at,
        last_seen_at: connection.last_seen,
        bytes_sent: connection.bytes_sent,
        bytes_received: connection.bytes_received,
        charged_bytes: connection.charged(books.now(), &books.connections().rules).get(),
    }
}

/// The query of the time series.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// Start of the series. The default, and the earliest, is the start of the period.
    #[param(value_type = Option<String>, format = DateTime, example = "2025-01-01T00:00:00Z")]
    #[serde(default, deserialize_with = "instant")]
    from: Option<Timestamp>,
    /// End of the series. The default, and the latest, is now.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "instant")]
    to: Option<Timestamp>,
    /// Seconds from one point to the next; 3600 by default. A series has at most 1500 points.
    #[param(value_type = Option<u64>, minimum = 60, multiple_of = 60, example = 3600)]
    #[serde(default, deserialize_with = "step")]
    step: Option<u64>,
}

fn instant<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Timestamp>, D::Error> {
    let parse = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc().into());
    form(text, parse, "an RFC 3339 instant").map(Some)
}

fn step<'de, D: Deserializer<'de>>(text: D) -> Result<Option<u64>, D::Error> {
    let is_whole = |step: &u64| *step > 0 && step.is_multiple_of(STEP_UNIT);
    form(text, |text| text.parse().ok().filter(is_whole), STEPS).map(Some)
}

/// Usage of this period as a time series.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageBody {
    /// When the period began.
    #[schema(value_type = String, format = DateTime, example = "2025-01-01T00:00:00Z")]
    period_start: Timestamp,
    /// When the period ends.
    #[schema(value_type = String, format = DateTime, example = "2025-02-01T00:00:00Z")]
    reset_date: Timestamp,
    /// Seconds from one point to the next.
    #[schema(example = 3600)]
    step_seconds: u64,
    /// From the oldest to the newest.
    points: Vec<UsagePoint>,
    /// Usage of the periods before, the latest first: at most twelve, and none before the first that the ledger knows. Their days
    /// follow the present billing day.
    past_periods: Vec<PastPeriod>,
}

/// One step of the series.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsagePoint {
    /// Start of the step.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T11:00:00Z")]
    at: Timestamp,
    /// Billed bytes in the step: a share of the provider's count where it has counted, else the estimate.
    #[schema(example = 180_000_000)]
    used_bytes: u64,
    /// The most grants that were live at once in the step.
    #[schema(example = 6)]
    live_grants: u64,
}

/// A period that has ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastPeriod {
    /// Start of the period.
    #[schema(value_type = String, format = DateTime, example = "2024-12-01T00:00:00Z")]
    start: Timestamp,
    /// End of the period, which is the start of the next one.
    #[schema(value_type = String, format = DateTime, example = "2025-01-01T00:00:00Z")]
    end: Timestamp,
    /// Billed bytes.
    #[schema(example = 702_410_000_000_u64)]
    used_bytes: u64,
    /// `CURRENCY` as it was at the end of the period.
    #[schema(example = "USD")]
    currency: String,
    /// The cost, by the prices at the end of the period.
    #[schema(example = "12.35")]
    cost: String,
}

/// Returns usage over time, for plots.
///
/// The series covers this period. Where the provider has counted, a point is its share of that count, and what clients claimed for
/// it is gone; elsewhere it is the estimate.
#[utoipa::path(
    get, path = "/api/usage",
    params(UsageQuery),
    responses(
        (status = 200, description = "The series.", body = UsageBody),
        (status = 400, description = "`INVALID_REQUEST`: `from` or `to` is not an RFC 3339 instant, or `step` is not a multiple of 60 that gives at most 1500 points.", body = ErrorBody),
    )
)]
pub async fn get_usage(app: AppState, Query(query): Query<UsageQuery>) -> JsonResult<UsageBody> {
    let figures = app.account.snapshot().figures;
    let from = query.from.map_or(figures.period.start, |from| from.max(figures.period.start));
    let to = query.to.map_or(figures.now, |to| to.min(figures.now));
    let step = query.step.unwrap_or(STEP_DEFAULT);
    if to.since(from).as_secs() / step >= POINTS_MAX {
        return Err(ApiError::invalid(format!("Set `step` to {STEPS}.")));
    }
    let (first, every) = (Minute::of(from).start(), Duration::from_secs(step));
    Ok(Json(app.account.read(|books| {
        let past = |(period, used): (Period, ByteCount)| {
            let (cost, Tariff { currency, .. }) = books.cost_of(period);
            let (Period { start, end }, used_bytes, cost) = (period, used.get(), cost.to_string());
            PastPeriod { start, end, used_bytes, currency, cost }
        };
        let end = to.min(books.now());
        let starts = std::iter::successors(Some(first), |at| Some(at.plus(every)));
        let point = |at: Timestamp| {
            let slice = books.budget().slice(Interval::new(at, at.plus(every).min(end)));
            UsagePoint { at, used_bytes: slice.used.get(), live_grants: slice.live }
        };
        UsageBody {
            period_start: figures.period.start,
            reset_date: figures.period.end,
            step_seconds: step,
            points: starts.take_while(|at| *at < end).map(point).collect(),
            past_periods: books.budget().past().into_iter().map(past).collect(),
        }
    })))
}

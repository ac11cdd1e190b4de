//! Who spends: sums by user, label, origin, address, call, server key or grant, and the grants themselves. Tests: `tests/it/spenders.rs`.
//! Most bytes first, in pages.

mod csv;
mod page;

use axum::http::header::{ACCEPT, CONTENT_TYPE};

use super::blocks::BlocksBody;
use super::parameter_forms::{GrantsQuery, SpendersQuery};
use super::prelude::*;
use crate::account::SpentIn;
use crate::rate::Lately;
use page::{cursor_of, grant_cursor, grant_place, page, place, place_after};
use turn_base::{Query, entries};
use turn_ledger::{
    Books, GRANT, GrantFilter, GrantPage, GrantPlace, ListedGrant, Period, RecentTime, Spender, SpenderSums,
    Tariff,
};

/// How many blocks a page lists. So it fits into what the command `turn-broker spenders` reads.
const BLOCKED_SHOWN_MAX: usize = 50;

/// Sums of a period, or of the last minutes, by who spends.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpendersBody {
    /// What the sums are grouped by.
    #[schema(schema_with = schema::spender_list)]
    by: &'static str,
    /// Only what was spent in the last minutes, as in the query; null for the whole period.
    #[schema(required = true, example = "5m")]
    since: Option<String>,
    /// The time since the first of these minutes with bytes, at least 60 s, for a rate; null for the whole period.
    #[schema(required = true, example = 300)]
    seconds: Option<u64>,
    /// The end of the provider's count. A spender of whom as many counted minutes before it show more has those; null without a count, and for
    /// the whole period.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T11:50:00Z")]
    counted_until: Option<Timestamp>,
    /// The month in which the period began.
    #[schema(example = "2025-01")]
    period: String,
    /// Billed bytes of the period. The rows of a kind, except by grant and with `since`, add up to them.
    #[schema(example = 45_230_000_000_u64)]
    used_bytes: u64,
    /// The instant of these figures.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    as_of: Timestamp,
    /// Bytes of this time that providers counted under identifiers that this ledger does not know: another broker with the same
    /// key, an older ledger, or a stolen key.
    #[schema(example = 0)]
    unknown_bytes: u64,
    /// The first 50 of `GET /api/block`, also those without a row. The same on every page, whatever the sums are grouped by.
    blocked: BlocksBody,
    /// Most bytes first.
    spenders: Vec<SpenderBody>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required = true, example = "NDUwMDAwMDAwMDphbm4")]
    next: Option<String>,
}

/// The sums of one key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpenderBody {
    /// The user, label, origin, address, call, server key or grant; null for all other bytes of the period: those without a user (label, …), those
    /// of small spenders whose grants have ended long ago, and those that no grant explains.
    #[schema(required = true, example = "room-1")]
    key: Option<String>,
    /// Bytes in this time, measured and claimed. The rows of a kind, except by grant, add up to the used bytes of the period.
    #[schema(example = 4_500_000_000_u64)]
    bytes: u64,
    /// Bytes that the source counted.
    #[schema(example = 4_500_000_000_u64)]
    measured_bytes: u64,
    /// Bytes that connections reported or were charged by time since their grants were counted.
    #[schema(example = 3_900_000_000_u64)]
    claimed_bytes: u64,
    #[schema(schema_with = schema::evidence)]
    evidence: &'static str,
    /// Whether it is blocked. Not in the row without a key, and not of single grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = false)]
    blocked: Option<bool>,
    /// Grants in this period; with `since`, those that relayed something in it.
    #[schema(example = 12)]
    grants: u64,
    /// How many of them count as alive now.
    #[schema(example = 2)]
    live: u64,
    /// How many of these were not revoked.
    #[schema(example = 2)]
    usable: u64,
    /// When the first grant was issued.
    #[schema(value_type = String, format = DateTime, example = "2025-01-03T09:00:00Z")]
    first_seen: Timestamp,
    /// When the last grant was issued, or something was counted for one.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T11:58:00Z")]
    last_seen: Timestamp,
}

/// Grants of this period.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantPageBody {
    /// Most bytes first.
    grants: Vec<GrantBody>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required = true, example = "MTIwMDAwMDAwMDpBWjA5TFd6VEJEWWFfeGx2bkplRW5n")]
    next: Option<String>,
}

/// One grant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantBody {
    /// The grant's id.
    #[schema(example = "AZ09LWzTBDYa_xlvnJeEng")]
    id: String,
    /// The user, by a verified token or by the app server.
    #[schema(required = true, example = "ann")]
    user: Option<String>,
    /// The application's label, which nobody verifies.
    #[schema(required = true, example = "room-1")]
    label: Option<String>,
    /// The origin of the page.
    #[schema(required = true, example = "https://app.example")]
    origin: Option<String>,
    /// What is kept of the client's address.
    #[schema(required = true, example = "192.0.2.7")]
    address: Option<String>,
    /// The call that the credential was minted for: the protocol of the signaling and the room.
    #[schema(required = true, example = "ayame/room-1")]
    call: Option<String>,
    #[schema(schema_with = schema::grant_source)]
    source: IceSource,
    /// `session` if a program that knows a relay's secret has made the credential, and a session of it was listed. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "session")]
    kind: Option<&'static str>,
    /// When it was issued, or seen first.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T11:00:00Z")]
    issued_at: Timestamp,
    /// When its credential expires.
    #[schema(value_type = String, format = DateTime, example = "2025-01-16T11:00:00Z")]
    expires_at: Timestamp,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T11:30:00Z")]
    revoked_at: Option<Timestamp>,
    /// Whether it counts as alive, tail included.
    live: bool,
    /// The measured and the claimed bytes.
    #[schema(example = 1_200_000_000_u64)]
    bytes: u64,
    /// Bytes that the source counted in this period.
    #[schema(example = 1_200_000_000_u64)]
    measured_bytes: u64,
    /// Bytes that its connections reported or were charged by time in this period, after the instant of the count.
    #[schema(example = 900_000_000_u64)]
    claimed_bytes: u64,
    #[schema(schema_with = schema::evidence)]
    evidence: &'static str,
}

/// `measured` if the source has counted at least half of these bytes, otherwise `claimed`. Not all bytes have to be counted, because claims
/// run ahead of the count.
fn evidence(measured: ByteCount, claimed: ByteCount) -> &'static str {
    if measured > ByteCount::ZERO && measured >= claimed { schema::MEASURED } else { schema::CLAIMED }
}

/// Lists who spends.
///
/// The sums cover a period, or with `since` the last minutes, as this process has heard of them, reported or, up to `countedUntil`, counted. Without counts by grant, they are
/// what clients claim, and `evidence` says so. With `Accept: text/csv`, the 10,000 largest rows of the period and the rest as one, with their
/// share of the cost. Some columns are named as in FOCUS 1.2, which demands more, others begin with `x_`. `limit` and `cursor` do not apply.
#[utoipa::path(
    get, path = "/api/spenders",
    params(SpendersQuery),
    responses(
        (status = 200, description = "A page of sums, or all of them as CSV.", content((SpendersBody = "application/json"), (String = "text/csv"))),
        (status = 400, description = "`INVALID_REQUEST`: `by`, `since`, `period`, `limit` or `cursor` is not one of these.", body = ErrorBody),
    )
)]
pub async fn list_spenders(
    app: AppState,
    headers: HeaderMap,
    Query(query): Query<SpendersQuery>,
) -> Result<Response, ApiError> {
    // `kind` is `None` with `by=grant`.
    let SpendersQuery { by: kind, since, period: month, limit, cursor } = query;
    let (period, earlier_start) = app.account.read(|books| period_of(books, month.as_deref()))?;
    let time = match (since, earlier_start) {
        (None, Some(start)) if kind.is_some_and(SpenderKind::is_kept) => SpentIn::Earlier(start),
        (_, Some(_)) => {
            return Err(ApiError::invalid(
                "Ask for an earlier period by `user`, `label` or `key`, without `since`.",
            ));
        }
        (Some(span), None) => SpentIn::Last(span),
        (None, None) => SpentIn::ThisPeriod,
    };
    if entries(&headers, &ACCEPT).any(|kind| kind.to_ascii_lowercase().starts_with("text/csv")) {
        let (Some(kind), None) = (kind, since) else {
            return Err(ApiError::invalid("Ask for a CSV without `since`, and not by `grant`."));
        };
        let list = app.account.spenders(kind, time).await;
        let (cost, Tariff { currency, .. }) = app.account.read(|books| books.cost_of(period));
        let used = (list.used, cost, &*currency);
        let csv = csv::of(&app.config, kind, period, used, &list.page(usize::MAX, None).await);
        return Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response());
    }
    let (as_of, unknown_bytes, used_bytes, lately, spenders, next) = if let Some(kind) = kind {
        let after = place_after(cursor, |text| place(kind, text))?;
        let list = app.account.spenders(kind, time).await;
        let rows = Arc::clone(&list).page(limit + 1, after).await;
        let (rows, next) = page(rows, limit, |row| cursor_of(row.sums.bytes(), row.key.as_ref()));
        let bodies = app.account.read(|books| rows.into_iter().map(|row| spender_body(books, row)).collect());
        (list.as_of, list.unknown_bytes, list.used.get(), list.lately, bodies, next)
    } else {
        let after = place_after(cursor, grant_place)?;
        let lately = since.map(|window| app.account.read(|books| Lately::of(books, window)));
        let time = lately.map(|lately| lately.time);
        let rows = grants(&app, GrantFilter::default(), limit + 1, after, time).await;
        let (rows, next) = page(rows, limit, grant_cursor);
        let (as_of, unknown_bytes, used) = app.account.read(|books| {
            let (now, grants) = (books.now(), books.grants());
            let recent = time.map(|time| grants.recent_unknown_bytes(time));
            (now, recent.unwrap_or_else(|| grants.unknown_bytes()), books.period_bytes().used)
        });
        (as_of, unknown_bytes, used.get(), lately, rows.iter().map(grant_as_spender).collect(), next)
    };
    let blocked = app.account.read(|books| BlocksBody::of(books, BLOCKED_SHOWN_MAX));
    let body = SpendersBody {
        by: kind.map_or(GRANT, SpenderKind::name),
        since: since.map(|span| format!("{}m", span.as_secs() / 60)),
        seconds: lately.map(|lately| lately.averaged().as_secs()),
        counted_until: lately.and_then(|lately| Some(lately.time.counted?.to)),
        period: month_of(period),
        used_bytes,
        as_of,
        unknown_bytes: unknown_bytes.get(),
        blocked,
        spenders,
        next,
    };
    Ok(Json(body).into_response())
}

/// The period that began in `month`, and its start if it is not this period. Without a month: this period.
fn period_of(books: &Books, month: Option<&str>) -> Result<(Period, Option<Timestamp>), ApiError> {
    let present = books.budget().period;
    let Some(month) = month.filter(|month| *month != month_of(present)) else { return Ok((present, None)) };
    // The latest comes first.
    let earlier: Vec<_> = books.budget().earlier_periods().collect();
    let (first, last) = (month_of(*earlier.last().unwrap_or(&present)), month_of(present));
    let found = earlier.into_iter().find(|period| month_of(*period) == month);
    let period =
        found.ok_or_else(|| ApiError::invalid(format!("Set `period` to a month from {first} to {last}.")))?;
    Ok((period, Some(period.start)))
}

fn month_of(period: Period) -> String {
    period.start.to_utc().format("%Y-%m").to_string()
}

/// Lists the grants of this period.
///
/// Grants that have ended are kept until the period ends: the last 50000 of them, and those whose last bytes are not counted yet.
#[utoipa::path(
    get, path = "/api/grants",
    params(GrantsQuery),
    responses(
        (status = 200, description = "A page of grants.", body = GrantPageBody),
        (status = 400, description = "`INVALID_REQUEST`: a parameter does not have the expected form.", body = ErrorBody),
    )
)]
pub async fn list_grants(app: AppState, Query(query): Query<GrantsQuery>) -> JsonResult<GrantPageBody> {
    let filter = GrantFilter { keys: query.spenders()?, live: query.live };
    let (limit, after) = (query.limit, place_after(query.cursor, grant_place)?);
    let rows = grants(&app, filter, limit + 1, after, None).await;
    let (rows, next) = page(rows, limit, grant_cursor);
    Ok(Json(GrantPageBody { grants: rows.iter().map(grant_body).collect(), next }))
}

/// The first `limit` grants after a place, most bytes first. `recent`: only what the grants relayed then.
async fn grants(
    app: &App,
    filter: GrantFilter,
    limit: usize,
    after: Option<GrantPlace>,
    recent: Option<RecentTime>,
) -> Vec<ListedGrant> {
    let mut page = GrantPage::new(filter, limit, after, recent);
    // `look` returns whether it has seen the last grants; `Some` ends the walk.
    app.account.read_in_parts(|books| page.look(books.grants(), books.now()).then_some(())).await;
    app.account.read(|books| page.rows(books.grants(), books.now()))
}

fn spender_body(books: &Books, row: SpenderSums) -> SpenderBody {
    let SpenderSums { key, sums, live, usable } = row;
    SpenderBody {
        bytes: sums.bytes().get(),
        measured_bytes: sums.measured().get(),
        claimed_bytes: sums.claimed().get(),
        evidence: evidence(sums.measured(), sums.claimed()),
        blocked: key.as_ref().map(|spender| books.is_blocked(spender)),
        grants: sums.grants(),
        live,
        usable,
        first_seen: sums.first_seen,
        last_seen: sums.last_seen,
        key: key.map(|key| key.to_string()),
    }
}

fn grant_as_spender(grant: &ListedGrant) -> SpenderBody {
    let spent = grant.spent;
    SpenderBody {
        key: Some(grant.id.to_string()),
        bytes: spent.bytes().get(),
        measured_bytes: spent.measured.get(),
        claimed_bytes: spent.claimed.get(),
        evidence: evidence(spent.measured, spent.claimed),
        blocked: None,
        grants: 1,
        live: u64::from(grant.live),
        usable: u64::from(grant.live && grant.row.extra().revoked_at.is_none()),
        first_seen: grant.row.issued_at,
        last_seen: grant.row.issued_at.max(spent.seen_at),
    }
}

fn grant_body(grant: &ListedGrant) -> GrantBody {
    let (row, spent) = (&grant.row, grant.spent);
    let Spender { user, label, origin, call, server: _, signed_in_until: _ } =
        row.spender.as_deref().cloned().unwrap_or_default();
    GrantBody {
        id: grant.id.to_string(),
        user: user.map(|user| user.as_str().to_owned()),
        label: label.map(|label| label.as_str().to_owned()),
        origin: origin.map(|origin| origin.to_string()),
        address: grant.address.as_ref().map(ToString::to_string),
        call: call.map(|call| call.as_str().to_owned()),
        source: row.source,
        kind: grant.id.is_foreign().then_some("session"),
        issued_at: row.issued_at,
        expires_at: row.expires_at,
        revoked_at: row.extra().revoked_at,
        live: grant.live,
        bytes: spent.bytes().get(),
        measured_bytes: spent.measured.get(),
        claimed_bytes: spent.claimed.get(),
        evidence: evidence(spent.measured, spent.claimed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evidence_is_measured_if_the_source_counted_at_least_half() {
        let of = |measured, claimed| evidence(ByteCount::new(measured), ByteCount::new(claimed));
        for (measured, claimed) in [(10, 0), (10, 10)] {
            assert_eq!(of(measured, claimed), "measured", "{measured} of {claimed}");
        }
        for (measured, claimed) in [(0, 0), (0, 1), (10, 11), (1, u64::MAX)] {
            assert_eq!(of(measured, claimed), "claimed", "{measured} of {claimed}");
        }
    }
}

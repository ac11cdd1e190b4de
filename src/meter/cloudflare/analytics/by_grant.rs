//! Queries of bytes for each grant. A mint sends the grant's id as `customIdentifier`, and these queries group by it. One query
//! returns one page, with its rows in the byte order of the identifiers. A page that repeats an identifier is an error, so no row
//! counts twice. A page in another order ends the count as incomplete, so no row is left out unnoticed.
//! The sum of all rows is not the total, because each group is sampled by itself.

use serde::Deserialize;

use super::answer::{self, Sum};
use super::{AnalyticsError, CloudflareAnalytics, DEADLINE, KeyFilter, SPAN, variables};
use crate::ice::call::unusable;
use crate::meter::prelude::*;
use turn_ledger::GrantCounts;

/// The most rows of one page. Cloudflare returns at most as many.
pub const ROWS_MAX: usize = 10_000;
/// The most pages that are asked for one span of time.
pub const PAGES_MAX: usize = 10;
/// The longest page. A row has some 130 bytes.
const PAGE_MAX: usize = 4 << 20;

/// The most that the broker's probes and `turn-broker doctor` relay in a span. More bytes under their identifiers are somebody else's.
const OWN_MAX: Traffic = Traffic::new(20_000_000, 20_000_000);

/// The most rows and pages that a count asks for.
#[derive(Clone, Copy, Debug)]
pub struct PageBounds {
    /// Rows of one page, at most [`ROWS_MAX`].
    pub rows: usize,
    /// Pages of one span.
    pub pages: usize,
}

impl Default for PageBounds {
    fn default() -> Self {
        Self { rows: ROWS_MAX, pages: PAGES_MAX }
    }
}

impl CloudflareAnalytics {
    /// The bytes of each grant in a span, page by page. `is_final`: whether the span will not be counted again.
    pub async fn count_by_grant(
        &self,
        span: Span,
        is_final: bool,
        bounds: PageBounds,
    ) -> Result<GrantCounts, AnalyticsError> {
        let mut counts =
            GrantCounts { from: span.from, until: span.until, is_final, ..GrantCounts::default() };
        let (mut cursor, mut own) = (None, Traffic::ZERO);
        for _ in 0..bounds.pages {
            let question = self.page_question(span, bounds.rows, cursor.as_deref());
            let rows = self.rows(span, &question).await?;
            let is_last = rows.len() < bounds.rows;
            let is_ordered = is_ordered(&rows, cursor.as_deref(), is_last);
            cursor = add_page(rows, cursor, &mut counts, &mut own)?;
            counts.is_complete = is_last && is_ordered;
            if is_last || !is_ordered {
                break;
            }
        }
        counts.other = counts.other.plus(own.minus(OWN_MAX));
        Ok(counts)
    }

    /// The minutes of a span in which bytes were counted under these identifiers and the TURN key with this digest, which is one of ours;
    /// without a digest, under any of ours. Complete if identifiers times minutes is at most [`ROWS_MAX`].
    pub async fn minutes_of(
        &self,
        turn_key: Option<IdDigest>,
        identifiers: Vec<String>,
        span: Span,
    ) -> Result<BTreeMap<String, BTreeMap<Minute, Traffic>>, AnalyticsError> {
        let is_asked = |key: &&OwnKey| turn_key.is_none_or(|asked| key.digest == asked);
        let keys: Vec<_> = self.keys.iter().filter(is_asked).cloned().collect();
        let question = self.alone_question(&keys, identifiers, span, "customIdentifier datetimeMinute");
        let mut minutes = BTreeMap::<_, BTreeMap<_, _>>::new();
        for row in self.rows(span, &question).await? {
            let minute = row.minute().ok_or_else(|| unusable("it has another form"))?;
            let traffic = row.sum.traffic()?;
            if traffic != Traffic::ZERO {
                minutes.entry(row.identifier().to_owned()).or_default().insert(minute, traffic);
            }
        }
        Ok(minutes)
    }

    /// The bytes of these grants in a span. The query selects no other grants, because Cloudflare samples a count of many grants.
    pub async fn bytes_of(
        &self,
        grants: &[GrantId],
        span: Span,
    ) -> Result<BTreeMap<GrantId, Traffic>, AnalyticsError> {
        let identifiers = grants.iter().map(ToString::to_string).collect();
        let question = self.alone_question(&self.keys, identifiers, span, "customIdentifier");
        let mut bytes = BTreeMap::new();
        for row in self.rows(span, &question).await? {
            let grant = row.grant().ok_or_else(|| unusable("it has another form"))?;
            let of_grant: &mut Traffic = bytes.entry(grant).or_default();
            *of_grant = of_grant.plus(row.sum.traffic()?);
        }
        Ok(bytes)
    }

    async fn rows(&self, span: Span, question: &Value) -> Result<Vec<UsageRow>, AnalyticsError> {
        let response = self.ask(DEADLINE, question, PAGE_MAX).await?;
        let account: Account = answer::account(response.status, &response.body)?;
        response.check_age(span)?;
        Ok(account.rows()?)
    }

    /// The request body for one page: the identifiers after `cursor`, or the first ones.
    fn page_question(&self, span: Span, rows: usize, cursor: Option<&str>) -> Value {
        let arguments = format!("limit: {rows}, orderBy: [customIdentifier_ASC]");
        let (declared, filter) = match cursor {
            None => ("", ""),
            Some(_) => (", $cursor: string!", ", customIdentifier_gt: $cursor"),
        };
        let mut question =
            self.grouped_question(&self.keys, span, &arguments, declared, filter, "customIdentifier");
        if let Some(cursor) = cursor {
            question["variables"]["cursor"] = cursor.into();
        }
        question
    }

    /// The request body for these identifiers alone, as counted for these keys.
    fn alone_question(
        &self,
        keys: &[OwnKey],
        identifiers: Vec<String>,
        span: Span,
        dimensions: &str,
    ) -> Value {
        let (declared, filter) = (", $grants: [string!]!", ", customIdentifier_in: $grants");
        let limit = format!("limit: {ROWS_MAX}");
        let mut question = self.grouped_question(keys, span, &limit, declared, filter, dimensions);
        question["variables"]["grants"] = identifiers.into();
        question
    }

    /// The request body that groups the bytes of these keys by `dimensions`; of all keys if `keys` is empty. If `filter` is empty, it also
    /// selects the sum of these bytes. `filter`: what it selects by beside time and key. `declared`: the declaration of its variable.
    fn grouped_question(
        &self,
        keys: &[OwnKey],
        span: Span,
        arguments: &str,
        declared: &str,
        filter: &str,
        dimensions: &str,
    ) -> Value {
        let mut variables = variables(&self.account_id, span.from, span.until);
        let KeyFilter { declared: declared_key, filter: key, .. } = KeyFilter::of(keys, &mut variables);
        let sum = if filter.is_empty() {
            format!(
                "sum: callsTurnUsageAdaptiveGroups(limit: 1, filter: {{{SPAN}{key}}}) {{ sum {{ egressBytes ingressBytes }} }} "
            )
        } else {
            String::new()
        };
        let query = format!(
            "query BytesByGrant($accountTag: string!, $after: Time!, $before: Time!{declared_key}{declared}) \
             {{ viewer {{ accounts(filter: {{accountTag: $accountTag}}) {{ {sum}\
             byGrant: callsTurnUsageAdaptiveGroups({arguments}, filter: {{{SPAN}{key}{filter}}}) \
             {{ dimensions {{ {dimensions} }} sum {{ egressBytes ingressBytes }} }} }} }} }}"
        );
        json!({ "query": query, "variables": variables })
    }
}

/// Absent or null rows are not the same as no rows: see [`Account::rows`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    by_grant: Option<Vec<UsageRow>>,
    /// Absent unless it was asked for.
    sum: Option<Vec<SumRow>>,
}

#[derive(Deserialize)]
struct SumRow {
    sum: Sum,
}

impl Account {
    /// The rows. A missing list is an error, and so is an empty one if our keys relayed anything: a count without rows would drop all
    /// claims.
    fn rows(self) -> Result<Vec<UsageRow>, CallError> {
        let mut is_missing = self.by_grant.is_none();
        let rows = self.by_grant.unwrap_or_default();
        for SumRow { sum } in self.sum.into_iter().flatten() {
            is_missing |= rows.is_empty() && sum.traffic()? != Traffic::ZERO;
        }
        if is_missing { Err(unusable("the bytes by grant are missing")) } else { Ok(rows) }
    }
}

#[derive(Deserialize)]
struct UsageRow {
    dimensions: Dimensions,
    sum: Sum,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimensions {
    /// `null` or empty for a credential that was minted without an identifier.
    custom_identifier: Option<String>,
    datetime_minute: Option<String>,
}

impl UsageRow {
    fn identifier(&self) -> &str {
        self.dimensions.custom_identifier.as_deref().unwrap_or_default()
    }

    fn grant(&self) -> Option<GrantId> {
        self.identifier().parse().ok()
    }

    fn minute(&self) -> Option<Minute> {
        let at = chrono::DateTime::parse_from_rfc3339(self.dimensions.datetime_minute.as_deref()?).ok()?;
        Some(Minute::of(at.to_utc().into()))
    }
}

/// Whether no identifier can be missing between this page and its neighbors. The next page begins after the last identifier of this one. In
/// another order, or with another collation, an identifier could be on neither page. No page follows the last one, so the order within the
/// last page does not matter.
fn is_ordered(rows: &[UsageRow], cursor: Option<&str>, is_last: bool) -> bool {
    let is_after = cursor.is_none_or(|cursor| rows.iter().all(|row| row.identifier() > cursor));
    is_after && (is_last || rows.iter().map(UsageRow::identifier).is_sorted())
}

/// Adds the rows of a page, and the broker's own bytes to `own`. Returns the identifier after which the next page begins.
fn add_page(
    rows: Vec<UsageRow>,
    cursor: Option<String>,
    counts: &mut GrantCounts,
    own: &mut Traffic,
) -> Result<Option<String>, CallError> {
    let mut last = None;
    for row in rows {
        let traffic = row.sum.traffic()?;
        let overlaps = || Err(unusable("its pages overlap"));
        if cursor.as_deref() == Some(row.identifier()) {
            return overlaps();
        }
        match row.grant() {
            Some(grant) => {
                if counts.by_grant.insert(grant, traffic).is_some() {
                    return overlaps();
                }
            }
            None if row.identifier().starts_with(OWN_IDENTIFIERS) => *own = own.plus(traffic),
            None => counts.other = counts.other.plus(traffic),
        }
        last = row.dimensions.custom_identifier.or(Some(String::new()));
    }
    Ok(last.or(cursor))
}

#[cfg(test)]
#[path = "by_grant_tests.rs"]
mod tests;

//! The JSON body of an alert: one message for chats, and every figure for programs. Its size is bounded, because the texts, the
//! names of spenders and the link are.

use serde::Serialize;

use crate::alert::{Alert, AlertCost, Forecast};
use crate::amounts::Shown;
use crate::config::PublicUrl;
use crate::json::plain_number;
use crate::rate::PresentRate;
use turn_ledger::{SpenderKind, Timestamp};

/// Slack shows `text`, Discord shows `content`; both ignore unknown fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    text: &'a str,
    content: &'a str,
    /// Discord's own name and form: it keeps the text from mentioning users.
    #[serde(rename = "allowed_mentions")]
    allowed_mentions: AllowedMentions,
    event: &'static str,
    id: &'a str,
    at: Timestamp,
    severity: &'static str,
    service: &'static str,
    what: &'a str,
    callers: &'a str,
    first_step: &'static str,
    /// Where the operator acts; null without `PUBLIC_URL`.
    link: Option<&'a str>,
    #[serde(rename = "usedGB")]
    used_gb: String,
    #[serde(rename = "limitGB")]
    limit_gb: serde_json::Number,
    percentage: serde_json::Number,
    #[serde(rename = "overshootBoundGB")]
    overshoot_bound_gb: String,
    reset_date: Timestamp,
    /// Null in an alert that is not about the limit.
    rate: Option<RateBody>,
    /// What the spenders are; null if none is known.
    spenders_by: Option<&'static str>,
    spenders: Vec<SpenderBody<'a>>,
    /// Null after a recovery.
    cost: Option<CostBody<'a>>,
}

#[derive(Serialize)]
struct AllowedMentions {
    parse: [&'static str; 0],
}

/// As in `GET /api/overview`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RateBody {
    mbps: serde_json::Number,
    limit_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct SpenderBody<'a> {
    key: Option<&'a str>,
    bytes: u64,
    /// Of the bytes used.
    percentage: serde_json::Number,
}

/// As in `GET /api/overview`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CostBody<'a> {
    currency: &'a str,
    so_far: String,
    forecast: Option<ForecastBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ForecastBody {
    used_bytes: u64,
    cost: String,
}

/// The body, the same for every attempt.
pub(super) fn of(alert: &Alert, public_url: Option<&PublicUrl>) -> String {
    let link = public_url.map(|url| url.dashboard(alert.section()));
    let (text, budget) = (alert.text(link.as_deref()), &alert.budget);
    let body = Body {
        text: &text,
        content: &text,
        allowed_mentions: AllowedMentions { parse: [] },
        event: alert.kind.name(),
        id: &alert.id,
        at: alert.at,
        severity: alert.kind.severity().name(),
        service: "turn-broker",
        what: &alert.what,
        callers: &alert.callers,
        first_step: alert.first_step(),
        link: link.as_deref(),
        used_gb: budget.used.gb_nearest(),
        limit_gb: plain_number(budget.limit.as_gb()),
        percentage: plain_number(budget.used.percent_of(budget.limit)),
        overshoot_bound_gb: budget.overshoot_bound.gb_up(),
        reset_date: budget.reset,
        rate: alert.rate.map(|PresentRate { rate, limit_at, .. }| RateBody {
            mbps: plain_number((rate.as_mbps() * 1_000.0).round() / 1_000.0),
            limit_at,
        }),
        spenders_by: alert.spending.by.map(SpenderKind::name),
        spenders: spenders(alert),
        cost: alert.spending.cost.as_ref().map(cost),
    };
    serde_json::to_string(&body).expect("strings and numbers are valid JSON")
}

fn spenders(alert: &Alert) -> Vec<SpenderBody<'_>> {
    let top = alert.spending.top.iter().map(|spender| SpenderBody {
        key: spender.key.as_deref(),
        bytes: spender.bytes.get(),
        percentage: plain_number(alert.share_of(spender)),
    });
    top.collect()
}

fn cost(AlertCost { currency, so_far, forecast }: &AlertCost) -> CostBody<'_> {
    let at_end =
        |Forecast { used, cost }: &Forecast| ForecastBody { used_bytes: used.get(), cost: cost.to_string() };
    CostBody { currency, so_far: so_far.to_string(), forecast: forecast.as_ref().map(at_end) }
}

//! `GET /api/alerts`: the latest operator alerts. Tests: `tests/it/overview.rs`.
//! They are listed whether or not a webhook is set.

use super::prelude::*;
use crate::alert::rules::KeptAlert;
use crate::json::plain_number;

/// The latest alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertsBody {
    /// The latest 64 alerts, newest first. They are stored with the ledger.
    alerts: Vec<AlertBody>,
    /// Whether `ALERT_WEBHOOK_URL` is set. Without it, alerts appear in the log and here only.
    webhook: bool,
}

/// One alert, with the budget at that instant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertBody {
    /// The same id as on the webhook.
    #[schema(example = "2025-01-01/budget-used-80/1000000000000")]
    id: String,
    /// The kind of alert, a stable identifier for programs: `budget.used_N` for N percent of the limit (`ALERT_PERCENTS`), or one of
    /// those in docs/RUNBOOK.md, such as `provider.down`.
    #[schema(example = "budget.used_80")]
    event: &'static str,
    /// The severity.
    #[schema(schema_with = schema::severity)]
    severity: &'static str,
    /// When it happened.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    at: Timestamp,
    /// What happened, and what it means for callers.
    #[schema(
        example = "80 % of the bandwidth limit is used: 801.50 of 1000 GB, and the period ends at 2025-02-01T00:00Z. Credentials are still issued."
    )]
    what: String,
    /// What to do first.
    #[schema(
        example = "Find who spends now, under \"Who spends\" or with turn-broker spenders --since 15m, to block or revoke them; or raise the limit: turn-broker limit GB."
    )]
    advice: String,
    /// The commands that do it, for a shell; null without a spender to end.
    #[schema(required = true, example = "turn-broker block bob; turn-broker revoke --user=bob")]
    command: Option<String>,
    /// The part of the dashboard where the operator acts, by its id in the page; for a spender, its list and its name.
    #[schema(example = "by-user=bob")]
    section: String,
    /// GB used at that instant, two decimals.
    #[serde(rename = "usedGB")]
    #[schema(example = "801.50")]
    used_gb: String,
    /// The limit in GB.
    #[serde(rename = "limitGB")]
    #[schema(value_type = f64, example = 1000)]
    limit_gb: serde_json::Number,
    /// GB by which usage could still pass the limit, in the worst case.
    #[serde(rename = "overshootBoundGB")]
    #[schema(example = "0.00")]
    overshoot_bound_gb: String,
    /// Whether it is not delivered yet.
    #[schema(example = false)]
    waiting: bool,
}

/// Lists the latest alerts.
///
/// The same alerts as on the webhook, even if no webhook is set.
#[utoipa::path(
    get, path = "/api/alerts",
    responses((status = 200, description = "The latest alerts.", body = AlertsBody))
)]
pub async fn get_alerts(app: AppState) -> Json<AlertsBody> {
    let alerts = app.account.latest_alerts().into_iter().map(body).collect();
    Json(AlertsBody { alerts, webhook: app.dispatcher.is_some() })
}

fn body(KeptAlert { alert, waits }: KeptAlert) -> AlertBody {
    AlertBody {
        event: alert.kind.name(),
        severity: alert.severity().name(),
        at: alert.at,
        advice: alert.first_step(),
        command: alert.command(),
        section: alert.section(),
        used_gb: alert.budget.used.gb_nearest(),
        limit_gb: plain_number(alert.budget.limit.as_gb()),
        overshoot_bound_gb: alert.budget.overshoot_bound.gb_up(),
        id: alert.id,
        what: [alert.what, alert.callers].join(" ").trim_end().to_owned(),
        waiting: waits,
    }
}

//! The check of the alert webhook, with a real alert on demand. A finding shows only the host of the URL, because anyone
//! who knows the rest can post there.

use super::finding::{Check, Finding};
use crate::alert::webhook::{SendError, Webhook};
use crate::alert::{Alert, AlertCost, BudgetFigures, Forecast, Spending, TopSpender};
use crate::clock::Clock;
use crate::config::{AlertConfig, Config};
use crate::http_client::http_client;
use turn_ledger::{ByteCount, SpenderKind, Timestamp};

/// Sends one test alert.
pub(super) async fn send(config: &Config, alert: &AlertConfig, clock: &dyn Clock) -> Finding {
    let host = alert.url.host();
    let Ok(client) = http_client() else {
        return Finding::fail(
            Check::Alerts,
            host,
            "no HTTP client could be created",
            "report this with your system's name",
        );
    };
    let now = clock.now();
    let began = clock.instant();
    let sent =
        Webhook::new(client, alert, config.public_url.clone()).send(&test_alert(config, now), now).await;
    let took = clock.instant().saturating_duration_since(began);
    match sent {
        Ok(()) => Finding::ok(Check::Alerts, host, "it accepted the test alert").after(took),
        Err(error) => Finding::fail(Check::Alerts, host, error.to_string(), remedy(&error)).after(took),
    }
}

/// In the form of a real one, with examples for names and figures.
fn test_alert(config: &Config, now: Timestamp) -> Alert {
    let Config { budget, prices, .. } = config;
    let period = budget.billing_day.period_at(now);
    let share = |percent| ByteCount::saturating(budget.limit.share_up(percent));
    let spender = |(key, percent): (&str, u32)| TopSpender { key: Some(key.into()), bytes: share(percent) };
    let (used, at_end) = (share(80), share(125));
    let forecast = Forecast { used: at_end, cost: prices.price.of(at_end) };
    let cost = AlertCost {
        currency: prices.currency.clone(),
        so_far: prices.price.of(used),
        forecast: Some(forecast),
    };
    let top = [("example-user-1", 40), ("example-user-2", 20), ("example-user-3", 10)].map(spender).into();
    let spending = Spending { by: Some(SpenderKind::User), top, cost: Some(cost) };
    let figures = BudgetFigures { used, limit: budget.limit, overshoot_bound: share(5), reset: period.end };
    Alert::test(now, figures, spending)
}

fn remedy(error: &SendError) -> &'static str {
    match error {
        SendError::Connect(_) => {
            "allow connections from this machine to that host, and check that it has a certificate from a public authority"
        }
        SendError::Timeout | SendError::Broken(_) => "check why the receiver does not respond within 5 s",
        SendError::NotNow { .. } => {
            "check the receiver; the service retries such an alert for a quarter of an hour"
        }
        SendError::Refused(_) => "check ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET, or create a new webhook",
        SendError::Request(_) => "check ALERT_WEBHOOK_URL",
    }
}

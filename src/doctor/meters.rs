//! The checks of everything that the service reads or writes elsewhere, one real request each: measured usage,
//! the keys that verify users' tokens, and the receiver of alerts.

use std::time::Duration;

use reqwest::Client;
use url::Url;

use super::report::{Verdict, fail, ok, skipped, warn};
use crate::alert::webhook::{Webhook, remedy};
use crate::alert::{Alert, AlertCost, BudgetFigures, Forecast, SpenderNow, Spending, TopSpender};
use crate::auth::{count_keys, keys_remedy};
use crate::config::{AlertConfig, CloudflareConfig, Config, CoturnCliConfig};
use crate::meter::cloudflare::analytics::{CloudflareAnalytics, Counted};
use crate::meter::coturn::cli::{CliError, CoturnCli};
use turn_base::http_client::ProviderClient;
use turn_ledger::{ByteCount, IceSource, Minute, SpenderKind, Timestamp};

/// The time span of the query.
const SPAN: Duration = Duration::from_secs(3_600);

/// Queries Cloudflare's analytics for the last hour.
pub(super) async fn analytics(config: &Config, client: &Client, now: Timestamp) -> Verdict {
    let Some(settings) = &config.meter.analytics else {
        return skipped(
            "CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN are not set: usage is an estimate",
        );
    };
    let keys = config.ice.cloudflare.as_ref().map(CloudflareConfig::own_keys).unwrap_or_default();
    let client = ProviderClient::without_clock(client.clone());
    let api = CloudflareAnalytics::new(client, settings, keys, Counted::of(config));
    let (from, until) = last_hour(now);
    match api.count(from, until, Duration::ZERO).await {
        Ok(counted) => ok(format!(
            "in the last hour {} GB with own keys, {} GB with others; the newest minutes may be missing",
            counted.own.gb_four_decimals(),
            counted.other.gb_four_decimals()
        )),
        Err(error) => fail(error.to_string(), error.remedy()),
    }
}

/// The last hour in whole minutes, because Cloudflare counts by the minute.
fn last_hour(now: Timestamp) -> (Timestamp, Timestamp) {
    let until = Minute::of(now).start();
    (until.minus(SPAN), until)
}

/// Asks coturn for its sessions.
pub(super) async fn coturn_cli(config: &Config, settings: &CoturnCliConfig) -> Verdict {
    let error = match CoturnCli::new(settings).sessions().await {
        Ok(listing) => {
            let seen = format!("it answers; sessions: {}", listing.sessions.len());
            if config.ice.sources.contains(&IceSource::Coturn) {
                return ok(seen);
            }
            let remedy = "add coturn to ICE_SOURCES, or remove COTURN_CLI";
            return warn(format!("{seen}; but coturn is not in ICE_SOURCES"), remedy);
        }
        Err(error) => error,
    };
    let remedy = match &error {
        CliError::Unreachable(_) => {
            "run coturn without no-cli, and set COTURN_CLI to its cli-ip and cli-port (127.0.0.1:5766 by default)"
        }
        CliError::WrongPassword => {
            "set COTURN_CLI_PASSWORD to coturn's cli-password, as text and not as its hash"
        }
        CliError::Timeout | CliError::NotUnderstood | CliError::TooLong(_) => {
            "check that COTURN_CLI is coturn's cli-port; docs/COTURN.md lists the supported versions"
        }
        CliError::Broken(_) => "read coturn's log",
        CliError::Random(_) => "fix the system's random number generator",
    };
    fail(error.to_string(), remedy)
}

/// Fetches the keys of `AUTH_JWKS_URL` once, as the service does.
pub(super) async fn user_keys(url: &Url, client: &Client) -> Verdict {
    match count_keys(client, url).await {
        Ok(count) => ok(format!("keys that can verify a token: {count}")),
        Err(error) => fail(error.to_string(), keys_remedy(&error)),
    }
}

/// Posts one test alert.
pub(super) async fn test_alert(
    config: &Config,
    alert: &AlertConfig,
    client: &Client,
    now: Timestamp,
) -> Verdict {
    let webhook = Webhook::new(client.clone(), alert, config.dashboard_url());
    match webhook.send(&example(config, now), now).await {
        Ok(()) => ok("it accepted the test alert"),
        Err(error) => fail(error.to_string(), remedy(&error)),
    }
}

/// An alert in the form of a real one, with examples for names and figures.
fn example(config: &Config, now: Timestamp) -> Alert {
    let Config { budget, prices, .. } = config;
    let share = |percent| ByteCount::saturating(budget.limit.share_up(percent));
    let spender = |(key, percent): (&str, u32)| TopSpender {
        key: Some(key.into()),
        bytes: share(percent),
        is_blocked: false,
    };
    let (used, at_end) = (share(80), share(125));
    let cost = AlertCost {
        currency: prices.currency.clone(),
        so_far: prices.price.of(used),
        forecast: Some(Forecast { used: at_end, cost: prices.price.of(at_end) }),
    };
    let top = [("example-user-1", 40), ("example-user-2", 20), ("example-user-3", 10)].map(spender).into();
    let spends_now = SpenderNow {
        by: SpenderKind::User,
        spender: spender(("example-user-2", 3)),
        all: share(4),
        minutes: 5,
    };
    let spending = Spending { by: Some(SpenderKind::User), top, now: Some(spends_now), cost: Some(cost) };
    let reset = budget.billing_day.period_at(now).end;
    let [limit, overshoot_bound] = [budget.limit, share(5)];
    let figures = BudgetFigures {
        used,
        limit,
        overshoot_bound,
        uncut_overshoot: overshoot_bound,
        likely_overshoot: Some(share(1)),
        reset,
    };
    Alert::test(now, figures, spending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_is_sixty_whole_minutes() {
        let now = Timestamp::from_millis(1_736_942_456_789);
        let (from, until) = last_hour(now);
        assert_eq!((until, until.since(from)), (Minute::of(now).start(), SPAN));
        assert_eq!(from, Minute::of(from).start());
    }
}

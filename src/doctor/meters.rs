//! The checks of everything that the service reads or writes elsewhere, one real request each: measured usage,
//! the keys that verify users' tokens, and the receiver of alerts.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use chrono::{DateTime, Datelike as _, Utc};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::prelude::*;
use crate::alert::webhook::{Webhook, remedy};
use crate::alert::{Alert, BudgetFigures};
use crate::auth::{count_keys, keys_remedy};
use crate::config::{AlertConfig, AnalyticsConfig, CoturnCliConfig, CoturnStatsConfig};
use crate::meter::cloudflare::analytics::{CloudflareAnalytics, Counted, DEADLINE, UsageCount};
use crate::meter::coturn::cli::{CliError, CoturnCli};
use crate::meter::coturn::stats::CoturnStats;
use turn_base::http_client::{Api, body};
use turn_ledger::polls::spans::Span;
use turn_ledger::{ByteCount, Minute};

/// The time span of the query.
const SPAN: Duration = Duration::from_secs(3_600);
/// coturn connects with its next heartbeat, within 5 seconds.
const HEARTBEATS: Duration = Duration::from_secs(7);
/// The longest answer about billing. A subscription has some 300 bytes.
const BODY_MAX: usize = 64 * 1024;

/// Queries Cloudflare's analytics for the last hour.
pub(super) async fn analytics(config: &Config, client: &HttpClient, now: Timestamp) -> Verdict {
    let Some(settings) = &config.meter.analytics else {
        return skipped("CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN are unset: usage is estimated");
    };
    let keys = config.ice.cloudflare.as_ref().map(CloudflareConfig::own_keys).unwrap_or_default();
    let client = client.clone();
    let api = CloudflareAnalytics::new(client, settings, keys, Counted::of(config));
    let until = Minute::of(now).start();
    match api.count(Span { from: until.minus(SPAN), until, age: Duration::ZERO }).await {
        Ok(UsageCount { own, sfu, other, .. }) => {
            let by_sfu = config.signaling.sfu.as_ref().map(|_| both_data_sets(own, sfu)).unwrap_or_default();
            ok(format!(
                "in the last hour {} GB with own keys, {by_sfu}{} GB with others; the newest minutes may be missing",
                own.gb_four_decimals(),
                other.gb_four_decimals()
            ))
        }
        Err(error) => fail(error.to_string(), error.remedy()),
    }
}

/// The SFU's bytes, and how many of them TURN's data set may have too. Cloudflare charges bytes that are in both only once,
/// but does not say which these are.
fn both_data_sets(own: ByteCount, sfu: ByteCount) -> String {
    let (sfu, in_both) = (sfu.gb_four_decimals(), own.min(sfu).gb_four_decimals());
    format!("{sfu} GB of the SFU (at most {in_both} GB of it went through TURN and counts twice), ")
}

/// Compares the billing cycles of the account with `BILLING_DAY`. The API is in alpha and few tokens may read it, so a refusal is no problem.
pub(super) async fn billing_day(config: &Config, settings: &AnalyticsConfig, client: &HttpClient) -> Verdict {
    let path = ["client", "v4", "accounts", &settings.account_id, "billable-usage", "info"];
    let api = Api::new(client.clone(), &settings.base, &path, &settings.token);
    let answer = match api.client.send(api.call(Method::GET, &[]).timeout(DEADLINE)).await {
        Ok(response) => body(BODY_MAX, response).await,
        Err(error) => Err(error),
    };
    let answer: Value = match answer {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
        Err(error) => return skipped(format!("Cloudflare does not say when it bills: {error}")),
    };
    let subscriptions = answer["result"]["subscriptions"].as_array().into_iter().flatten();
    let current = subscriptions.filter(|one| one["end_timestamp"].is_null());
    let anchors = current.filter_map(|one| one["billing_cycle_anchor_timestamp"].as_str()?.parse().ok());
    let days: BTreeSet<_> = anchors.map(|at: DateTime<Utc>| at.day()).collect();
    let configured = config.budget.billing_day.get();
    let named = days.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
    match days.len() {
        0 => skipped("Cloudflare names no billing cycle"),
        _ if days.contains(&configured) => ok(format!("a billing cycle begins on day {configured}")),
        _ => warn(
            format!("the billing cycle begins on day {named}, and BILLING_DAY is {configured}"),
            format!("compare an invoice, and set BILLING_DAY to {named}"),
        ),
    }
}

/// Asks coturn for its sessions.
pub(super) async fn coturn_cli(config: &Config, settings: &CoturnCliConfig) -> Verdict {
    let cli = CoturnCli(settings.clone());
    let error = match cli.sessions().await {
        Ok(listing) => {
            let version = cli.version().await.ok().flatten().unwrap_or_default();
            let seen = format!("it answers; sessions: {}", listing.sessions.len());
            if has_hole(&version) {
                let remedy = "use coturn 4.9 or later; docs/OPERATE.md says how";
                return warn(format!("{seen}; coturn {version} has CVE-2026-27624"), remedy);
            }
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
            "give coturn the line cli (4.10 and later have no command line without it) and no line no-cli, and set COTURN_CLI to its cli-ip and cli-port (127.0.0.1:5766 by default)"
        }
        CliError::WrongPassword => "set COTURN_CLI_PASSWORD to coturn's cli-password, as text, not its hash",
        CliError::Timeout | CliError::NotUnderstood | CliError::TooLong(_) => {
            "check that COTURN_CLI is coturn's cli-port; docs/COTURN.md lists the supported versions"
        }
        CliError::LoginBroken(_) => "write cli-password in turnserver.conf as text, and read coturn's log",
        CliError::Broken(_) | CliError::Unreported => "read coturn's log",
        CliError::Random(_) => "fix the system's random number generator",
    };
    fail(error.to_string(), remedy)
}

/// Whether a version of coturn is below 4.9, where CVE-2026-27624 is fixed. `false` for what is no version.
fn has_hole(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (4, 9))
}

/// Listens as the service does until every relay reports, or says that the service listens.
pub(super) async fn coturn_stats(config: &Config) -> Vec<(&str, Verdict)> {
    let hosts = || config.meter.coturn_cli.iter().map(|cli| cli.host.as_deref().unwrap_or_default());
    let line = |stats: &CoturnStatsConfig, host| stats.line(config.place_of_relay(Some(host)));
    let Some(stats) = &config.meter.coturn_stats else {
        let remedy = |host| {
            let line = line(&CoturnStatsConfig::example(), host);
            format!(
                "set COTURN_STATS_LISTEN=127.0.0.1:6390 and COTURN_STATS_PASSWORD, and add to turnserver.conf: {line}"
            )
        };
        let seen = "coturn lists no bytes of a session below 2,048 packets";
        return hosts().map(|host| (host, warn(seen, remedy(host)))).collect();
    };
    if let Err(error) = TcpListener::bind(stats.listen).await {
        let why = format!(
            "COTURN_STATS_LISTEN is in use ({error}): the running service listens, and its hints say whether coturn reports"
        );
        return vec![("", skipped(why))];
    }
    let listener = CoturnStats::new(stats.clone(), config.ice.coturn.len());
    let reports = |host| {
        listener.relays.get(config.place_of_relay(Some(host))).is_some_and(|relay| relay.is_connected())
    };
    let all_report = async {
        while !hosts().all(reports) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    // The connections end with this future, so it stays until the end.
    let mut listening = pin!(Arc::clone(&listener).run());
    tokio::select! {
        () = &mut listening => {}
        _ = timeout(HEARTBEATS, all_report) => {}
    }
    let remedy = |host| format!("add to turnserver.conf, and restart coturn: {}", line(stats, host));
    let verdict = |host| {
        if reports(host) {
            ok("it reports its sessions")
        } else {
            fail("it does not report its sessions", remedy(host))
        }
    };
    hosts().map(|host| (host, verdict(host))).collect()
}

/// A relay that `COTURN_CLI` lacks.
pub(super) fn unlisted(host: &str) -> Verdict {
    let remedy = format!("add {host}=host:port to COTURN_CLI");
    warn("its sessions are neither counted nor ended: no bound holds while it is used", remedy)
}

/// Fetches the keys of `AUTH_JWKS_URL` once, as the service does.
pub(super) async fn user_keys(url: &Url, client: &HttpClient) -> Verdict {
    match count_keys(client, url).await {
        Ok(count) => ok(format!("keys that can verify a token: {count}")),
        Err(error) => fail(error.to_string(), keys_remedy(&error)),
    }
}

pub(super) async fn test_alert(
    config: &Config,
    alert: &AlertConfig,
    client: &HttpClient,
    now: Timestamp,
) -> Verdict {
    let webhook = Webhook::new(client.clone(), alert, config.dashboard_base());
    let reset = config.budget.billing_day.period_at(now).end;
    let figures = BudgetFigures { limit: config.budget.limit, reset, ..BudgetFigures::default() };
    match webhook.send(&Alert::test(now, figures), now).await {
        Ok(()) => ok("it accepted the test alert"),
        Err(error) => fail(error.to_string(), remedy(&error)),
    }
}

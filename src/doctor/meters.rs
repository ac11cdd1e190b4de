//! The checks of measured usage: one real query each.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;

use super::finding::{Check, Finding, Remedy};
use crate::amounts::Shown;
use crate::clock::Clock;
use crate::config::{CloudflareConfig, Config, CoturnCliConfig};
use crate::ice::turn_keys::OwnKeys;
use crate::meter::cloudflare::analytics::{AnalyticsError, CloudflareAnalytics, Counted};
use crate::meter::coturn::cli::{CliError, CoturnCli};
use turn_ledger::{IceSource, Minute, Timestamp};

/// The time span of the query.
const SPAN: Duration = Duration::from_secs(3_600);

/// Queries Cloudflare's analytics for the last hour.
pub(super) async fn analytics(config: &Config, client: &Client, clock: &dyn Clock) -> Finding {
    let Some(settings) = &config.meter.analytics else {
        return Finding::skipped(
            Check::Analytics,
            "",
            "CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_ANALYTICS_TOKEN are not set: usage is an estimate",
        );
    };
    let keys = config.ice.cloudflare.as_ref().map(CloudflareConfig::own_keys).unwrap_or_default();
    let keys = Arc::new(OwnKeys::new(keys));
    let Some(api) = CloudflareAnalytics::new(client.clone(), settings, keys, Counted::of(config)) else {
        let remedy = "check CLOUDFLARE_ANALYTICS_BASE and CLOUDFLARE_ANALYTICS_TOKEN";
        return Finding::fail(Check::Analytics, "", "the settings do not form a request", remedy);
    };
    let (from, until) = last_hour(clock.now());
    let began = clock.instant();
    let counted = api.count(from, until, Duration::ZERO).await;
    let took = clock.instant().saturating_duration_since(began);
    let finding = match counted {
        Ok(counted) => {
            let keys = if counted.by_key.len() > 1 { "these keys" } else { "this key" };
            let (own, other) = (counted.own.gb_four_decimals(), counted.other.gb_four_decimals());
            let seen = format!(
                "in the last hour {own} GB with {keys}, {other} GB with others; the newest minutes may be missing"
            );
            Finding::ok(Check::Analytics, "", seen)
        }
        Err(error) => failed(&error),
    };
    finding.after(took)
}

/// The last hour in whole minutes, because Cloudflare counts by the minute.
fn last_hour(now: Timestamp) -> (Timestamp, Timestamp) {
    let until = Minute::of(now).start();
    let from = until.as_millis().saturating_sub(i64::try_from(SPAN.as_millis()).unwrap_or(i64::MAX));
    (Timestamp::from_millis(from), until)
}

fn failed(error: &AnalyticsError) -> Finding {
    let is_guess = matches!(error, AnalyticsError::QueryRefused | AnalyticsError::BadBody(_));
    let remedy = Remedy { text: error.remedy().to_owned(), is_guess };
    Finding::fail(Check::Analytics, "", error.to_string(), remedy)
}

/// Asks coturn for its sessions.
pub(super) async fn coturn_cli(config: &Config, settings: &CoturnCliConfig, clock: &dyn Clock) -> Finding {
    let began = clock.instant();
    let listed = CoturnCli::new(settings).sessions().await;
    let took = clock.instant().saturating_duration_since(began);
    let subject = settings.address.as_str();
    let finding = match listed {
        Ok(listing) if !config.ice.sources.contains(&IceSource::Coturn) => Finding::warn(
            Check::CoturnCli,
            subject,
            format!("it answers (sessions: {}), but coturn is not in ICE_SOURCES", listing.sessions.len()),
            "add coturn to ICE_SOURCES, or remove COTURN_CLI",
        ),
        Ok(listing) => Finding::ok(
            Check::CoturnCli,
            subject,
            format!("it answers; sessions: {}", listing.sessions.len()),
        ),
        Err(error) => Finding::fail(Check::CoturnCli, subject, error.to_string(), cli_remedy(&error)),
    };
    finding.after(took)
}

fn cli_remedy(error: &CliError) -> &'static str {
    match error {
        CliError::Unreachable(_) => {
            "check that coturn runs without no-cli, and that its cli-ip and cli-port match COTURN_CLI (127.0.0.1:5766 by default)"
        }
        CliError::WrongPassword => {
            "set COTURN_CLI_PASSWORD to coturn's cli-password, as text and not as its hash"
        }
        CliError::Timeout | CliError::NotUnderstood | CliError::TooLong(_) => {
            "check that COTURN_CLI is coturn's cli-port and not another service; docs/COTURN.md lists the supported versions"
        }
        CliError::Broken(_) => "read coturn's log",
        CliError::Random(_) => "fix the system's random number generator: nothing here works without it",
    }
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

    #[test]
    fn each_error_of_the_api_has_its_own_remedy() {
        let found = failed(&AnalyticsError::Unauthorized);
        assert!(found.remedy.unwrap().text.contains("Account Analytics: Read"));
        assert!(failed(&AnalyticsError::QueryRefused).remedy.unwrap().is_guess);
    }
}

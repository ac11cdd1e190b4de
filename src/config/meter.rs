//! Settings of measured usage: Cloudflare's analytics and coturn's CLI.

use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::names::{
    ANALYTICS_LAG_SECONDS, ANALYTICS_MARGIN_PERCENT, CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_ANALYTICS_BASE,
    CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS, CLOUDFLARE_ANALYTICS_TOKEN, COTURN_CLI, COTURN_CLI_PASSWORD,
    KEY_ROTATION_DAYS,
};
use super::settings::{Read, Settings};
use super::value::{is_visible_ascii, parse_identifier, parse_number};

/// Settings of measured usage.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// Cloudflare's analytics; `None` when neither account nor token is set.
    pub analytics: Option<AnalyticsConfig>,
    /// The largest sampling error of the analytics, 0 to 50 %. `ANALYTICS_MARGIN_PERCENT`; 5 when unset.
    pub sampling_percent: u32,
    /// coturn's CLI, which lists and ends sessions; `None` when neither address nor password is set.
    pub coturn_cli: Option<CoturnCliConfig>,
}

/// coturn's CLI.
#[derive(Clone, Debug)]
pub struct CoturnCliConfig {
    /// `host:port`, IPv6 in brackets. `COTURN_CLI`.
    pub address: String,
    /// Its `cli-password`. `COTURN_CLI_PASSWORD`.
    pub password: SecretString,
}

/// Cloudflare's analytics.
#[derive(Clone, Debug)]
pub struct AnalyticsConfig {
    /// The id of the account, 1 to 128 of `A-Z a-z 0-9 _ -`. `CLOUDFLARE_ACCOUNT_ID`.
    pub account_id: String,
    /// An API token that may read the account's analytics, visible ASCII. `CLOUDFLARE_ANALYTICS_TOKEN`.
    pub token: SecretString,
    /// The base of the API; its path ends in `/`. `CLOUDFLARE_ANALYTICS_BASE`; `https://api.cloudflare.com/` when unset.
    pub base: Url,
    /// The interval between queries, 1 s to 1 h. `CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS`; 60 s when unset.
    pub interval: Duration,
    /// The age of the newest settled minute, up to 1 h. `ANALYTICS_LAG_SECONDS`; 10 min when unset.
    pub lag: Duration,
}

impl MeterConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let coturn_cli = CoturnCliConfig::read(settings);
        let analytics = AnalyticsConfig::read(settings);
        let sampling_percent = settings.number(ANALYTICS_MARGIN_PERCENT, 0..=50);
        Ok(Self { coturn_cli: coturn_cli?, analytics: analytics?, sampling_percent: sampling_percent? })
    }
}

impl CoturnCliConfig {
    fn read(settings: &mut Settings<'_>) -> Read<Option<Self>> {
        let address = settings.optional(COTURN_CLI, "host:port, such as 127.0.0.1:5766", parse_address);
        let password = settings.secret(COTURN_CLI_PASSWORD, "text without control characters", |_| true);
        settings.both_or_neither(COTURN_CLI, COTURN_CLI_PASSWORD)?;
        Ok(address?.zip(password?).map(|(address, password)| Self { address, password }))
    }
}

impl AnalyticsConfig {
    fn read(settings: &mut Settings<'_>) -> Read<Option<Self>> {
        let expected = "1 to 128 letters, digits, _ or -";
        let account_id = settings.optional(CLOUDFLARE_ACCOUNT_ID, expected, parse_identifier);
        let expected = "visible ASCII characters without spaces";
        let token = settings.secret(CLOUDFLARE_ANALYTICS_TOKEN, expected, is_visible_ascii);
        let base = settings.base_url(CLOUDFLARE_ANALYTICS_BASE);
        let interval = settings.seconds(CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS, 1..=3_600);
        let lag = settings.seconds(ANALYTICS_LAG_SECONDS, 0..=3_600);
        // The rotation of the TURN key needs the account too.
        if settings.is_secret_set(CLOUDFLARE_ANALYTICS_TOKEN) || !settings.is_set(KEY_ROTATION_DAYS) {
            settings.both_or_neither(CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_ANALYTICS_TOKEN)?;
        }
        let (base, interval, lag) = (base?, interval?, lag?);
        let account = account_id?.zip(token?);
        Ok(account.map(|(account_id, token)| Self { account_id, token, base, interval, lag }))
    }
}

/// `host:port` with a port above 0.
fn parse_address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let host = Host::parse(host).ok().filter(|_| !host.is_empty())?;
    let port = parse_number(port, &(1..=u16::MAX))?;
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    const ALL: [(&str, &str); 8] = [
        ("COTURN_CLI", "[::1]:5766"),
        ("COTURN_CLI_PASSWORD", "hush"),
        ("CLOUDFLARE_ACCOUNT_ID", "abc"),
        ("CLOUDFLARE_ANALYTICS_TOKEN", "hush"),
        ("CLOUDFLARE_ANALYTICS_BASE", "http://127.0.0.1:8080"),
        ("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "3600"),
        ("ANALYTICS_LAG_SECONDS", "0"),
        ("ANALYTICS_MARGIN_PERCENT", "10"),
    ];

    #[test]
    fn every_setting_is_read() {
        let meter = load(ALL).meter;
        assert_eq!(meter.coturn_cli.unwrap().address, "[::1]:5766");
        assert_eq!(meter.sampling_percent, 10);
        let analytics = meter.analytics.unwrap();
        assert_eq!((&*analytics.account_id, analytics.interval.as_secs()), ("abc", 3600));
        assert_eq!(analytics.base.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(analytics.lag, Duration::ZERO);
    }

    #[test]
    fn half_of_a_pair_is_a_problem_of_the_other_half() {
        for (set, value, missing) in [
            ("COTURN_CLI", "localhost:5766", "COTURN_CLI_PASSWORD"),
            ("COTURN_CLI_PASSWORD", "hush", "COTURN_CLI"),
            ("CLOUDFLARE_ACCOUNT_ID", "abc", "CLOUDFLARE_ANALYTICS_TOKEN"),
            ("CLOUDFLARE_ANALYTICS_TOKEN", "hush", "CLOUDFLARE_ACCOUNT_ID"),
        ] {
            let line = format!("{missing}: expected a value because {set} is set (both or neither)");
            assert_refused([(set, value)], &[&line]);
        }
    }

    #[test]
    fn each_bad_value_is_refused_with_what_was_expected() {
        let interval = "CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS: expected a number from 1 to 3600";
        let base =
            "CLOUDFLARE_ANALYTICS_BASE: expected an http: or https: URL without user, query or fragment";
        for (name, value, line) in [
            ("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "0", interval),
            ("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "3601", interval),
            ("CLOUDFLARE_ANALYTICS_BASE", "api.cloudflare.com", base),
            ("ANALYTICS_LAG_SECONDS", "3601", "ANALYTICS_LAG_SECONDS: expected a number from 0 to 3600"),
            ("ANALYTICS_MARGIN_PERCENT", "51", "ANALYTICS_MARGIN_PERCENT: expected a number from 0 to 50"),
        ] {
            assert_refused([(name, value)], &[&format!("{line}, found {value:?}")]);
        }
        for value in
            ["localhost", "localhost:", ":5766", "localhost:0", "localhost:65536", "::1:5766", "a b:1"]
        {
            let line = format!("COTURN_CLI: expected host:port, such as 127.0.0.1:5766, found {value:?}");
            assert_refused([("COTURN_CLI", value), ("COTURN_CLI_PASSWORD", "hush")], &[&line]);
        }
    }
}

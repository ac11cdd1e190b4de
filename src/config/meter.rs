//! Settings of measured usage: Cloudflare's analytics and coturn's CLI.

use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::form::{IDENTIFIER_MAX, form, identifier, number, parse_number, password, seconds, switch, token};
use super::settings::Settings;

/// Settings of measured usage.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// Cloudflare's analytics; `None` when neither account nor token is set.
    pub analytics: Option<AnalyticsConfig>,
    /// The largest sampling error of the analytics, 0 to 50 %. `ANALYTICS_MARGIN_PERCENT`; 5 when unset.
    pub sampling_percent: u32,
    /// Whether counts without bytes need the broker's own probe. `RELAY_PROBE`; on when unset.
    pub probes: bool,
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
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            analytics: AnalyticsConfig::read(settings),
            sampling_percent: settings.get("ANALYTICS_MARGIN_PERCENT", "5", number(0..=50)),
            probes: settings.money().get("RELAY_PROBE", "on", switch),
            coturn_cli: CoturnCliConfig::read(settings),
        }
    }
}

impl CoturnCliConfig {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let address = form("host:port, such as 127.0.0.1:5766", parse_address);
        let address = settings.money().optional("COTURN_CLI", address);
        let password = settings.secret("COTURN_CLI_PASSWORD", password);
        settings.both_or_neither("COTURN_CLI", "COTURN_CLI_PASSWORD");
        Some(Self { address: address?, password: password? })
    }
}

impl AnalyticsConfig {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let account_id = settings.money().optional("CLOUDFLARE_ACCOUNT_ID", identifier(IDENTIFIER_MAX));
        let token = settings.secret("CLOUDFLARE_ANALYTICS_TOKEN", token);
        let base = settings.base_url("CLOUDFLARE_ANALYTICS_BASE", "https://api.cloudflare.com");
        let interval = settings.get("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "60", seconds(1..=3_600));
        let lag = settings.get("ANALYTICS_LAG_SECONDS", "600", seconds(0..=3_600));
        settings.both_or_neither("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_ANALYTICS_TOKEN");
        Some(Self { account_id: account_id?, token: token?, base, interval, lag })
    }
}

/// `host:port` with a port above 0.
fn parse_address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let host = Host::parse(host).ok().filter(|_| !host.is_empty())?;
    let port = parse_number::<u16>(port, &(1..=65_535))?;
    Some(format!("{host}:{port}"))
}

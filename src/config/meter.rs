//! Settings of measured usage.

use super::coturn::{CoturnCliConfig, CoturnRelay, CoturnStatsConfig};
use super::form::{IDENTIFIER_MAX, identifier, token};
use super::prelude::*;

/// Settings of measured usage.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// Cloudflare's analytics; `None` when neither account nor token is set.
    pub analytics: Option<AnalyticsConfig>,
    /// The largest sampling error of the analytics, 0 to 50 %. `ANALYTICS_MARGIN_PERCENT`; 5 when unset.
    pub sampling_percent: u32,
    /// Whether the operator's own relays are probed, and a count without bytes is believed only after a probe. `RELAY_PROBE`; on when
    /// unset.
    pub probes: bool,
    /// The command lines of the operator's own relays.
    pub coturn_cli: Vec<CoturnCliConfig>,
    /// Where they report their sessions; `None` without `COTURN_STATS_LISTEN`.
    pub coturn_stats: Option<CoturnStatsConfig>,
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
    pub(super) fn read(settings: &mut Settings<'_>, relays: &[CoturnRelay]) -> Self {
        Self {
            analytics: AnalyticsConfig::read(settings),
            sampling_percent: settings.get("ANALYTICS_MARGIN_PERCENT", "5", number(0..=50)),
            probes: settings.about_money().get("RELAY_PROBE", "on", switch),
            coturn_cli: CoturnCliConfig::read(settings, relays),
            coturn_stats: CoturnStatsConfig::read(settings),
        }
    }
}

impl AnalyticsConfig {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let account_id = settings.about_money().optional("CLOUDFLARE_ACCOUNT_ID", identifier(IDENTIFIER_MAX));
        let token = settings.secret("CLOUDFLARE_ANALYTICS_TOKEN", token);
        let base = settings.base_url("CLOUDFLARE_ANALYTICS_BASE", "https://api.cloudflare.com");
        let interval = settings.get("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", "60", seconds(1..=3_600));
        let lag = settings.get("ANALYTICS_LAG_SECONDS", "600", seconds(0..=3_600));
        settings.both_or_neither("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_ANALYTICS_TOKEN");
        Some(Self { account_id: account_id?, token: token?, base, interval, lag })
    }
}

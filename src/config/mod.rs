//! The configuration as typed values. A [`Config`] is valid: no other module parses a setting or reads a variable. All
//! problems are reported together, by variable name, and no message contains a secret. A warning is a text for the log
//! about a setting that works but is probably a mistake.

mod access;
mod alert;
mod auth;
mod budget;
mod coturn;
mod database;
mod database_url;
mod env_file;
mod environment;
mod form;
mod host;
mod http_ice;
mod ice;
mod ice_urls;
mod memory;
mod meter;
mod names;
mod network;
mod origin;
mod problem;
mod public_url;
mod server;
mod server_keys;
mod settings;
mod signaling;
mod signaling_modules;
mod turn_keys;

pub use access::{AccessConfig, RateLimitConfig};
pub use alert::AlertConfig;
pub(crate) use alert::PERCENT_MAX;
pub use auth::AuthConfig;
pub use budget::{AMOUNT_MAX, BudgetConfig, UsageConfig};
pub use coturn::{CoturnCliConfig, CoturnRelay, CoturnStatsConfig, RELAYS_MAX};
pub use database::DatabaseConfig;
pub use database_url::DatabaseUrl;
pub use environment::Environment;
pub use form::{parse_decimal, parse_number};
pub use host::{AllowedHost, AllowedHosts};
pub use http_ice::HttpIceConfig;
pub use ice::{CloudflareConfig, IceConfig, RelayConfig};
pub use meter::{AnalyticsConfig, MeterConfig};
pub use origin::AllowedOrigins;
pub use problem::{ConfigErrors, ConfigProblem};
pub use public_url::PublicUrl;
pub use server::{LogConfig, ServerConfig, WireFormat, reachable};
pub use server_keys::{ServerKeyConfig, ServerKeysConfig};
pub use signaling::SignalingConfig;
pub use turn_keys::{KEYS_MAX, TurnKeyConfig};

use prelude::*;
use turn_base::Network;
use turn_ledger::{BudgetMode, EndedBy, MINT_SLACK, Tariff, strict_life_min};

/// What most groups of settings use.
mod prelude {
    pub(super) use std::collections::{BTreeMap, BTreeSet};
    pub(super) use std::ops::RangeInclusive;
    pub(super) use std::time::Duration;

    pub(super) use secrecy::{ExposeSecret, SecretString};
    pub(super) use url::Url;

    pub(super) use super::form::{
        Formed, form, is_quoted, number, one_of, own_secret, path, seconds, switch,
    };
    pub(super) use super::settings::Settings;
    pub(super) use turn_base::is_visible_ascii;
    pub(super) use turn_ledger::{ByteCount, IceSource};
}

/// Every setting. The `Debug` form shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listener.
    pub server: ServerConfig,
    /// The log.
    pub log: LogConfig,
    /// How other services are reached.
    pub network: Network,
    /// Access: origins, rate limit, proxies, tokens.
    pub access: AccessConfig,
    /// The programs that mint for their users.
    pub server_keys: ServerKeysConfig,
    /// How users are known; with `None` every caller is anonymous.
    pub auth: Option<AuthConfig>,
    /// The ICE sources.
    pub ice: IceConfig,
    /// The budget and the action at its limit.
    pub budget: BudgetConfig,
    /// The usage estimate.
    pub usage: UsageConfig,
    /// What the bytes cost.
    pub tariff: Tariff,
    /// Measured usage.
    pub meter: MeterConfig,
    /// The receiver of alerts; with `None` no alerts are sent.
    pub alert: Option<AlertConfig>,
    /// The parts of the limit at which there is an alert. `ALERT_PERCENTS`; 50, 80, 95 and 100 when unset.
    pub alert_percents: BTreeSet<u16>,
    /// The address of this broker for people and programs.
    pub public_url: Option<PublicUrl>,
    /// The other wire formats of the mint that are on.
    pub wire_formats: Vec<WireFormat>,
    /// Signaling. Every protocol is off until it is named.
    pub signaling: SignalingConfig,
    /// The ledger in `PostgreSQL`, on which several replicas run; with `None` there is one broker.
    pub database: Option<DatabaseConfig>,
    /// The sources whose sessions may outlive every promise unnoticed, because a setting that would show them is missing. A source is here
    /// whether `ICE_SOURCES` names it or not.
    pub unseen: Vec<IceSource>,
    /// Whether the demo's page is served. Not a setting: only `turn-broker demo` sets it.
    pub is_demo: bool,
    /// Every secret, also those that the settings of a part have: the log hides them.
    pub secrets: Vec<SecretString>,
    /// One text for each setting that is probably a mistake, for the log at start. They contain no secret.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every setting, or returns all problems.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigErrors> {
        let mut settings = Settings::new(env);
        let mut config = Self::read(&mut settings);
        // At least one of the operator's own relays has no entry in `COTURN_CLI`.
        if config.unlisted().next().is_some() && !config.unseen.contains(&IceSource::Coturn) {
            config.unseen.push(IceSource::Coturn);
        }
        DatabaseConfig::refuse_what_is_of_one_machine(&mut settings, &config.ice.sources);
        config.refuse_unbounded(&mut settings);
        config.refuse_overruled(&mut settings);
        config.warn_of_no_room(&mut settings);
        config.warn_of_thousands(&mut settings);
        Ok(Self { warnings: settings.finish()?, ..config })
    }

    /// Like [`Self::from_env`], for the commands about a ledger. They read or copy the ledger of `STATE_DIR` even if `DATABASE_URL` is set,
    /// so this accepts settings that contradict each other for a service.
    pub fn for_ledger(env: &Environment) -> Result<Self, ConfigErrors> {
        let mut settings = Settings::new(env);
        let config = Self::read(&mut settings);
        Ok(Self { warnings: settings.finish()?, ..config })
    }

    /// Refuses strict mode if nobody could see when some sessions end. In this mode, the broker promises what each session may relay until
    /// its end: see [`SourceFacts::seen_with`].
    ///
    /// [`SourceFacts::seen_with`]: turn_ledger::SourceFacts::seen_with
    fn refuse_unbounded(&self, settings: &mut Settings<'_>) {
        if self.budget.mode != BudgetMode::Strict {
            return;
        }
        for source in &self.ice.sources {
            for name in source.facts().seen_with {
                let expected =
                    format!("expected a value because BUDGET_MODE is strict and ICE_SOURCES has {source}");
                settings.refuse_if(name, !settings.is_set(name), expected);
            }
            let has_cli = source.facts().ended_by == EndedBy::CommandLine && settings.is_set("COTURN_CLI");
            let unlisted: Vec<_> = self.unlisted().collect();
            let hosts = unlisted.join(" and ");
            let expected = format!("expected an entry for {hosts} because BUDGET_MODE is strict");
            settings.refuse_if("COTURN_CLI", has_cli && !unlisted.is_empty(), expected);
        }
    }

    /// The hosts of the operator's own relays without an entry in `COTURN_CLI`: nobody lists or ends their sessions.
    pub fn unlisted(&self) -> impl Iterator<Item = &str> {
        let is_listed =
            |host: &str| self.meter.coturn_cli.iter().any(|cli| cli.host.as_deref() == Some(host));
        self.ice.coturn.iter().map(|relay| relay.host.as_str()).filter(move |host| !is_listed(host))
    }

    /// The place of a relay in `COTURN_URLS`, by its host; 0 for the only one or without relays.
    pub fn place_of_relay(&self, host: Option<&str>) -> usize {
        self.ice.coturn.iter().position(|relay| Some(&*relay.host) == host).unwrap_or_default()
    }

    /// Warns if a limit is below the least that a credential reserves, because strict mode then issues nothing. A limit of zero is meant to
    /// issue nothing, so it gives no warning. Never warns if coturn is among the sources: credentials of coturn reserve little, because the
    /// broker ends their sessions.
    fn warn_of_no_room(&self, settings: &mut Settings<'_>) {
        let is_strict = self.budget.mode == BudgetMode::Strict;
        let is_ended_by_broker = |source: &IceSource| source.facts().ended_by == EndedBy::CommandLine;
        if !is_strict || self.ice.sources.iter().any(is_ended_by_broker) {
            return;
        }
        let least_reserve = |source: &IceSource| {
            let tail = self.budget.tail_of(*source);
            // The minutes of the shortest promise: the mint, the life and the tail, and the difference of the clocks before and after them.
            let time = strict_life_min(tail) + tail + MINT_SLACK + 2 * source.clocks_differ_by();
            let minutes = time.as_secs().div_ceil(60);
            ByteCount::new(self.budget.liability_rate.per_minute().saturating_mul(minutes))
        };
        let metered = self.ice.sources.iter().filter(|source| source.is_metered());
        let Some(least) = metered.map(least_reserve).min() else { return };
        let limits = [
            ("BANDWIDTH_LIMIT_GB", Some(&self.budget.limit)),
            ("USER_LIMIT_GB", self.budget.user_limit.as_ref()),
            ("SERVER_KEY_LIMITS", self.server_keys.limits.values().min()),
        ];
        for (name, limit) in limits {
            if limit.is_some_and(|limit| *limit < least && *limit > ByteCount::ZERO) {
                settings.warn(format!(
                    "{name} is below the {} GB that a credential reserves in strict mode, so none is issued: raise it, or lower LIABILITY_MBPS_PER_GRANT or TURN_EXPIRY_TAIL_SECONDS",
                    least.gb_nearest()
                ));
            }
        }
    }

    /// Warns if the limit looks like a number of thousands, such as `1.000`: in many languages a point separates thousands.
    fn warn_of_thousands(&self, settings: &mut Settings<'_>) {
        let written = settings.environment.get("BANDWIDTH_LIMIT_GB").and_then(Result::ok).unwrap_or_default();
        if let Some((whole, decimals)) = written.split_once('.')
            && decimals.len() == 3
            && !whole.starts_with('0')
        {
            let limit = self.budget.limit.as_gb();
            settings.warn(format!(
                "BANDWIDTH_LIMIT_GB={written} is {limit} GB: write {whole}{decimals} if that is what you mean"
            ));
        }
    }

    /// Refuses a value that another setting overrules, because it would not be in force as it was written.
    fn refuse_overruled(&self, settings: &mut Settings<'_>) {
        let is_longer = self.signaling.ttl > self.ice.ttl_max && settings.is_set("SIGNALING_TTL_SECONDS");
        let expected = "expected at most the value of TURN_TTL_SECONDS";
        settings.refuse_if("SIGNALING_TTL_SECONDS", is_longer, expected);
        // An allowance always has room for the estimated rate of one connection, so a lower value would have no effect.
        let is_below_guess = self.usage.claims_per_client < self.usage.estimated_rate;
        let is_wrong = is_below_guess && settings.is_set("CLAIMS_MBPS_PER_CLIENT");
        let expected = "expected at least the value of ESTIMATED_MBPS_PER_CONNECTION";
        settings.refuse_if("CLAIMS_MBPS_PER_CLIENT", is_wrong, expected);
    }

    /// The public URL, below which the dashboard is. `None` without a `PUBLIC_URL`, or without an `OPERATOR_TOKEN`, which the dashboard
    /// needs.
    pub fn dashboard_base(&self) -> Option<PublicUrl> {
        self.public_url.clone().filter(|_| self.access.operator_token.is_some())
    }

    /// The keys that `SERVER_KEYS_FILE` has now, if a start would accept them; without such a file, the keys of the start. A key may have
    /// left that has a limit.
    pub fn server_keys_now(&self) -> Result<Vec<ServerKeyConfig>, ConfigErrors> {
        let Some(file) = &self.server_keys.file else { return Ok(self.server_keys.keys.clone()) };
        let environment = Environment::from_pairs([("SERVER_KEYS_FILE", file.to_string_lossy())]);
        let mut settings = Settings::new(&environment);
        let AccessConfig { operator_token, reporter_token, metrics_token, .. } = &self.access;
        let tokens = [
            ("OPERATOR_TOKEN", operator_token),
            ("REPORTER_TOKEN", reporter_token),
            ("METRICS_TOKEN", metrics_token),
        ];
        for (name, token) in tokens {
            if let Some(token) = token {
                settings.note_secret(name, token.expose_secret());
            }
        }
        let keys = ServerKeysConfig::read(&mut settings).keys;
        settings.finish().map(|_| keys)
    }

    fn read(settings: &mut Settings<'_>) -> Self {
        let usage = UsageConfig::read(settings);
        let network = network::read(settings);
        let database = DatabaseConfig::read(settings, &network.trust);
        let public_url = PublicUrl::read(settings);
        let access = AccessConfig::read(settings, public_url.as_ref());
        let server_keys = ServerKeysConfig::read(settings);
        let ice = IceConfig::read(settings);
        let meter = MeterConfig::read(settings, &ice.coturn);
        Self {
            server: ServerConfig::read(settings),
            log: LogConfig::read(settings),
            network,
            access,
            server_keys,
            auth: AuthConfig::read(settings),
            budget: BudgetConfig::read(settings, usage.estimated_rate),
            ice,
            usage,
            tariff: budget::read_tariff(settings),
            meter,
            alert: AlertConfig::read(settings),
            alert_percents: alert::read_percents(settings),
            public_url,
            wire_formats: WireFormat::read(settings),
            signaling: SignalingConfig::read(settings),
            database,
            unseen: IceSource::ALL
                .into_iter()
                .filter(|source| !source.facts().seen_with.iter().all(|name| settings.is_set(name)))
                .collect(),
            is_demo: false,
            secrets: settings.secrets(),
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;

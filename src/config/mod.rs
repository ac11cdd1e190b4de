//! The configuration as typed values. A [`Config`] is valid: no other module parses a setting or reads a variable. All
//! problems are reported together, by variable name, and no message contains a secret. A warning is a text for the log
//! about a setting that works but is probably a mistake.

mod access;
mod alert;
mod auth;
mod budget;
mod dotenv;
mod environment;
mod form;
mod host;
mod ice;
mod manual;
mod meter;
mod names;
mod origin;
mod public_url;
mod relay;
mod rotation;
mod server;
mod settings;
mod signaling;
mod signaling_modules;
mod turn_keys;

#[cfg(test)]
mod example_file_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod value_tests;

pub use access::{AccessConfig, RateLimitConfig};
pub use alert::{AlertConfig, AlertPercents, WebhookUrl};
pub use auth::AuthConfig;
pub use budget::{AMOUNT_MAX, BudgetConfig, LimitAction, PriceConfig, UsageConfig};
pub use environment::Environment;
pub use host::{AllowedHost, AllowedHosts};
pub use ice::{CloudflareConfig, CoturnConfig, IceConfig};
pub use meter::{AnalyticsConfig, CoturnCliConfig, MeterConfig};
pub use origin::AllowedOrigins;
pub use public_url::PublicUrl;
pub use relay::RelayConfig;
pub use rotation::RotationConfig;
pub use server::{LogConfig, LogFormat, ServerConfig, WireFormat, reachable};
pub use settings::{ConfigErrors, ConfigProblem};
pub use signaling::{
    AyameConfig, P2pcfConfig, ReportsConfig, RoomsConfig, SfuConfig, SfuLock, SignalingConfig,
};
pub use signaling_modules::{Off, is_at_or_below};
pub use turn_keys::{Country, CountryKeys, KEYS_MAX, TurnKeyConfig};

pub(crate) use form::parse_web_url;
use form::{IDENTIFIER_MAX, identifier};
use settings::Settings;

/// Every setting. The `Debug` form shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listener.
    pub server: ServerConfig,
    /// The log.
    pub log: LogConfig,
    /// Access: origins, rate limit, proxies, tokens.
    pub access: AccessConfig,
    /// How users are known; with `None` every caller is anonymous.
    pub auth: Option<AuthConfig>,
    /// The ICE sources.
    pub ice: IceConfig,
    /// The budget and the action at its limit.
    pub budget: BudgetConfig,
    /// The usage estimate.
    pub usage: UsageConfig,
    /// What the bytes cost.
    pub prices: PriceConfig,
    /// Measured usage.
    pub meter: MeterConfig,
    /// The receiver of alerts; with `None` no alerts are sent.
    pub alert: Option<AlertConfig>,
    /// The parts of the limit at which there is an alert. `ALERT_PERCENTS`; 50, 80, 95 and 100 when unset.
    pub alert_percents: AlertPercents,
    /// The address of this broker for people; with `None` alerts have no link.
    pub public_url: Option<PublicUrl>,
    /// The other wire formats of the mint that are on.
    pub wire_formats: Vec<WireFormat>,
    /// Signaling. Every protocol is off until it is named.
    pub signaling: SignalingConfig,
    /// Whether the demo's page is served. Not a setting: only `turn-broker demo` sets it.
    pub is_demo: bool,
    /// One text for each setting that is probably a mistake, for the log at start. They contain no secret.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every setting, or returns all problems.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigErrors> {
        let mut settings = Settings::new(env);
        let config = Self::read(&mut settings);
        Ok(Self { warnings: settings.finish()?, ..config })
    }

    fn read(settings: &mut Settings<'_>) -> Self {
        let account_id = settings.optional("CLOUDFLARE_ACCOUNT_ID", identifier(IDENTIFIER_MAX));
        let usage = UsageConfig::read(settings);
        Self {
            server: ServerConfig::read(settings),
            log: LogConfig::read(settings),
            access: AccessConfig::read(settings),
            auth: AuthConfig::read(settings),
            budget: BudgetConfig::read(settings, usage.estimated_rate),
            ice: IceConfig::read(settings, account_id.clone()),
            usage,
            prices: PriceConfig::read(settings),
            meter: MeterConfig::read(settings, account_id),
            alert: AlertConfig::read(settings),
            alert_percents: AlertPercents::read(settings),
            public_url: PublicUrl::read(settings),
            wire_formats: WireFormat::read(settings),
            signaling: SignalingConfig::read(settings),
            is_demo: false,
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{assert_refused, load, load_file, load_in};
    use super::*;

    fn secrets() -> impl Iterator<Item = &'static str> {
        names::ALL.iter().filter(|name| name.is_secret).map(|name| name.name)
    }

    #[test]
    fn an_empty_environment_is_a_valid_configuration_without_warnings() {
        let config = load([]);
        assert_eq!(format!("{}:{}", config.server.host, config.server.port), "0.0.0.0:3001");
        assert_eq!(config.access.origins, AllowedOrigins::List(vec!["http://localhost:5173".into()]));
        assert_eq!(config.access.rate.requests.get(), 10);
        assert_eq!(config.ice.sources, [turn_ledger::IceSource::Cloudflare, turn_ledger::IceSource::Stun]);
        assert_eq!(config.ice.stun.len(), 2);
        assert_eq!(config.budget.limit.get(), 1_000_000_000_000);
        assert_eq!(config.budget.liability_rate, config.usage.estimated_rate);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn all_problems_are_reported_at_once_and_sorted() {
        assert_refused(
            [("PORT", "abc"), ("BILLING_DAY", "0"), ("COTURN_SECRET", "hush"), ("LOG_FORMAT", "xml")],
            &[
                "BILLING_DAY: expected a day of the month from 1 to 31, found \"0\"",
                "COTURN_URLS: expected a value because COTURN_SECRET is set (both or neither)",
                "LOG_FORMAT: expected text or json, found \"xml\"",
                "PORT: expected a number from 0 to 65535, found \"abc\"",
            ],
        );
    }

    #[test]
    fn every_known_variable_is_parsed() {
        // No value may contain this character, so each variable that is read has a problem.
        let names = names::ALL.iter().map(|name| name.name);
        let environment = Environment::from_pairs(names.clone().map(|name| (name, "\u{7f}")));
        let errors = Config::from_env(&environment).unwrap_err();
        let mut reported: Vec<&str> = errors.problems().iter().map(|problem| &*problem.variable).collect();
        reported.dedup();
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        assert_eq!(reported, names);
    }

    #[test]
    fn every_secret_can_come_from_a_file() {
        for secret in secrets() {
            let file = names::Setting::file(secret);
            let errors = load_in(&Environment::from_pairs([(&*file, "/run/none")])).unwrap_err().to_string();
            assert!(errors.contains(&format!("{file}: cannot read \"/run/none\"")), "{errors}");
        }
    }

    #[test]
    fn a_misspelled_name_gives_a_hint() {
        let warnings = load([("TURN_TTL_SECOND", "60"), ("PATH", "/bin"), ("TURN_X", "")]).warnings;
        assert_eq!(warnings, ["TURN_TTL_SECOND is not a setting; did you mean TURN_TTL_SECONDS?"]);
    }

    #[test]
    fn a_misspelled_name_about_money_or_secrets_is_a_problem_like_any_other() {
        assert_refused(
            [("BANDWITH_LIMIT_GB", "100"), ("OPERATR_TOKEN", "hush"), ("PORT", "abc")],
            &[
                "PORT: expected a number from 0 to 65535, found \"abc\"",
                "BANDWITH_LIMIT_GB is not a setting; did you mean BANDWIDTH_LIMIT_GB?",
                "OPERATR_TOKEN is not a setting; did you mean OPERATOR_TOKEN?",
            ],
        );
        assert_refused([("BILING_DAY", "7")], &["BILING_DAY is not a setting; did you mean BILLING_DAY?"]);
        assert!(load([("BANDWITH_LIMIT_GB", "")]).warnings.is_empty(), "an empty value counts as unset");
    }

    /// Every secret, with `hush` in its value.
    const SECRETS: [(&str, &str); 22] = [
        ("OPERATOR_TOKEN", "hush-operator-token"),
        ("REPORTER_TOKEN", "hush-reporter-token"),
        ("CLOUDFLARE_TURN_KEY_ID", "id"),
        ("CLOUDFLARE_TURN_API_TOKEN", "hush-api-token"),
        ("CLOUDFLARE_TURN_KEYS", "eu=id-2:hush-key-token"),
        ("CLOUDFLARE_API_TOKEN", "hush-rest-token"),
        ("COTURN_URLS", "turn:coturn.example"),
        ("COTURN_SECRET", "hush-coturn"),
        (
            "MANUAL_ICE_SERVERS",
            r#"[{"urls": "turn:a", "username": "hush-user", "credential": "hush-password"}]"#,
        ),
        ("COTURN_CLI", "localhost:5766"),
        ("COTURN_CLI_PASSWORD", "hush-cli"),
        ("CLOUDFLARE_ACCOUNT_ID", "account"),
        ("CLOUDFLARE_ANALYTICS_TOKEN", "hush-analytics"),
        ("ALERT_WEBHOOK_URL", "https://hooks.example/hush-path?hush-query"),
        ("ALERT_WEBHOOK_SECRET", "hush-webhook-secret"),
        ("AUTH_JWT_SECRET", "hush-jwt-secret-of-at-least-32-characters"),
        ("SIGNALING", "ayame,sfu,reports"),
        ("AUTHN_WEBHOOK_URL", "https://app.example/hush-path?hush-query"),
        ("DISCONNECT_WEBHOOK_URL", "https://app.example/hush-path?hush-query"),
        ("CALLS_APP_ID", "app"),
        ("CALLS_APP_SECRET", "hush-app-secret"),
        ("FEEDBACK_URL", "https://chat.example/hush-path?hush-query"),
    ];

    #[test]
    fn debug_output_and_warnings_contain_no_secret() {
        for secret in secrets() {
            assert!(SECRETS.iter().any(|(name, _)| *name == secret), "{secret} is missing in SECRETS");
        }
        let shown = format!("{:?}", load(SECRETS));
        assert!(shown.contains("turn:coturn.example") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn problems_contain_no_secret_from_a_value_or_a_file() {
        let bad = "hush hush\u{7f}";
        for secret in secrets() {
            let by_value = load_in(&Environment::from_pairs([(secret, bad)])).unwrap_err();
            let by_file = load_file(&names::Setting::file(secret), bad).unwrap_err();
            for errors in [format!("{by_value} {by_value:?}"), by_file] {
                assert!(!errors.contains("hush"), "{errors}");
            }
        }
    }
}

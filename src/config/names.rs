//! The table of variables: name, default, and whether the value is a secret. It is the only one: the parser, the hint for
//! a misspelled name and the test of `.env.example` use it. So every parsed variable is known, and each default exists
//! once.

/// A variable whose value may be shown in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    name: &'static str,
    default: Option<&'static str>,
}

/// A variable whose value is never shown. `NAME_FILE` may name a file with the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SecretVariable {
    name: &'static str,
}

impl Variable {
    /// The name in the environment.
    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    /// The value when unset, as an operator would write it.
    pub(super) const fn default(self) -> Option<&'static str> {
        self.default
    }
}

impl SecretVariable {
    /// The name in the environment.
    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    /// The name of the variable that holds the path of a file with the value.
    pub(super) fn file_name(self) -> String {
        format!("{}_FILE", self.name)
    }
}

macro_rules! variables {
    (plain { $($plain:ident $(= $default:literal)?;)* } secret { $($secret:ident;)* }) => {
        $(pub(super) const $plain: Variable =
            Variable { name: stringify!($plain), default: variables!(@default $($default)?) };)*
        $(pub(super) const $secret: SecretVariable = SecretVariable { name: stringify!($secret) };)*
        /// Every variable that is not a secret.
        pub(super) const PLAIN: &[Variable] = &[$($plain),*];
        /// Every secret variable.
        pub(super) const SECRET: &[SecretVariable] = &[$($secret),*];
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

variables! {
    plain {
        HOST = "0.0.0.0";
        PORT = "3001";
        LOG_FORMAT;
        RUST_LOG = "info";
        CLIENT_URL = "http://localhost:5173";
        RATE_LIMIT_REQUESTS = "10";
        RATE_LIMIT_RENEWALS = "40";
        RATE_LIMIT_WINDOW_SECONDS = "300";
        RATE_LIMIT_IPV6_PREFIX = "64";
        RATE_LIMIT_MAX_CLIENTS = "100000";
        TRUSTED_PROXIES;
        ALLOWED_HOSTS;
        TURN_ENABLED = "true";
        ICE_SOURCES = "cloudflare,stun";
        ICE_URLS = "short";
        TURN_TTL_SECONDS = "86400";
        TURN_POOL_MAX = "256";
        STUN_URLS = "stun:stun.l.google.com:19302,stun:stun1.l.google.com:19302";
        CLOUDFLARE_TURN_KEY_ID;
        KEY_ROTATION_DAYS;
        CLOUDFLARE_REST_BASE = "https://api.cloudflare.com";
        COUNTRY_HEADER = "CF-IPCountry";
        COUNTRY_KEYS;
        CLOUDFLARE_API_BASE = "https://rtc.live.cloudflare.com";
        COTURN_URLS;
        RELAY_LISTEN = "127.0.0.1:3478";
        RELAY_PUBLIC_IP;
        BANDWIDTH_LIMIT_GB = "1000";
        BILLING_DAY = "1";
        BUDGET_MODE = "estimate";
        LIMIT_ACTION = "refuse";
        LIABILITY_MBPS_PER_GRANT;
        TURN_EXPIRY_TAIL_SECONDS;
        ESTIMATED_MBPS_PER_CONNECTION = "2";
        BILLED_DIRECTIONS = "egress";
        HEARTBEAT_SECONDS = "30";
        PRICE_PER_GB = "0.05";
        FREE_GB = "1000";
        CURRENCY = "USD";
        PUBLIC_URL;
        ALERT_PERCENTS = "50,80,95,100";
        CLAIMS_MBPS_PER_CLIENT = "50";
        RESERVED_PERCENT_PER_CLIENT = "5";
        USER_LIMIT_GB;
        CLIENT_ADDRESSES = "prefix";
        STATE_DIR;
        COTURN_CLI;
        CLOUDFLARE_ACCOUNT_ID;
        CLOUDFLARE_ANALYTICS_BASE = "https://api.cloudflare.com";
        CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS = "60";
        ANALYTICS_LAG_SECONDS = "600";
        ANALYTICS_MARGIN_PERCENT = "5";
        DOORS;
        AUTH_JWKS_URL;
        AUTH_ISSUER;
        AUTH_AUDIENCE;
        AUTH_USER_CLAIM = "sub";
        AUTH_REQUIRED = "false";
        SIGNALING;
        SIGNALING_TTL_SECONDS = "14400";
        SIGNALING_SOCKETS_PER_CLIENT = "64";
        COPY_WEBSOCKET_HEADER_NAMES;
        TYPE_MESSAGE = "false";
        WS_PING_INTERVAL_SEC = "5";
        WS_PONG_TIMEOUT_SEC = "60";
        WS_READ_TIMEOUT_SEC = "90";
        READ_LIMIT_BYTES = "1048576";
        WEBHOOK_TIMEOUT_SEC = "5";
        P2PCF_PATH = "/p2pcf";
        P2PCF_ORIGIN_QUOTA;
        SFU_PREFIXES = "/partytracks,/api/calls";
        SFU_LOCK = "true";
        SFU_STRICT_PASSTHROUGH = "false";
        CALLS_APP_ID;
        CALLS_API_URL = "https://rtc.live.cloudflare.com/v1";
        USER_HEADER = "Cf-Access-Authenticated-User-Email";
        ROOM_MEMBERS_MAX = "64";
        ROOM_SWEEP_SECONDS = "15";
        PEERJS_KEY = "peerjs";
        REPORTS_DIR;
    }
    secret {
        OPERATOR_TOKEN;
        REPORTER_TOKEN;
        CLOUDFLARE_TURN_API_TOKEN;
        CLOUDFLARE_TURN_KEYS;
        CLOUDFLARE_API_TOKEN;
        COTURN_SECRET;
        MANUAL_ICE_SERVERS;
        COTURN_CLI_PASSWORD;
        CLOUDFLARE_ANALYTICS_TOKEN;
        ALERT_WEBHOOK_URL;
        ALERT_WEBHOOK_SECRET;
        AUTH_JWT_SECRET;
        AUTHN_WEBHOOK_URL;
        DISCONNECT_WEBHOOK_URL;
        CALLS_APP_SECRET;
        FEEDBACK_URL;
    }
}

/// Our prefixes: an unknown name with one of them is misspelled.
const OWN_PREFIXES: [&str; 4] = ["TURN_", "CLOUDFLARE_", "RATE_LIMIT_", "RELAY_"];

/// Every known name, including the `NAME_FILE` forms.
pub(super) fn all() -> impl Iterator<Item = String> {
    let plain = PLAIN.iter().map(|variable| variable.name().to_owned());
    let secret = SECRET.iter().flat_map(|variable| [variable.name().to_owned(), variable.file_name()]);
    plain.chain(secret)
}

/// Whether `name` is exactly a known name.
pub(super) fn is_known(name: &str) -> bool {
    all().any(|known| known == name)
}

/// From this similarity on, a name without one of our prefixes counts as misspelled too.
const SIMILARITY_MIN: f64 = 0.8;

/// Settings that limit what is spent, or by whom. A default in their place can cost money.
const MONEY: [Variable; 21] = [
    TURN_ENABLED,
    ICE_SOURCES,
    CLOUDFLARE_TURN_KEY_ID,
    CLOUDFLARE_ACCOUNT_ID,
    BANDWIDTH_LIMIT_GB,
    USER_LIMIT_GB,
    RESERVED_PERCENT_PER_CLIENT,
    CLAIMS_MBPS_PER_CLIENT,
    BILLING_DAY,
    BUDGET_MODE,
    LIMIT_ACTION,
    LIABILITY_MBPS_PER_GRANT,
    TURN_EXPIRY_TAIL_SECONDS,
    ESTIMATED_MBPS_PER_CONNECTION,
    BILLED_DIRECTIONS,
    COTURN_CLI,
    STATE_DIR,
    AUTH_JWKS_URL,
    AUTH_ISSUER,
    AUTH_AUDIENCE,
    AUTH_REQUIRED,
];

/// A name that differs from ours by more characters than this is not one of ours with a typing error. Other programs have
/// names that differ by a word.
const ERRORS_MAX: usize = 2;

/// Names that others give to what is one of ours.
const SYNONYMS: [(&str, Variable); 4] = [
    ("CLIENT_ORIGIN", CLIENT_URL),
    ("CLIENT_ORIGINS", CLIENT_URL),
    ("ALLOWED_ORIGINS", CLIENT_URL),
    ("CORS_ORIGIN", CLIENT_URL),
];

/// Names of other programs that differ from ours by less.
const FOREIGN: [&str; 2] = ["TURN_SECRET", "TURN_SECRET_FILE"];

/// Kubernetes sets variables with this prefix in every container if a Service is named `turn-broker`.
const KUBERNETES_PREFIX: &str = "TURN_BROKER_";

/// A name that looks like a setting and is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misspelled {
    pub(super) name: String,
    /// The known name that is most similar.
    pub(super) nearest: String,
    /// Whether the setting that is meant limits what is spent, or is a secret. Then it must not be ignored.
    pub(super) is_fatal: bool,
}

impl Misspelled {
    /// A name with one of our prefixes, or one that is very similar to a known name, ignoring case.
    pub(super) fn of(name: &str) -> Option<Self> {
        if is_known(name) || name.starts_with(KUBERNETES_PREFIX) {
            return None;
        }
        let upper = name.to_ascii_uppercase();
        if let Some((_, meant)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == upper) {
            return Some(Self { name: upper, nearest: meant.name().to_owned(), is_fatal: false });
        }
        // Compares pairs of letters. An edit distance would count a missing word as many errors.
        let similarity = |known: &String| strsim::sorensen_dice(&upper, known);
        let nearest = all().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
        let is_similar = similarity(&nearest) >= SIMILARITY_MIN;
        let is_ours = OWN_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
        let is_meant = nearest.starts_with(&upper)
            || strsim::damerau_levenshtein(&upper, &nearest) <= ERRORS_MAX && !FOREIGN.contains(&name);
        let is_fatal = is_similar && is_meant && is_fatal(&nearest);
        let name = name.escape_debug().to_string();
        (is_ours || is_similar).then_some(Self { name, nearest, is_fatal })
    }
}

impl std::fmt::Display for Misspelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is not a setting; did you mean {}?", self.name, self.nearest)
    }
}

fn is_fatal(known: &str) -> bool {
    let is_secret = |secret: &SecretVariable| known == secret.name() || known == secret.file_name();
    SECRET.iter().any(is_secret) || MONEY.iter().any(|variable| variable.name() == known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_gets_the_nearest_known_name() {
        for (name, nearest) in [
            ("TURN_TTL_SECOND", "TURN_TTL_SECONDS"),
            ("TURN_TTL", "TURN_TTL_SECONDS"),
            ("turn_ttl_seconds", "TURN_TTL_SECONDS"),
            ("Turn_Ttl_Second", "TURN_TTL_SECONDS"),
            ("port", "PORT"),
            ("operator_token_file", "OPERATOR_TOKEN_FILE"),
            ("CLOUDFLARE_TURN_API_TOKN", "CLOUDFLARE_TURN_API_TOKEN"),
            ("CLOUDFLARE_TURN_API_TOKEN_FLE", "CLOUDFLARE_TURN_API_TOKEN_FILE"),
            ("CLOUDFLARE_TURN_KEY_ID_FILE", "CLOUDFLARE_TURN_KEY_ID"),
            ("RATE_LIMIT_REQUEST", "RATE_LIMIT_REQUESTS"),
            ("TURN_ENABLE", "TURN_ENABLED"),
            ("TURN_KEY_ID", "CLOUDFLARE_TURN_KEY_ID"),
            ("TURN_STUN_URLS", "STUN_URLS"),
            ("BANDWIDTH_LIMIT", "BANDWIDTH_LIMIT_GB"),
            ("BANDWITH_LIMIT_GB", "BANDWIDTH_LIMIT_GB"),
            ("CLIENT_URLS", "CLIENT_URL"),
            ("CLIENT_ORIGIN", "CLIENT_URL"),
            ("ALLOWED_ORIGINS", "CLIENT_URL"),
            ("OPERATOR_TOKN", "OPERATOR_TOKEN"),
            ("BILING_DAY", "BILLING_DAY"),
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
            ("ICE_SOURCE", "ICE_SOURCES"),
        ] {
            let hint = format!("{name} is not a setting; did you mean {nearest}?");
            assert_eq!(Misspelled::of(name).map(|misspelled| misspelled.to_string()), Some(hint));
        }
    }

    #[test]
    fn known_and_foreign_names_get_no_hint() {
        let foreign = [
            "PATH",
            "HOSTNAME",
            "CLIENT_ID",
            "RATE",
            "XTURN_TTL",
            "TURN_BROKER_PORT",
            "TURN_BROKER_SERVICE_HOST",
            "",
        ];
        for name in all().chain(foreign.map(String::from)) {
            assert_eq!(Misspelled::of(&name), None, "{name}");
        }
    }

    #[test]
    fn only_a_near_miss_of_a_name_about_money_or_secrets_is_fatal() {
        let is_fatal = |name: &str| Misspelled::of(name).is_some_and(|misspelled| misspelled.is_fatal);
        for name in [
            "BANDWITH_LIMIT_GB",
            "BANDWIDTH_LIMIT",
            "bandwidth_limit_gb",
            "BANDWIDTH_LIMIT_BG",
            "BILING_DAY",
            "BUDGET_MOD",
            "LIMIT_ACTIONS",
            "TURN_ENABLE",
            "ICE_SOURCE",
            "OPERATR_TOKEN",
            "OPERATOR_TOKEN_FIL",
            "REPORTER_TOKENS",
            "CLOUDFLARE_TURN_API_TOKN",
            "CLOUDFLARE_TURN_KEYID",
            "CLOUDFLARE_ANALYTIC_TOKEN",
            "COTURN_SECRETS",
            "ALERT_WEBHOOK",
            "STATE_DIRS",
            "AUTH_REQUIRE",
            "USER_LIMT_GB",
            "RESERVED_PERCENT_PER_CLIENTS",
            "CLAIMS_MPBS_PER_CLIENT",
            "COTURN_CLI_",
        ] {
            assert!(is_fatal(name), "{name}");
        }
        // Others set these, or their defaults cost nothing.
        for name in [
            "CLOUDFLARE_API_KEY",
            "CLOUDFLARE_DNS_API_TOKEN",
            "CLOUDFLARE_DNS_API_TOKEN_FILE",
            "CLOUDFLARE_ZONE_API_TOKEN_FILE",
            "CLOUDFLARE_TUNNEL_API_TOKEN",
            "CLOUDFLARE_WEB_ANALYTICS_TOKEN",
            "CLOUDFLARE_ACCOUNT_NAME",
            "CLOUDFLARE_ACCOUNT_TAG",
            "CLOUDFLARE_R2_ACCOUNT_ID",
            "TURN_SECRET",
            "TURN_PASSWORD",
            "COTURN_PASSWORD",
            "COTURN_STATIC_AUTH_SECRET",
            "COTURN_AUTH_SECRET",
            "XDG_STATE_DIR",
            "WEBHOOK_SECRET",
            "SLACK_ALERT_WEBHOOK_URL",
            "ICE_SERVERS_FILE",
            "CLOUDFLARE_EMAIL",
            "TURN_X",
            "TURN_TTL_SECOND",
            "RATE_LIMIT_REQUEST",
            "CLIENT_URLS",
            "port",
            "STATE_DIRECTORY",
            "RUNTIME_DIRECTORY",
            "API_TOKEN",
        ] {
            assert!(!is_fatal(name), "{name}");
        }
    }

    #[test]
    fn no_name_is_in_the_table_twice() {
        let mut names: Vec<String> = all().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

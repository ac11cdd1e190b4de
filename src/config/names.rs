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
        RATE_LIMIT_WINDOW_SECONDS = "300";
        RATE_LIMIT_IPV6_PREFIX = "64";
        RATE_LIMIT_MAX_CLIENTS = "100000";
        TRUSTED_PROXIES;
        TURN_ENABLED = "true";
        ICE_SOURCES = "cloudflare,stun";
        TURN_TTL_SECONDS = "86400";
        TURN_POOL_MAX = "256";
        STUN_URLS = "stun:stun.l.google.com:19302,stun:stun1.l.google.com:19302";
        CLOUDFLARE_TURN_KEY_ID;
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
        UNREPORTED_GRANT_MB = "0";
        CLAIMS_MBPS_PER_CLIENT = "50";
        RESERVED_PERCENT_PER_CLIENT = "5";
        STATE_DIR;
        COTURN_CLI;
        CLOUDFLARE_ACCOUNT_ID;
        CLOUDFLARE_ANALYTICS_BASE = "https://api.cloudflare.com";
        CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS = "60";
        ANALYTICS_LAG_SECONDS = "600";
        ANALYTICS_MARGIN_PERCENT = "5";
        DOORS;
    }
    secret {
        OPERATOR_TOKEN;
        REPORTER_TOKEN;
        CLOUDFLARE_TURN_API_TOKEN;
        COTURN_SECRET;
        MANUAL_ICE_SERVERS;
        COTURN_CLI_PASSWORD;
        CLOUDFLARE_ANALYTICS_TOKEN;
        ALERT_WEBHOOK_URL;
        ALERT_WEBHOOK_SECRET;
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

/// A hint for a name that looks like a setting and is not one: it has one of our prefixes, or it is very similar to a
/// known name, ignoring case.
pub(super) fn hint_for(name: &str) -> Option<String> {
    if is_known(name) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    // Compares pairs of letters. An edit distance would count a missing word as many errors.
    let similarity = |known: &String| strsim::sorensen_dice(&upper, known);
    let nearest = all().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    let is_ours = OWN_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    let is_meant = is_ours || similarity(&nearest) >= SIMILARITY_MIN;
    is_meant.then(|| format!("{} is not a setting; did you mean {nearest}?", name.escape_debug()))
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
            ("CLOUDFLARE_API_TOKEN", "CLOUDFLARE_TURN_API_TOKEN"),
            ("TURN_STUN_URLS", "STUN_URLS"),
            ("BANDWIDTH_LIMIT", "BANDWIDTH_LIMIT_GB"),
            ("BANDWITH_LIMIT_GB", "BANDWIDTH_LIMIT_GB"),
            ("CLIENT_URLS", "CLIENT_URL"),
            ("OPERATOR_TOKN", "OPERATOR_TOKEN"),
            ("BILING_DAY", "BILLING_DAY"),
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
            ("ICE_SOURCE", "ICE_SOURCES"),
        ] {
            let hint = format!("{name} is not a setting; did you mean {nearest}?");
            assert_eq!(hint_for(name), Some(hint));
        }
    }

    #[test]
    fn known_and_foreign_names_get_no_hint() {
        for name in
            all().chain(["PATH".into(), "HOSTNAME".into(), "RATE".into(), "XTURN_TTL".into(), String::new()])
        {
            assert_eq!(hint_for(&name), None, "{name}");
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

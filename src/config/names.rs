//! The one table of variables: name, default, and whether the value is a secret. The parser can only ask for what
//! stands here, the warning about a misspelt name compares with it, and the test of `.env.example` checks that file
//! against it. So nothing can be parsed that is not known, and no default is written twice.

/// A variable whose value may be shown in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    name: &'static str,
    default: Option<&'static str>,
}

/// A variable whose value is never shown, and which may also be given as `NAME_FILE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SecretVariable {
    name: &'static str,
}

impl Variable {
    /// The name in the environment.
    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    /// What holds when it is not set, written as an operator would write it.
    pub(super) const fn default(self) -> Option<&'static str> {
        self.default
    }
}

impl SecretVariable {
    /// The name in the environment.
    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    /// The name under which the path of a file with the value may be given instead.
    pub(super) fn file_name(self) -> String {
        format!("{}_FILE", self.name)
    }
}

macro_rules! variables {
    (plain { $($plain:ident $(= $default:literal)?;)* } secret { $($secret:ident;)* }) => {
        $(pub(super) const $plain: Variable =
            Variable { name: stringify!($plain), default: variables!(@default $($default)?) };)*
        $(pub(super) const $secret: SecretVariable = SecretVariable { name: stringify!($secret) };)*
        /// Every variable that is no secret.
        pub(super) const PLAIN: &[Variable] = &[$($plain),*];
        /// Every variable that is one.
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

/// Prefixes that are ours: a name which begins so and is not in the table is a slip of the pen.
const OWN_PREFIXES: [&str; 4] = ["TURN_", "CLOUDFLARE_", "RATE_LIMIT_", "RELAY_"];

/// Every name that may stand in the environment, the `NAME_FILE` forms among them.
pub(super) fn all() -> impl Iterator<Item = String> {
    let plain = PLAIN.iter().map(|variable| variable.name().to_owned());
    let secret = SECRET.iter().flat_map(|variable| [variable.name().to_owned(), variable.file_name()]);
    plain.chain(secret)
}

/// Whether `name` is a setting, letter by letter.
pub(super) fn is_known(name: &str) -> bool {
    all().any(|known| known == name)
}

/// From this likeness on, a name that is not ours by its prefix is taken for a slip of the pen all the same.
const LIKENESS_MIN: f64 = 0.8;

/// A hint when `name` looks like a setting and is none: ours by its prefix, known but for the case of its letters, or
/// very like one that is.
pub(super) fn hint_for(name: &str) -> Option<String> {
    if is_known(name) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    // Pairs of letters in common: names here differ by whole words, which an edit distance counts as many faults.
    let likeness = |known: &String| strsim::sorensen_dice(&upper, known);
    let nearest = all().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let is_ours = OWN_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    let is_meant = is_ours || likeness(&nearest) >= LIKENESS_MIN;
    is_meant.then(|| format!("{} is not a setting; did you mean {nearest}?", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest_one() {
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
    fn known_names_and_names_of_others_get_no_hint() {
        for name in
            all().chain(["PATH".into(), "HOSTNAME".into(), "RATE".into(), "XTURN_TTL".into(), String::new()])
        {
            assert_eq!(hint_for(&name), None, "{name}");
        }
    }

    #[test]
    fn no_name_stands_in_the_table_twice() {
        let mut names: Vec<String> = all().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

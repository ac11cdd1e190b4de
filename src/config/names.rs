//! The names of the settings that were read, and the hints for a variable whose name looks like the name of a setting but is not one.

#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// The variable.
    pub(super) name: &'static str,
    /// The value when unset, as an operator would write it.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the test of .env.example reads it"))]
    pub(super) default: Option<&'static str>,
    /// Whether the value is never shown, and `NAME_FILE` may name a file with it.
    pub(super) is_secret: bool,
    /// Whether it limits what is spent, or by whom, or says what it costs. If its name is misspelled, its default can cost money.
    pub(super) is_money: bool,
}

impl Setting {
    /// The variable that holds the path of a file with the value of the secret `name`.
    pub(super) fn file(name: &str) -> String {
        format!("{name}_FILE")
    }
}

/// First words of our names that other programs use too.
const GENERAL_WORDS: [&str; 22] = [
    "AT", "CA", "CLIENT", "COPY", "DATABASE", "FREE", "HTTP", "HTTPS", "KEEP", "LIMIT", "LOG", "NO", "PRICE",
    "PUBLIC", "RATE", "READ", "RUST", "SERVER", "STATE", "TYPE", "USER", "WS",
];

/// Added to the similarity of a setting that begins like the name: an invented name more often begins right than ends right.
const BEGINS_ALIKE: f64 = 0.2;

/// From this similarity on, a name that begins like none of ours counts as misspelled too.
const SIMILARITY_MIN: f64 = 0.8;

/// A name that differs from ours by more characters than this is not one of ours with a typing error. Other programs have
/// names that differ by a word.
const ERRORS_MAX: usize = 2;

/// A name of at least so many characters counts as misspelled if it differs from one of ours by one typing error.
const LONG: usize = 6;

/// Kubernetes sets variables in every container for each Service of its namespace. Those for a Service named `turn-broker` or `coturn` have
/// one of these parts.
const OF_KUBERNETES: [&str; 3] = ["TURN_BROKER_PORT", "_SERVICE_", "_PORT_"];

/// A name that begins only like settings about money and has one of these words states an amount that is not in force. Other programs have
/// names such as `GRANT_TYPE`.
const AMOUNTS: [&str; 11] =
    ["GB", "TB", "MB", "GIB", "KBPS", "MBPS", "GBPS", "LIMIT", "DAY", "MODE", "PERCENT"];

/// Variables that other programs read. They look like `HTTPS_PROXY` and `RUST_LOG`.
const OF_OTHERS: [&str; 2] = ["HTTP_PROXY", "RUST_LOG_STYLE"];

/// A name that looks like a setting and is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not a setting; did you mean {nearest}?")]
pub(super) struct Misspelled {
    name: String,
    /// The known name that is most similar.
    nearest: String,
    /// Whether the setting that is meant is about money, or is a secret. Then the start must not ignore the misspelled name.
    pub(super) is_fatal: bool,
}

/// The settings that were read, each once.
#[derive(Debug, Default)]
pub(super) struct Names(pub(super) Vec<Setting>);

impl Names {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Setting> + Clone {
        self.0.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.iter().find(|setting| setting.name == name)
    }

    /// Every variable that is read, including the `NAME_FILE` forms.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        let files = self.iter().filter(|setting| setting.is_secret);
        let files = files.map(|secret| Setting::file(secret.name));
        self.iter().map(|setting| setting.name.to_owned()).chain(files)
    }

    /// Whether `variable` is exactly the name of a variable that is read.
    pub(super) fn contains(&self, variable: &str) -> bool {
        self.variables().any(|known| known == variable)
    }

    /// The hint for a name that begins like one of ours or is very similar to one, ignoring case, and for `NAME_FILE` of a setting that is
    /// no secret. `None` for any other name, for a name of ours, and for one that other programs read.
    pub(super) fn misspelled(&self, name: &str) -> Option<Misspelled> {
        let upper = name.to_ascii_uppercase();
        let is_of_others =
            OF_OTHERS.contains(&&*upper) || OF_KUBERNETES.iter().any(|part| name.contains(part));
        if self.contains(name) || is_of_others {
            return None;
        }
        // Only a secret may be in a file.
        let without_file =
            upper.strip_suffix("_FILE").filter(|known| self.contains(known) && !self.contains(&upper));
        if let Some(known) = without_file {
            let (nearest, is_fatal) = (known.to_owned(), self.must_not_be_ignored(known));
            return Some(Misspelled { name: name.escape_debug().to_string(), nearest, is_fatal });
        }
        // Compares pairs of letters. An edit distance would count a missing word as many errors.
        let similarity = |known: &str| strsim::sorensen_dice(&joined(&upper), &joined(known));
        let rank = |known: &str| {
            let begins_alike = begins_like(&upper, known);
            similarity(known) + if begins_alike { BEGINS_ALIKE } else { 0.0 }
        };
        let nearest = self.variables().max_by(|a, b| rank(a).total_cmp(&rank(b)))?;
        let errors = |known: &str| strsim::damerau_levenshtein(&upper, known);
        let is_similar =
            similarity(&nearest) >= SIMILARITY_MIN || upper.len() >= LONG && errors(&nearest) == 1;
        let mut alike = self.iter().filter(|known| begins_like(&upper, known.name)).peekable();
        let begins_like_ours = alike.peek().is_some();
        if !begins_like_ours && !is_similar {
            return None;
        }
        let is_amount = begins_like_ours
            && alike.all(|known| known.is_money)
            && upper.split('_').any(|word| AMOUNTS.contains(&word));
        // The nearest name is meant if it begins with the given name, or if the given name has few typing errors, compared with the nearest
        // name or with that name without its last word.
        let without_last = nearest.rsplit_once('_').map_or(&*nearest, |(begin, _)| begin);
        let is_meant = nearest.starts_with(&upper)
            || [&nearest, without_last].iter().any(|known| errors(known) <= ERRORS_MAX);
        let is_fatal = is_amount || is_similar && is_meant && self.must_not_be_ignored(&nearest);
        Some(Misspelled { name: name.escape_debug().to_string(), nearest, is_fatal })
    }

    /// Whether a variable, `NAME` or `NAME_FILE`, is about money or is a secret.
    fn must_not_be_ignored(&self, variable: &str) -> bool {
        let name = variable.strip_suffix("_FILE").unwrap_or(variable);
        self.get(name).is_some_and(|known| known.is_secret || known.is_money)
    }
}

/// A name without the marks between its words.
fn joined(name: &str) -> String {
    name.replace('_', "")
}

/// Whether `upper` begins with the first word of a setting, or with the first two words if other programs use the first word too. Always
/// false for a setting of one word.
fn begins_like(upper: &str, setting: &str) -> bool {
    let Some((word, _)) = setting.split_once('_') else { return false };
    // The beginning ends at the first mark between words, or at the second.
    let end_mark = usize::from(GENERAL_WORDS.contains(&word));
    let end = setting.match_indices('_').nth(end_mark);
    let beginning = end.map_or(setting, |(end, _)| &setting[..end]);
    upper.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use crate::config::testing::all_names;

    #[test]
    fn a_misspelled_name_gets_the_nearest_known_name() {
        let known = all_names();
        for line in "
            TURN_TTL_SECOND TURN_TTL turn_ttl_seconds Turn_Ttl_Second: TURN_TTL_SECONDS
            port: PORT
            https_proxy: HTTPS_PROXY
            operator_token_file: OPERATOR_TOKEN_FILE
            CLOUDFLARE_TURN_API_TOKN: CLOUDFLARE_TURN_API_TOKEN
            CLOUDFLARE_TURN_API_TOKEN_FLE: CLOUDFLARE_TURN_API_TOKEN_FILE
            CLOUDFLARE_TURN_KEY_ID_FILE TURN_KEY_ID: CLOUDFLARE_TURN_KEY_ID
            RATE_LIMIT_REQUEST: RATE_LIMIT_REQUESTS
            TURN_ENABLE: TURN_ENABLED
            TURN_STUN_URLS: STUN_URLS
            BANDWIDTH_LIMIT BANDWITH_LIMIT_GB: BANDWIDTH_LIMIT_GB
            CLIENT_URLS: CLIENT_URL
            TRUSTED_PROXY: TRUSTED_PROXIES
            ICE_SOURCE: ICE_SOURCES
            AUTH_JWKS: AUTH_JWKS_URL
            COTURN_CLI_HOST: COTURN_CLI
            HTTP_ICE_TTL: HTTP_ICE_TTL_SECONDS
            SFU_LOCKED: SFU_LOCK
            ESTIMATED_MBPS ESTIMATED_MBPS_PER_GRANT: ESTIMATED_MBPS_PER_CONNECTION
            LIABILITY_MBPS_PER_CONNECTION: LIABILITY_MBPS_PER_GRANT
            HEARTBEAT_INTERVAL_SECONDS: HEARTBEAT_SECONDS
            LEASE_TTL: LEASE_SECONDS
            ADVERTISE_ADDRESS: ADVERTISE_URL
            TRUSTED_HOPS: TRUSTED_PROXIES
            BUDGET_LIMIT_GB: BUDGET_MODE
            SIGNALING_TTL: SIGNALING_TTL_SECONDS
            TURN_FOO: TURN_ENABLED"
            .lines()
            .skip(1)
        {
            let (names, nearest) = line.split_once(": ").unwrap();
            for name in names.split_whitespace() {
                let hint = format!("{name} is not a setting; did you mean {nearest}?");
                assert_eq!(known.misspelled(name).map(|misspelled| misspelled.to_string()), Some(hint));
            }
        }
    }

    #[test]
    fn known_and_foreign_names_get_no_hint() {
        let foreign = "PATH HTTP_PROXY http_proxy ALL_PROXY HOSTNAME CLIENT_ID RATE XTURN_TTL RUST_LOG_STYLE CLIENT_SECRET SERVER_NAME DATABASE_POOL_SIZE USER_AGENT TURN_BROKER_PORT TURN_BROKER_SERVICE_HOST \
            COTURN_SERVICE_HOST COTURN_PORT_3478_UDP_ADDR";
        let known = all_names();
        for name in known.variables().chain(foreign.split(' ').map(String::from)) {
            assert_eq!(known.misspelled(&name), None, "{name}");
        }
    }

    #[test]
    fn only_a_near_miss_of_a_name_about_money_or_secrets_is_fatal() {
        let known = all_names();
        let is_fatal = |name: &str| known.misspelled(name).is_some_and(|misspelled| misspelled.is_fatal);
        for name in "BANDWITH_LIMIT_GB BANDWIDTH_LIMIT bandwidth_limit_gb BANDWIDTH_LIMIT_BG BILING_DAY BUDGET_MOD LIMIT_ACTIONS
            TURN_ENABLE ICE_SOURCE OPERATR_TOKEN OPERATOR_TOKEN_FIL REPORTER_TOKENS CLOUDFLARE_TURN_API_TOKN CLOUDFLARE_TURN_KEYID
            CLOUDFLARE_ANALYTIC_TOKEN COTURN_SECRETS TURN_SECRET ALERT_WEBHOOK STATE_DIRS AUTH_REQUIRE USER_LIMT_GB
            RESERVED_PERCENT_PER_CLIENTS CLAIMS_MPBS_PER_CLIENT COTURN_CLI_ FREE_GBS PRICE_PER_GIB BANDWIDTH_LIMIT_GB_FILE AUTH_REQUIRED_FILE STATE_DIR_FILE
            ESTIMATED_MBPS LIABILITY_MBPS_PER_CONNECTION billing_day_of_month BUDGET_LIMIT_GB GRANT_LIMIT_TB USER_LIMIT_MB CLAIMS_MBPS
            RESERVED_GB PRICE_PER_TB ATLIMIT AT_LIMT BANDWIDTH_LIMT BILLINGDAY PRICEPERGB"
            .split_whitespace()
        {
            assert!(is_fatal(name), "{name}");
        }
        // Other programs have these, or their defaults cost nothing.
        for name in "CLOUDFLARE_API_KEY CLOUDFLARE_DNS_API_TOKEN CLOUDFLARE_ZONE_API_TOKEN_FILE CLOUDFLARE_TUNNEL_API_TOKEN
            CLOUDFLARE_WEB_ANALYTICS_TOKEN CLOUDFLARE_ACCOUNT_NAME CLOUDFLARE_R2_ACCOUNT_ID TURN_PASSWORD COTURN_PASSWORD
            COTURN_STATIC_AUTH_SECRET XDG_STATE_DIR STATE_DIRECTORY WEBHOOK_SECRET SLACK_ALERT_WEBHOOK_URL ICE_SERVERS_FILE
            API_TOKEN TURN_X TURN_TTL_SECOND RATE_LIMIT_REQUEST CLIENT_URLS port
            BILLING_PORT BILLING_EMAIL BILLING_ACCOUNT BUDGET_ALERT_EMAIL GRANT_TYPE GRANT_SUDO DATABASE_SCHEMA_VERSION STATE_DIR_PATH
            HEARTBEAT_INTERVAL_SECONDS OPERATOR_NAME SERVER_KEYRING"
            .split_whitespace()
        {
            assert!(!is_fatal(name), "{name}");
        }
    }

    #[test]
    fn each_setting_is_read_once() {
        let known = all_names();
        let mut names: Vec<&str> = known.iter().map(|name| name.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b));
    }
}

//! Settings of the rotation of the TURN key. With `KEY_ROTATION_DAYS` all that it needs is set, or the service does not start.
//! Without it, nothing here has an effect: other programs use `CLOUDFLARE_API_TOKEN` too.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::form::{form, parse_decimal, token};
use super::settings::Settings;

/// Seconds.
const DAY: f64 = 86_400.0;
/// The longest life of a key, in days.
const DAYS_MAX: f64 = 3_650.0;

/// The rotation of the TURN key.
#[derive(Clone, Debug)]
pub struct RotationConfig {
    /// How long a key mints, 1 s to 10 years. `KEY_ROTATION_DAYS`, a decimal number.
    pub every: Duration,
    /// The account. `CLOUDFLARE_ACCOUNT_ID`.
    pub account_id: String,
    /// An API token that may write TURN keys, visible ASCII. `CLOUDFLARE_API_TOKEN`.
    pub token: SecretString,
    /// The base of the REST API; its path ends in `/`. `CLOUDFLARE_REST_BASE`; `https://api.cloudflare.com/` when unset.
    pub base: Url,
}

impl RotationConfig {
    /// `None` without `KEY_ROTATION_DAYS`. `account_id`: that of `CLOUDFLARE_ACCOUNT_ID`.
    pub(super) fn read(settings: &mut Settings<'_>, account_id: Option<String>) -> Option<Self> {
        let days = form("a number of days up to 3650, such as 30", parse_days);
        let every = settings.optional("KEY_ROTATION_DAYS", days);
        let token = settings.secret("CLOUDFLARE_API_TOKEN", token);
        let base = settings.base_url("CLOUDFLARE_REST_BASE", "https://api.cloudflare.com");
        let every = every?;
        for (name, what) in [
            ("CLOUDFLARE_API_TOKEN", "an API token with the permission Calls: Edit"),
            ("CLOUDFLARE_ACCOUNT_ID", "the id of the account"),
            ("STATE_DIR", "a directory for the created keys"),
        ] {
            if !settings.is_set(name) {
                settings.refuse(name, format!("expected {what} because KEY_ROTATION_DAYS is set"));
            }
        }
        Some(Self { every, account_id: account_id?, token: token?, base })
    }
}

/// Days above zero, at least one second.
fn parse_days(text: &str) -> Option<Duration> {
    let every = Duration::try_from_secs_f64(parse_decimal(text, DAYS_MAX)? * DAY).ok()?;
    (every >= Duration::from_secs(1)).then_some(every)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_setting_has_a_default_a_form_and_a_message() {
        crate::config::testing::assert_cases(
            r#"
            KEY_ROTATION_DAYS=30; CLOUDFLARE_API_TOKEN=hush; CLOUDFLARE_ACCOUNT_ID=abc; STATE_DIR=/state
            = cloudflare: Some(CloudflareConfig { keys: [],
            = rotation: Some(RotationConfig { every: 2592000s, account_id: "abc"
            = host: Some(Domain("api.cloudflare.com"))
            KEY_ROTATION_DAYS=30
            ! CLOUDFLARE_ACCOUNT_ID: expected the id of the account because KEY_ROTATION_DAYS is set
            ! CLOUDFLARE_API_TOKEN: expected an API token with the permission Calls: Edit because KEY_ROTATION_DAYS is set
            ! STATE_DIR: expected a directory for the created keys because KEY_ROTATION_DAYS is set
            KEY_ROTATION_DAYS=0 | -1 | 3651 | 0.00001
            ! KEY_ROTATION_DAYS: expected a number of days up to 3650, such as 30, found <value>
            CLOUDFLARE_API_TOKEN=hush
            = cloudflare: None
            CLOUDFLARE_API_TOKEN=hush hush
            ! CLOUDFLARE_API_TOKEN: expected visible ASCII characters without spaces
            CLOUDFLARE_REST_BASE=example.com
            ! CLOUDFLARE_REST_BASE: expected an http: or https: URL without user, query or fragment, found <value>
            "#,
        );
    }
}

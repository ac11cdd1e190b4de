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
    use crate::config::testing::{assert_refused, load};

    const ALL: [(&str, &str); 4] = [
        ("KEY_ROTATION_DAYS", "30"),
        ("CLOUDFLARE_API_TOKEN", "hush"),
        ("CLOUDFLARE_ACCOUNT_ID", "abc"),
        ("STATE_DIR", "/state"),
    ];

    #[test]
    fn a_rotation_needs_no_key_and_no_analytics() {
        let cloudflare = load(ALL).ice.cloudflare.unwrap();
        let rotation = cloudflare.rotation.unwrap();
        assert_eq!((rotation.every.as_secs(), &*rotation.account_id), (30 * 86_400, "abc"));
        assert_eq!(rotation.base.as_str(), "https://api.cloudflare.com/");
        assert!(cloudflare.keys.is_empty());
    }

    #[test]
    fn a_rotation_without_what_it_needs_is_refused() {
        assert_refused(
            [("KEY_ROTATION_DAYS", "30")],
            &[
                "CLOUDFLARE_ACCOUNT_ID: expected the id of the account because KEY_ROTATION_DAYS is set",
                "CLOUDFLARE_API_TOKEN: expected an API token with the permission Calls: Edit because KEY_ROTATION_DAYS is set",
                "STATE_DIR: expected a directory for the created keys because KEY_ROTATION_DAYS is set",
            ],
        );
    }

    #[test]
    fn a_token_of_another_program_has_no_effect() {
        let config = load([("CLOUDFLARE_API_TOKEN", "hush")]);
        assert!(config.ice.cloudflare.is_none() && config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

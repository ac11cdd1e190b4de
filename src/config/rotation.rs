//! Settings of the rotation of the TURN key. With `KEY_ROTATION_DAYS` all that it needs is set, or the service does not start.
//! Without it, nothing here has an effect: other programs use `CLOUDFLARE_API_TOKEN` too.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::names::{
    CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_API_TOKEN, CLOUDFLARE_REST_BASE, KEY_ROTATION_DAYS, STATE_DIR,
};
use super::settings::{Read, Settings};
use super::value::{is_visible_ascii, parse_decimal, parse_identifier};

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
    /// `None` without `KEY_ROTATION_DAYS`.
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Option<Self>> {
        let expected = "a number of days up to 3650, such as 30";
        let every = settings.optional(KEY_ROTATION_DAYS, expected, parse_days);
        let expected = "visible ASCII characters without spaces";
        let token = settings.secret(CLOUDFLARE_API_TOKEN, expected, is_visible_ascii);
        let base = settings.base_url(CLOUDFLARE_REST_BASE);
        let (every, token, base) = (every?, token?, base?);
        let Some(every) = every else { return Ok(None) };
        let account_id = settings.text(CLOUDFLARE_ACCOUNT_ID).and_then(parse_identifier);
        let needed = [
            (token.is_some(), CLOUDFLARE_API_TOKEN.name(), "an API token with the permission Calls: Edit"),
            (account_id.is_some(), CLOUDFLARE_ACCOUNT_ID.name(), "the id of the account"),
            (settings.is_set(STATE_DIR), STATE_DIR.name(), "a directory for the created keys"),
        ];
        let mut outcome = Ok(());
        for (_, name, what) in needed.into_iter().filter(|(is_set, ..)| !is_set) {
            outcome = Err(settings.refuse(name, format!("expected {what} because KEY_ROTATION_DAYS is set")));
        }
        outcome?;
        Ok(token.zip(account_id).map(|(token, account_id)| Self { every, account_id, token, base }))
    }
}

/// Days above zero, at least one second.
fn parse_days(text: &str) -> Option<Duration> {
    let every = Duration::try_from_secs_f64(parse_decimal(text, DAYS_MAX)? * DAY).ok()?;
    (every >= Duration::from_secs(1)).then_some(every)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn the_interval_is_a_number_of_days_of_at_least_a_second() {
        for bad in ["0", "-1", "a", "3651", "0.00001", "1e3"] {
            let line =
                format!("KEY_ROTATION_DAYS: expected a number of days up to 3650, such as 30, found {bad:?}");
            let [_, token, account, state] = ALL;
            assert_refused([("KEY_ROTATION_DAYS", bad), token, account, state], &[&line]);
        }
        assert_eq!(parse_days("0.5"), Some(Duration::from_secs(43_200)));
    }

    #[test]
    fn a_token_of_another_program_has_no_effect() {
        let config = load([("CLOUDFLARE_API_TOKEN", "hush")]);
        assert!(config.ice.cloudflare.is_none() && config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

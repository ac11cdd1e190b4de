//! Settings whose feature comes later. They are parsed and validated all the same, so that a mistake is found now and
//! not on the day of an upgrade; each one that is set says that it has no effect yet.

use secrecy::SecretString;

use super::names::{ALERT_WEBHOOK_URL, DOORS};
use super::settings::{Read, Settings};
use super::value::{is_visible_ascii, parse_web_url};

/// What is known of features that are not built yet.
#[derive(Clone, Debug)]
pub struct PendingConfig {
    /// Further wire forms of the same mint, each once. `DOORS`, a comma list; none when unset.
    pub doors: Vec<Door>,
    /// Where alerts are posted, an `http:` or `https:` URL; its path is a secret. `ALERT_WEBHOOK_URL`; nowhere when unset.
    pub alert_webhook: Option<SecretString>,
}

/// A further wire form of the same mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `GET /turn`, the TURN REST draft.
    Turn,
    /// `GET /_matrix/client/v3/voip/turnServer`.
    Matrix,
    /// `GET /ice`, stunner's form.
    Ice,
}

const DOOR_NAMES: &[(&str, Door)] = &[("turn", Door::Turn), ("matrix", Door::Matrix), ("ice", Door::Ice)];

impl PendingConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let doors = settings.words(DOORS, DOOR_NAMES);
        let alert_webhook =
            settings.secret(ALERT_WEBHOOK_URL, "an http: or https: URL without user", |text| {
                is_visible_ascii(text) && parse_web_url(text).is_some()
            });
        warn_of_what_is_set(settings);
        Ok(Self { doors: doors?.unwrap_or_default(), alert_webhook: alert_webhook? })
    }
}

fn warn_of_what_is_set(settings: &mut Settings<'_>) {
    if settings.is_set(DOORS) {
        settings.warn(format!("{} has no effect yet: only /api/turn-credentials mints", DOORS.name()));
    }
    if settings.is_secret_set(ALERT_WEBHOOK_URL) {
        settings.warn(format!("{} has no effect yet: no alert is sent", ALERT_WEBHOOK_URL.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    const ALL: [(&str, &str); 2] =
        [("DOORS", "ice, turn"), ("ALERT_WEBHOOK_URL", "https://hooks.example/hush")];

    #[test]
    fn every_pending_setting_is_parsed() {
        let pending = load(ALL).pending;
        assert_eq!(pending.doors, [Door::Ice, Door::Turn]);
        assert!(pending.alert_webhook.is_some());
    }

    #[test]
    fn every_pending_setting_that_is_set_says_that_it_has_no_effect_yet() {
        let warnings = load(ALL).warnings;
        assert_eq!(warnings.len(), ALL.len(), "{warnings:?}");
        for (name, _) in ALL {
            let start = format!("{name} has no effect yet: ");
            assert!(warnings.iter().any(|warning| warning.starts_with(&start)), "{name}: {warnings:?}");
        }
    }

    #[test]
    fn each_bad_value_is_refused_with_what_was_expected() {
        assert_refused([("DOORS", "window")], &["DOORS: expected turn, matrix or ice, found \"window\""]);
        for value in ["hooks.example/hush", "ftp://hooks.example", "https://me:hush@hooks.example"] {
            let line = "ALERT_WEBHOOK_URL: expected an http: or https: URL without user";
            assert_refused([("ALERT_WEBHOOK_URL", value)], &[line]);
        }
    }
}

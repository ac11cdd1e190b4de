//! Alert settings: the webhook and its signing key. The URL is a secret, because anyone who knows it can post there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretSlice;

use turn_base::WebhookUrl;

use super::prelude::*;

/// The shortest signing key. 16 random bytes cannot be guessed.
const KEY_BYTES_MIN: usize = 16;
/// The longest secret, as for bearer tokens.
const SECRET_CHARS_MAX: usize = 1_024;
/// The prefix of a key in base64 (Standard Webhooks).
const BASE64_PREFIX: &str = "whsec_";

/// The webhook that receives alerts.
#[derive(Clone, Debug)]
pub struct AlertConfig {
    /// The URL that alerts are posted to. `ALERT_WEBHOOK_URL`; no alerts are sent when unset.
    pub url: WebhookUrl,
    /// The signing key, at least 16 bytes: the decoded part of `whsec_<base64>`, or the bytes of any other text.
    /// `ALERT_WEBHOOK_SECRET`; alerts are unsigned when unset.
    pub signing_key: Option<SecretSlice<u8>>,
}

/// The largest part of the limit at which there can be an alert, in percent.
pub(crate) const PERCENT_MAX: u16 = 1_000;

/// `ALERT_PERCENTS`: the parts of the limit that raise an alert, in percent.
pub(super) fn read_percents(settings: &mut Settings<'_>) -> BTreeSet<u16> {
    let percent = |text: &str| text.trim().parse().ok().filter(|percent| (1..=PERCENT_MAX).contains(percent));
    let percents = |text: &str| text.split(',').map(percent).collect();
    settings.get("ALERT_PERCENTS", "50,80,95,100", form("percents from 1 to 1000, comma-separated", percents))
}

impl AlertConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let url = settings.webhook("ALERT_WEBHOOK_URL", "alerts");
        let expected =
            "whsec_ and at least 16 bytes in base64, or 16 to 1024 visible ASCII characters without spaces";
        let signing_key = settings.secret("ALERT_WEBHOOK_SECRET", own_secret(form(expected, signing_key)));
        let Some(url) = url else {
            let has_no_effect = "ALERT_WEBHOOK_SECRET has no effect: ALERT_WEBHOOK_URL is not set";
            settings.warn_if(signing_key.is_some(), has_no_effect);
            return None;
        };
        let unsigned = "ALERT_WEBHOOK_SECRET is not set: alerts are not signed. Slack and Discord do not need it; your own receiver cannot detect forged alerts";
        settings.warn_if(signing_key.is_none(), unsigned);
        Some(Self { url, signing_key })
    }
}

/// The key that a text states. `None` if the text has the base64 prefix and is not base64, which is a typing error, or if the text or the
/// key does not have the form that [`AlertConfig::read`] expects.
fn signing_key(text: &str) -> Option<SecretSlice<u8>> {
    if text.len() > SECRET_CHARS_MAX || !is_visible_ascii(text) {
        return None;
    }
    let key = match text.strip_prefix(BASE64_PREFIX) {
        Some(base64) => STANDARD.decode(base64).ok()?,
        None => text.as_bytes().to_vec(),
    };
    (key.len() >= KEY_BYTES_MIN).then(|| key.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::load;
    use secrecy::ExposeSecret;

    #[test]
    fn a_key_is_text_or_base64_with_the_prefix() {
        let key = |text: &str| signing_key(text).map(|key| key.expose_secret().to_vec());
        assert_eq!(key("hush-hush-hush-hush").unwrap(), b"hush-hush-hush-hush");
        assert_eq!(key("whsec_MDEyMzQ1Njc4OWFiY2RlZg==").unwrap(), b"0123456789abcdef");
        assert!(key(&"x".repeat(1_024)).is_some() && key(&"x".repeat(1_025)).is_none());
    }

    #[test]
    fn the_parts_of_the_limit_are_percents_in_any_order() {
        let percents = |text| load([("ALERT_PERCENTS", text)]).alert_percents.into_iter().collect::<Vec<_>>();
        assert_eq!((percents(""), percents("90, 30,90")), (vec![50, 80, 95, 100], vec![30, 90]));
    }
}

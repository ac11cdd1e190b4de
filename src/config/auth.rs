//! Settings of the users: the keys that sign their tokens, and what a token must say.

use super::form::visible;
use super::prelude::*;
use turn_base::{WebhookUrl, parse_web_url};

/// The lengths of a secret: HS256 needs as many bytes as its hash has.
const SECRET_CHARS: RangeInclusive<usize> = 32..=1_024;
/// The lengths of an issuer, an audience and the name of a claim.
const TEXT_CHARS: RangeInclusive<usize> = 1..=256;

/// How users are known.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Verifies HS256 tokens. 32 to 1,024 visible ASCII characters. `AUTH_JWT_SECRET`; none when unset.
    pub secret: Option<SecretString>,
    /// The URL of a list of public keys for RS256, ES256 and `EdDSA` tokens. `AUTH_JWKS_URL`; none when unset.
    pub jwks_url: Option<Url>,
    /// The application's webhook. It names the user of a token that is no JWT of these keys. `AUTH_WEBHOOK_URL`; none when unset.
    pub webhook: Option<WebhookUrl>,
    /// What `iss` must be. `AUTH_ISSUER`; anything when unset.
    pub issuer: Option<String>,
    /// What `aud` must contain. `AUTH_AUDIENCE`; anything when unset.
    pub audience: Option<String>,
    /// The claim that names the user. `AUTH_USER_CLAIM`; `sub` when unset.
    pub user_claim: String,
    /// Whether a mint, and a request or socket of signaling, needs a token. `AUTH_REQUIRED`; false when unset.
    pub required: bool,
}

impl AuthConfig {
    /// `None` if neither a key nor a webhook is set, unless `AUTH_REQUIRED` refuses anonymous callers.
    pub(super) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let url = form("an http: or https: URL without user", parse_web_url);
        let auth = Self {
            secret: settings.secret("AUTH_JWT_SECRET", own_secret(visible(SECRET_CHARS))),
            jwks_url: settings.about_money().optional("AUTH_JWKS_URL", url),
            webhook: settings.webhook("AUTH_WEBHOOK_URL", "tokens of users"),
            issuer: settings.about_money().optional("AUTH_ISSUER", visible(TEXT_CHARS)),
            audience: settings.about_money().optional("AUTH_AUDIENCE", visible(TEXT_CHARS)),
            user_claim: settings.get("AUTH_USER_CLAIM", "sub", visible(TEXT_CHARS)),
            required: settings.about_money().get("AUTH_REQUIRED", "false", switch),
        };
        auth.check(settings);
        let is_set = auth.secret.is_some() || auth.jwks_url.is_some() || auth.webhook.is_some();
        (is_set || auth.required).then_some(auth)
    }

    /// Refuses settings that let nobody in. Warns of settings without effect, and of settings that let too many in.
    fn check(&self, settings: &mut Settings<'_>) {
        let restricts_tokens = self.issuer.is_some() || self.audience.is_some();
        let has_key = settings.is_set("AUTH_JWT_SECRET") || settings.is_set("AUTH_JWKS_URL");
        let has_other_way = settings.is_set("AUTH_WEBHOOK_URL") || settings.is_set("SERVER_KEYS");
        let expected = "expected AUTH_JWT_SECRET, AUTH_JWKS_URL, AUTH_WEBHOOK_URL or SERVER_KEYS with it: without a key nobody gets a credential";
        settings.refuse_if("AUTH_REQUIRED", !has_key && self.required && !has_other_way, expected);
        let no_effect = "AUTH_ISSUER and AUTH_AUDIENCE have no effect: set AUTH_JWT_SECRET or AUTH_JWKS_URL";
        settings.warn_if(!has_key && restricts_tokens, no_effect);
        let Some(url) = &self.jwks_url else { return };
        settings.warn_of_cleartext("AUTH_JWKS_URL", url, "replace the keys");
        let too_many = "AUTH_ISSUER and AUTH_AUDIENCE are not set: a token that the same keys sign for another service is accepted";
        settings.warn_if(!restricts_tokens, too_many);
    }
}

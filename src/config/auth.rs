//! Settings of the users: the keys that sign their tokens, and what a token must say.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::names::{
    AUTH_AUDIENCE, AUTH_ISSUER, AUTH_JWKS_URL, AUTH_JWT_SECRET, AUTH_REQUIRED, AUTH_USER_CLAIM, Variable,
};
use super::settings::{Read, Settings};
use super::value::{BOOLEANS, is_cleartext, is_visible_ascii, parse_web_url};

/// The shortest secret: HS256 needs as many bytes as its hash has.
const SECRET_CHARS_MIN: usize = 32;
/// The longest secret.
const SECRET_CHARS_MAX: usize = 1_024;
/// The longest issuer, audience or claim name.
const TEXT_CHARS_MAX: usize = 256;

/// How users are known.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Signs HS256 tokens. 32 to 1,024 visible ASCII characters. `AUTH_JWT_SECRET`; none when unset.
    pub secret: Option<SecretString>,
    /// A list of public keys for RS256, ES256 and `EdDSA` tokens. `AUTH_JWKS_URL`; none when unset.
    pub jwks_url: Option<Url>,
    /// What `iss` must be. `AUTH_ISSUER`; anything when unset.
    pub issuer: Option<String>,
    /// What `aud` must contain. `AUTH_AUDIENCE`; anything when unset.
    pub audience: Option<String>,
    /// The claim that names the user. `AUTH_USER_CLAIM`; `sub` when unset.
    pub user_claim: String,
    /// Whether a mint needs a token. `AUTH_REQUIRED`; false when unset.
    pub required: bool,
}

impl AuthConfig {
    /// `None` without a key.
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Option<Self>> {
        let secret = read_secret(settings);
        let jwks_url = settings.optional(AUTH_JWKS_URL, "an http: or https: URL without user", parse_web_url);
        let issuer = read_text(settings, AUTH_ISSUER);
        let audience = read_text(settings, AUTH_AUDIENCE);
        let user_claim = read_text(settings, AUTH_USER_CLAIM);
        let required = settings.word(AUTH_REQUIRED, BOOLEANS);
        let (secret, jwks_url) = (secret?, jwks_url?);
        let (issuer, audience, required) = (issuer?, audience?, required?);
        let user_claim = user_claim?.unwrap_or_default();
        if secret.is_none() && jwks_url.is_none() {
            if required {
                return Err(settings.refuse(
                    AUTH_REQUIRED.name(),
                    "expected AUTH_JWT_SECRET or AUTH_JWKS_URL with it: without a key nobody gets a credential",
                ));
            }
            for variable in [AUTH_ISSUER, AUTH_AUDIENCE] {
                if settings.is_set(variable) {
                    let name = variable.name();
                    settings.warn(format!(
                        "{name} has no effect: neither AUTH_JWT_SECRET nor AUTH_JWKS_URL is set"
                    ));
                }
            }
            return Ok(None);
        }
        if let Some(url) = &jwks_url {
            warn_about_keys(settings, url, issuer.is_some() || audience.is_some());
        }
        Ok(Some(Self { secret, jwks_url, issuer, audience, user_claim, required }))
    }

    /// The key of HS256 tokens.
    #[must_use]
    pub fn secret_bytes(&self) -> Option<&[u8]> {
        self.secret.as_ref().map(|secret| secret.expose_secret().as_bytes())
    }
}

fn warn_about_keys(settings: &mut Settings<'_>, url: &Url, is_bound: bool) {
    if is_cleartext(url) {
        settings.warn("AUTH_JWKS_URL is http: others on the network path can replace the keys; use https");
    }
    if !is_bound {
        settings.warn(
            "AUTH_ISSUER and AUTH_AUDIENCE are not set: a token that the same keys sign for another service is accepted",
        );
    }
}

fn read_secret(settings: &mut Settings<'_>) -> Read<Option<SecretString>> {
    settings.secret(AUTH_JWT_SECRET, "32 to 1024 visible ASCII characters without spaces", |text| {
        (SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&text.len()) && is_visible_ascii(text)
    })
}

fn read_text(settings: &mut Settings<'_>, variable: Variable) -> Read<Option<String>> {
    settings.optional(variable, "1 to 256 visible ASCII characters without spaces", |text| {
        let is_good = text.len() <= TEXT_CHARS_MAX && is_visible_ascii(text);
        is_good.then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{assert_refused, load};

    const SECRET: (&str, &str) = ("AUTH_JWT_SECRET", "hush-hush-hush-hush-hush-hush-32");
    const JWKS: (&str, &str) = ("AUTH_JWKS_URL", "https://issuer.example/jwks.json");

    #[test]
    fn without_a_key_there_are_no_users() {
        assert!(load([]).auth.is_none());
        let config = load([("AUTH_ISSUER", "https://issuer.example/")]);
        assert!(config.auth.is_none());
        let warning = "AUTH_ISSUER has no effect: neither AUTH_JWT_SECRET nor AUTH_JWKS_URL is set";
        assert_eq!(config.warnings, [warning]);
    }

    #[test]
    fn a_secret_or_a_list_of_keys_is_enough() {
        let auth = load([SECRET]).auth.unwrap();
        assert_eq!((auth.user_claim.as_str(), auth.required, auth.jwks_url), ("sub", false, None));
        let config = load([JWKS, ("AUTH_ISSUER", "https://issuer.example/"), ("AUTH_REQUIRED", "true")]);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert!(config.auth.unwrap().required);
    }

    #[test]
    fn a_requirement_that_nobody_can_meet_is_refused() {
        let line = "AUTH_REQUIRED: expected AUTH_JWT_SECRET or AUTH_JWKS_URL with it: without a key nobody gets a credential";
        assert_refused([("AUTH_REQUIRED", "true")], &[line]);
    }

    #[test]
    fn keys_over_http_and_tokens_for_anyone_give_a_warning() {
        let warnings = load([("AUTH_JWKS_URL", "http://issuer.example/jwks.json")]).warnings;
        assert!(warnings[0].starts_with("AUTH_JWKS_URL is http"), "{warnings:?}");
        assert!(warnings[1].starts_with("AUTH_ISSUER and AUTH_AUDIENCE"), "{warnings:?}");
    }

    #[test]
    fn each_bad_value_is_refused_and_a_secret_is_not_shown() {
        let expected = "AUTH_JWT_SECRET: expected 32 to 1024 visible ASCII characters without spaces";
        for value in
            ["hush-hush-hush-hush-hush-hush-3", "hush hush hush hush hush hush 32", &"x".repeat(1_025)]
        {
            assert_refused([("AUTH_JWT_SECRET", value)], &[expected]);
        }
        let line = "AUTH_JWKS_URL: expected an http: or https: URL without user, found \"issuer.example\"";
        assert_refused([("AUTH_JWKS_URL", "issuer.example")], &[line]);
        let line =
            "AUTH_USER_CLAIM: expected 1 to 256 visible ASCII characters without spaces, found \"a b\"";
        assert_refused([SECRET, ("AUTH_USER_CLAIM", "a b")], &[line]);
        let line = "AUTH_REQUIRED: expected true, false, 1, 0, yes, no, on or off, found \"maybe\"";
        assert_refused([SECRET, ("AUTH_REQUIRED", "maybe")], &[line]);
    }
}

//! Users: who a mint is for, by a token that the application's own sign-in has signed. Verification is pure (`jwt`); only the
//! issuer's keys are fetched (`issuer_keys`). With `AUTH_WEBHOOK_URL`, the application names the user of each other token (`application`).

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header};
use secrecy::ExposeSecret;
use serde_json::Value;
use turn_ledger::{ClientKey, SIGN_IN_MAX};

use crate::config::AuthConfig;
use crate::telemetry::metrics::Metrics;
use turn_base::{Clock, HttpClient, Unverified, Verified, WebClient, is_jwt};

mod application;
mod issuer_keys;
mod jwt;
mod key_set;
pub mod server_keys;

pub use application::ASKING_MAX;
use application::Application;
use issuer_keys::IssuerKeys;
pub(crate) use issuer_keys::{count_keys, keys_remedy};
pub use jwt::TokenFault;

/// Verifies users' tokens.
pub struct Auth {
    /// What a token must say, and who needs one.
    pub config: AuthConfig,
    /// For HS256, and for nothing else.
    secret: Option<DecodingKey>,
    /// The issuer's keys, for all other algorithms.
    keys: Option<Arc<IssuerKeys>>,
    /// Asked about every token that is no JWT and, if there are no keys, about JWTs too.
    application: Option<Application>,
    clock: Arc<dyn Clock>,
}

impl Auth {
    /// Fetches nothing yet. `client` will fetch the issuer's keys and ask the application.
    pub fn new(
        config: &AuthConfig,
        client: HttpClient,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let secret_text = config.secret.as_ref().map(ExposeSecret::expose_secret);
        let secret = secret_text.map(|secret| DecodingKey::from_secret(secret.as_bytes()));
        let webhook = config.webhook.clone();
        let application = webhook.map(|url| Application::new(client.clone(), url, Arc::clone(&clock)));
        let jwks_url = config.jwks_url.clone();
        let keys = jwks_url.map(|url| Arc::new(IssuerKeys::new(client, url, Arc::clone(&clock), metrics)));
        Self { config: config.clone(), secret, keys, application, clock }
    }

    /// How many questions to the application wait for an answer, and the most.
    pub fn asking(&self) -> (usize, usize) {
        self.application.as_ref().map_or((0, usize::MAX), Application::asking)
    }

    /// Whether there are keys that verify JWTs: `AUTH_JWT_SECRET` or `AUTH_JWKS_URL` is set.
    pub const fn has_keys(&self) -> bool {
        self.secret.is_some() || self.keys.is_some()
    }

    /// Whether the application may be asked whose a token is.
    pub const fn asks_application(&self) -> bool {
        self.application.is_some()
    }

    /// The user of a token that came with a mint. If the token has the form of a JWT and there are keys, the keys decide. The application
    /// is asked about all other tokens. Without `AUTH_WEBHOOK_URL`, the keys decide about every token.
    pub async fn user_of(&self, token: &str, web_client: &WebClient) -> Result<Verified, Unverified> {
        match &self.application {
            Some(application) if !(self.has_keys() && is_jwt(token)) => {
                if token.len() > SIGN_IN_MAX {
                    return Err(TokenFault::TooLong.into());
                }
                application.user_of(token, web_client).await.map_err(Unverified::Refused)
            }
            _ => self.verified(token, ClientKey::of(web_client.address)).await,
        }
    }

    /// The user and the room that a JWT names. `client`: who has sent it.
    pub async fn verified(&self, token: &str, client: ClientKey) -> Result<Verified, Unverified> {
        if token.len() > SIGN_IN_MAX {
            return Err(TokenFault::TooLong.into());
        }
        let header = jwt::header(token)?;
        let key = self.key(&header, token.len(), client).await?;
        let claims = jwt::claims(token, header.alg, &key)?;
        let (user, until) = jwt::user(&self.config, &claims, self.clock.now())?;
        let room = match claims.get("room") {
            None | Some(Value::Null) => None,
            Some(Value::String(room)) => Some(room.clone()),
            // A number stands for its text. Anything else becomes the empty text, which is no room's name.
            Some(other) => Some(other.as_i64().map_or_else(String::new, |number| number.to_string())),
        };
        Ok(Verified { user, until, room, label: None })
    }

    /// Keeps the issuer's keys up to date. Returns only if `AUTH_JWKS_URL` is not set.
    pub async fn keep_fresh(&self) {
        if let Some(keys) = &self.keys {
            keys.keep_fresh().await;
        }
    }

    /// The key for a token with this header. `bytes`: the length of the token. `client`: who has sent it.
    async fn key(&self, header: &Header, bytes: usize, client: ClientKey) -> Result<DecodingKey, TokenFault> {
        match (header.alg, &self.secret, &self.keys) {
            (Algorithm::HS256, Some(secret), _) => Ok(secret.clone()),
            (Algorithm::HS256, None, _) | (_, _, None) => Err(TokenFault::Algorithm),
            (algorithm, _, Some(keys)) => keys.find(algorithm, header.kid.as_deref(), bytes, client).await,
        }
    }
}

#[cfg(test)]
mod jwt_tests;

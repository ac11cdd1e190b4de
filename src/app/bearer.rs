//! What a bearer token is. Only this module decides it, so a token is of the same kind on every route.

use super::App;
use super::rights::CallerKind;
use crate::auth::server_keys::ServerKey;
use turn_base::broker::Broker;
use turn_base::request::bearer::TokenDigest;
use turn_base::request::client_addr::ClientAddr;
use turn_base::sign_in::is_jwt;
use turn_ledger::Grant;

/// What a bearer token proves.
#[derive(Debug)]
pub enum BearerToken {
    /// One of `SERVER_KEYS`.
    Server(ServerKey),
    /// `REPORTER_TOKEN`.
    Reporter,
    /// `METRICS_TOKEN`.
    Monitor,
    /// `OPERATOR_TOKEN`.
    Operator,
    /// A text in the form of a JWT, if users sign in with JWTs. It is not verified yet.
    Jwt,
    /// A grant token that this service has signed.
    Grant(Grant),
    /// It proves nothing.
    Unknown,
}

impl BearerToken {
    /// Who has such a token.
    pub const fn kind(&self) -> CallerKind {
        match self {
            Self::Server(_) => CallerKind::ServerKey,
            Self::Reporter => CallerKind::Reporter,
            Self::Monitor => CallerKind::Monitor,
            Self::Operator => CallerKind::Operator,
            Self::Jwt => CallerKind::User,
            Self::Grant(_) => CallerKind::Grant,
            Self::Unknown => CallerKind::Anonymous,
        }
    }
}

impl App {
    /// Recognizes a bearer token. Secrets are compared first, because one of them could have the form of a JWT. A client that has guessed too
    /// often has none.
    pub fn recognize(&self, token: &str, client: Option<ClientAddr>) -> BearerToken {
        let is = |secret: &Option<TokenDigest>| secret.as_ref().is_some_and(|secret| secret.matches(token));
        let secret = if let Some(key) = self.server_keys.find(token) {
            Some(BearerToken::Server(key))
        } else if is(&self.reporter_token) {
            Some(BearerToken::Reporter)
        } else if is(&self.metrics_token) {
            Some(BearerToken::Monitor)
        } else {
            is(&self.operator_token).then_some(BearerToken::Operator)
        };
        let is_accepted = || client.is_some_and(|client| self.wrong_tokens.accepts(client.0, token));
        match secret {
            Some(secret) if is_accepted() => secret,
            _ if self.core.has_sign_in() && is_jwt(token) => BearerToken::Jwt,
            _ => self.mint.grant_keys.verify(token).map_or(BearerToken::Unknown, BearerToken::Grant),
        }
    }
}

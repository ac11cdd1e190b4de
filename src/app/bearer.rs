//! What a bearer token is. Only this module decides it, so a token is of the same kind on every route.

use super::App;
use super::rights::CallerKind;
use crate::auth::server_keys::ServerKey;
use turn_base::broker::Broker;
use turn_base::sign_in::is_jwt;
use turn_ledger::Grant;

/// What a bearer token proves.
#[derive(Debug)]
pub enum BearerToken<'a> {
    /// One of `SERVER_KEYS`.
    Server(&'a ServerKey),
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

impl BearerToken<'_> {
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
    /// Recognizes a bearer token. Secrets are compared first, because one of them could have the form of a JWT.
    pub fn recognize(&self, token: &str) -> BearerToken<'_> {
        if let Some(key) = self.server_keys.find(token) {
            BearerToken::Server(key)
        } else if self.reporter_token.as_ref().is_some_and(|reporter| reporter.matches(token)) {
            BearerToken::Reporter
        } else if self.metrics_token.as_ref().is_some_and(|metrics| metrics.matches(token)) {
            BearerToken::Monitor
        } else if self.operator_token.as_ref().is_some_and(|operator| operator.matches(token)) {
            BearerToken::Operator
        } else if self.core.has_sign_in() && is_jwt(token) {
            BearerToken::Jwt
        } else {
            self.mint.grant_keys.verify(token).map_or(BearerToken::Unknown, BearerToken::Grant)
        }
    }
}

//! What a bearer token is. Only this module decides it, so a token is of the same kind on every route.

use strum::{EnumDiscriminants, VariantArray};

use super::App;
use crate::auth::server_keys::ServerKey;
use turn_base::{Broker, ClientAddr, TokenDigest, is_jwt};
use turn_ledger::Grant;

/// What a bearer token proves. `CallerKind` is who has such a token.
#[derive(Debug, EnumDiscriminants)]
#[strum_discriminants(
    name(CallerKind),
    derive(VariantArray),
    doc = "Who calls, as far as its token proves it."
)]
pub enum BearerToken {
    /// Nobody's: it proves nothing.
    Anonymous,
    /// A client's: a grant token that this service has signed.
    Grant(Grant),
    /// A user's: a text in the form of a JWT, if users sign in with JWTs. It is not verified yet.
    User,
    /// A program's: one of `SERVER_KEYS`.
    ServerKey(ServerKey),
    /// An app server's: `REPORTER_TOKEN`.
    Reporter,
    /// That of monitoring: `METRICS_TOKEN`.
    Monitor,
    /// The operator's: `OPERATOR_TOKEN`.
    Operator,
}

impl App {
    /// Recognizes a bearer token. Secrets are compared first, because one of them could have the form of a JWT. A client that has guessed too
    /// often has none.
    pub fn recognize(&self, token: &str, client: Option<ClientAddr>) -> BearerToken {
        let if_equal = |secret: &Option<TokenDigest>, kind| secret.as_ref()?.matches(token).then_some(kind);
        let key = self.server_keys.find(token).map(BearerToken::ServerKey);
        let secret = key
            .or_else(|| if_equal(&self.reporter_token, BearerToken::Reporter))
            .or_else(|| if_equal(&self.metrics_token, BearerToken::Monitor))
            .or_else(|| if_equal(&self.operator_token, BearerToken::Operator));
        let is_accepted = || client.is_some_and(|client| self.wrong_tokens.accepts(client.0, token));
        match secret {
            Some(secret) if is_accepted() => secret,
            _ if self.core.has_sign_in() && is_jwt(token) => BearerToken::User,
            _ => self.mint.grant_keys.verify(token).map_or(BearerToken::Anonymous, BearerToken::Grant),
        }
    }
}

// What each kind of caller may do: the only table of rights, which every route uses. `tests/it/routes.rs` compares it with every route.
// What belongs to a caller is decided in one place, too: [`Caller::acts_for`](turn_ledger::Caller::acts_for).

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A credential. Where users must sign in, a mint needs more than this right.
    Mint,
    /// To open a connection, to say what it relays, and to close it.
    Report,
    /// To say who spends.
    NameUser,
    /// To read `/metrics`.
    ReadMetrics,
}

/// Whether a caller may do this at all. Only the operator may see what others spend, end it, and change the limit; a server key may also end
/// what it has minted.
pub const fn may(caller: CallerKind, action: Action) -> bool {
    use CallerKind::{Anonymous, Grant, Monitor, Operator, Reporter, ServerKey, User};
    match action {
        Action::Mint => matches!(caller, Anonymous | Grant | User | ServerKey),
        Action::Report => matches!(caller, Grant | ServerKey | Reporter),
        Action::NameUser => matches!(caller, ServerKey | Reporter),
        Action::ReadMetrics => matches!(caller, Monitor | Operator),
    }
}

//! Credentials for the operator's coturn. The broker computes them without a call, and coturn checks them with the same secret.

use secrecy::SecretString;

use super::rest::RestSecret;
use super::server::IceServerList;
use super::url::IceUrl;
use turn_ledger::Timestamp;

/// A coturn with `use-auth-secret`.
#[derive(Clone, Debug)]
pub struct Coturn {
    urls: Vec<IceUrl>,
    secret: RestSecret,
}

impl Coturn {
    /// `secret` is coturn's `static-auth-secret`.
    pub fn new(urls: Vec<IceUrl>, secret: SecretString) -> Self {
        Self { urls, secret: RestSecret::new(secret) }
    }

    /// A credential that coturn accepts for new allocations until `expires_at`, truncated to the second.
    pub fn credential(&self, user: &str, expires_at: Timestamp) -> IceServerList {
        self.secret.credential(&self.urls, user, expires_at)
    }
}

//! The providers that mint over the network, with one interface.

use std::time::Duration;

use super::{Cloudflare, HttpIce, Listed, call, cloudflare, http_ice};
use turn_base::CallError;
use turn_ledger::{IceSource, RevocationAnswer};

/// A provider's API.
pub enum MintingApi {
    /// Cloudflare, with one TURN key.
    Cloudflare(Cloudflare),
    /// Any other provider.
    Http(HttpIce),
}

impl MintingApi {
    /// The source that it serves.
    pub const fn source(&self) -> IceSource {
        match self {
            Self::Cloudflare(_) => IceSource::Cloudflare,
            Self::Http(_) => IceSource::Http,
        }
    }

    /// Mints one credential. Only Cloudflare takes a lifetime, and an `identifier` that it stores with the credential.
    /// The call ends `within` this time.
    pub async fn mint(&self, ttl: Duration, identifier: &str, within: Duration) -> Result<Listed, CallError> {
        let attempt = || async {
            match self {
                Self::Cloudflare(api) => api.mint(ttl, identifier).await,
                Self::Http(api) => api.mint().await,
            }
        };
        call::within(within, attempt).await
    }

    /// Revokes the credential with this user name. The answer of a provider that takes no revocations is `Unknown`.
    pub async fn revoke(&self, username: &str) -> Result<RevocationAnswer, CallError> {
        match self {
            Self::Cloudflare(api) => api.revoke(username).await,
            Self::Http(_) => Ok(RevocationAnswer::Unknown),
        }
    }

    /// What log lines and hints call the provider.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cloudflare(_) => "Cloudflare",
            Self::Http(_) => "The provider at HTTP_ICE_URL",
        }
    }

    /// What to do about an error of this provider.
    pub fn remedy(&self, error: &CallError) -> &'static str {
        match self {
            Self::Cloudflare(_) => cloudflare::remedy(error),
            Self::Http(_) => http_ice::remedy(error),
        }
    }
}

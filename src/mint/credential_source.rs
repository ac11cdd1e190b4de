//! A source that hands out credentials, and the one way to ask it: whatever the kind, a credential comes back that lives
//! no longer than it may.

use std::sync::Arc;
use std::time::Duration;

use super::provider::{Provider, Unavailable};
use crate::ice::coturn::Coturn;
use crate::ice::relay::EmbeddedRelay;
use crate::ice::server::IceServerList;
use turn_ledger::source::IceSource;
use turn_ledger::token::GrantId;
use turn_ledger::units::Timestamp;

/// See the module.
#[derive(Debug)]
pub enum CredentialSource {
    /// Minted over the API, now or ahead.
    Cloudflare(Arc<Provider>),
    /// Computed here.
    Coturn(Coturn),
    /// Computed here, for the relay in this process.
    Relay(EmbeddedRelay),
    /// A fixed list.
    Manual(IceServerList),
}

/// What a source gave.
#[derive(Debug)]
pub struct Minted {
    /// The servers, credential included.
    pub ice_servers: IceServerList,
    /// The id of the grant that comes of it.
    pub grant: GrantId,
    /// How long it lives from when it was asked for: what it may, or less if it lay ready.
    pub life: Duration,
}

impl CredentialSource {
    /// Which entry of `ICE_SOURCES`.
    #[must_use]
    pub const fn source(&self) -> IceSource {
        match self {
            Self::Cloudflare(_) => IceSource::Cloudflare,
            Self::Coturn(_) => IceSource::Coturn,
            Self::Relay(_) => IceSource::Relay,
            Self::Manual(_) => IceSource::Manual,
        }
    }

    /// A credential that lives for `life` at most, from `now` on. `grant` is the id for one that is made for this caller.
    pub async fn mint(&self, grant: GrantId, life: Duration, now: Timestamp) -> Result<Minted, Unavailable> {
        let expires_at = now.plus(life);
        let ice_servers = match self {
            Self::Cloudflare(provider) => {
                if let Some((spare, left)) = provider.take_spare(life) {
                    let life = Duration::from_secs(left.as_secs());
                    return Ok(Minted { ice_servers: spare.servers, grant: spare.grant, life });
                }
                provider.mint(life, &grant).await?
            }
            Self::Coturn(coturn) => coturn.credential(&grant.to_string(), expires_at),
            Self::Relay(relay) => relay.credential(&grant.to_string(), expires_at),
            Self::Manual(list) => list.clone(),
        };
        Ok(Minted { ice_servers, grant, life })
    }
}

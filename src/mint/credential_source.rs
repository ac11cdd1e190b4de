//! A source that mints credentials. All kinds have one interface. No credential lives longer than its request allows, except those of the
//! source `http`, which decides the life itself.

use std::sync::Arc;
use std::time::Duration;

use super::{MintRequest, PooledCredential, Provider};
use crate::ice::{Fleet, IceServerList, Listed, OwnRelay, RestServer};
use turn_ledger::{GrantId, IceSource, IdDigest, Timestamp};

/// A source that mints credentials.
pub enum CredentialSource {
    /// Minted over the API, on request or ahead of it.
    Cloudflare(Arc<Provider>),
    /// Listed by another provider, on request.
    Http(HttpSource),
    /// Computed in this process, for one of the operator's own relays.
    Coturn(Fleet),
    /// Computed in this process for its own relay.
    Relay(RestServer),
    /// A fixed list.
    Manual(IceServerList),
}

/// Another provider.
pub struct HttpSource {
    /// The provider, as if it had one TURN key.
    pub provider: Arc<Provider>,
    /// How long its credentials are taken to live. `HTTP_ICE_TTL_SECONDS`.
    pub life: Duration,
    /// The shortest life that a response states, unless the credential itself lives shorter.
    pub life_min: Duration,
}

/// A minted credential.
#[derive(Debug)]
pub struct Minted {
    /// The servers, with the credential.
    pub ice_servers: IceServerList,
    /// The id of the grant for it.
    pub grant: GrantId,
    /// The TURN key that minted it, if the source has TURN keys.
    pub issuer: Option<IdDigest>,
    /// Its life from the start of the mint. Shorter than requested if it was minted ahead.
    pub life: Duration,
    /// How long it may work. Longer than its life if the source decides that.
    pub works_for: Duration,
}

impl CredentialSource {
    /// The entry of `ICE_SOURCES`.
    pub const fn source(&self) -> IceSource {
        match self {
            Self::Cloudflare(_) => IceSource::Cloudflare,
            Self::Http(_) => IceSource::Http,
            Self::Coturn(_) => IceSource::Coturn,
            Self::Relay(_) => IceSource::Relay,
            Self::Manual(_) => IceSource::Manual,
        }
    }

    /// The provider that mints the source's credentials over the network.
    pub const fn provider(&self) -> Option<&Arc<Provider>> {
        match self {
            Self::Cloudflare(provider) => Some(provider),
            Self::Http(source) => Some(&source.provider),
            Self::Coturn(_) | Self::Relay(_) | Self::Manual(_) => None,
        }
    }

    /// How long a credential works, as far as is known before it is minted, if a life of `ttl` is requested.
    pub const fn works_for(&self, ttl: Duration) -> Duration {
        match self {
            Self::Http(source) => source.life,
            Self::Cloudflare(_) | Self::Coturn(_) | Self::Relay(_) | Self::Manual(_) => ttl,
        }
    }

    /// Mints a credential that lives at most `life` from `now`, except that the source `http` does not obey `life`. The request's `grant`
    /// becomes the id of the credential's grant. A credential that was minted ahead already has one. `relay`: the relay of the fleet that
    /// the credential names. `None` if the source has failed, which was logged and counted.
    pub async fn mint(
        &self,
        request: &MintRequest,
        relay: Option<&OwnRelay>,
        life: Duration,
        now: Timestamp,
    ) -> Option<Minted> {
        let grant = request.grant;
        let issue = |ice_servers, issuer| Minted { ice_servers, grant, issuer, life, works_for: life };
        Some(match self {
            Self::Cloudflare(provider) => {
                // The pool's credentials are of any TURN key, so a request for one key does not use them.
                let pooled = if request.place.turn_key.is_none() { provider.take_pooled(life) } else { None };
                if let Some((PooledCredential { servers, grant, turn_key: issuer, .. }, left)) = pooled {
                    let life = Duration::from_secs(left.as_secs());
                    return Some(Minted { ice_servers: servers, grant, issuer, life, works_for: life });
                }
                let (listed, issuer) = provider.mint(life, &grant, request.place.turn_key).await?;
                issue(listed.servers, issuer)
            }
            Self::Http(source) => {
                let (Listed { servers, life: stated }, _) =
                    source.provider.mint(source.life, &grant, None).await?;
                let stated = stated.unwrap_or(source.life);
                // Nobody knows which of the two lives is true. So the response states at most the shorter one, and the longer one is
                // reserved.
                let life = request.ttl.max(source.life_min).min(source.life).min(stated);
                Minted { life, works_for: source.life.max(stated), ..issue(servers, None) }
            }
            Self::Coturn(_) => {
                let relay = relay?;
                issue(relay.server.credential(&grant.to_string(), now.plus(life)), relay.owner.issuer)
            }
            Self::Relay(server) => issue(server.credential(&grant.to_string(), now.plus(life)), None),
            Self::Manual(list) => issue(list.clone(), None),
        })
    }
}

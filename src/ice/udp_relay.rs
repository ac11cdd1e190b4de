//! A relay over UDP at which a credential is tried: by the probe of counts, by `doctor --tail`, and by the probes of own relays.

use std::net::SocketAddr;

use tokio::net::lookup_host;

use super::server::{IceServer, IceServerList};
use super::url::IceUrl;

/// Where the relay is, and the credential.
pub struct UdpRelay {
    /// The first address of its name.
    pub address: SocketAddr,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl UdpRelay {
    /// The relay of an entry. `None` if its name has no address, or the resolver does not answer.
    pub async fn of(server: &IceServer, url: &IceUrl) -> Option<Self> {
        let address = lookup_host((&*url.host, url.port)).await.ok()?.next()?;
        let [username, password] =
            [&server.username, &server.credential].map(|part| part.clone().unwrap_or_default());
        Some(Self { address, username, password })
    }

    /// The first relay over UDP in a list. `None` if the list has none, or for the reasons of [`Self::of`].
    pub async fn first(servers: &IceServerList) -> Option<Self> {
        let (server, url) = servers.udp_relays().next()?;
        Self::of(server, url).await
    }
}

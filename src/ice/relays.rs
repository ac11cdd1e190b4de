//! A relay over UDP at which a credential is tried: by the probe of counts, by `doctor`, and by the probes of own relays.

use std::net::SocketAddr;

use tokio::net::lookup_host;
use turn_relay::client::UdpRelay;

use super::{IceServer, IceServerList, IceUrl};

/// The relay of an entry, at the first address of its name. `None` if its name has no address, or the resolver does not answer.
pub async fn of(server: &IceServer, url: &IceUrl) -> Option<UdpRelay> {
    Some(at(lookup_host((&*url.host, url.port)).await.ok()?.next()?, server))
}

/// The relay at this address, with the credential of an entry.
pub fn at(address: SocketAddr, server: &IceServer) -> UdpRelay {
    let [username, password] =
        [&server.username, &server.credential].map(|part| part.clone().unwrap_or_default());
    UdpRelay { address, username, password }
}

/// The first relay over UDP in a list. `None` if the list has none, or for the reasons of [`of`].
pub async fn first(servers: &IceServerList) -> Option<UdpRelay> {
    let (server, url) = servers.udp_relays().next()?;
    of(server, url).await
}

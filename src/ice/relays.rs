//! Relays at which credentials are tried: by the probe of counts, by `doctor`, and by the probes of own relays. Over UDP, something is
//! relayed. Over TCP and TLS, a connection is opened as a browser does. Tests: `tests/it/doctor/relay.rs`, `tests/it/fleet.rs`.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use turn_base::{Trust, in_words};
use turn_relay::client::UdpRelay;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::url::Reach;
use super::{IceServer, IceServerList, IceUrl};

/// The time limit for one name. The system's resolver gives up after 5 s per server.
const LOOKUP_MAX: Duration = Duration::from_secs(8);

/// The time limit of a probe.
pub const PROBE_MAX: Duration = Duration::from_secs(4);

/// The relay of an entry, at the first address of its name. `None` if its name has no address, or the resolver does not answer.
pub async fn of(server: &IceServer, url: &IceUrl) -> Option<UdpRelay> {
    let address = timeout(LOOKUP_MAX, lookup_host((&*url.host, url.port))).await.ok()?.ok()?.next()?;
    let [username, password] =
        [&server.username, &server.credential].map(|part| part.clone().unwrap_or_default());
    Some(UdpRelay { address, username, password })
}

/// The first relay over UDP in a list. `None` if the list has none, or for the reasons of [`of`].
pub async fn first(servers: &IceServerList) -> Option<UdpRelay> {
    let (server, url) = servers.udp_relays().next()?;
    of(server, url).await
}

/// Connects to the relay at this URL. Over TLS, its certificate must be one of a known authority for the host's name. Then the result is
/// the end of the certificate, as the time since 1970.
pub async fn connect(url: &IceUrl, trust: &Trust) -> io::Result<Option<Duration>> {
    let connected = async {
        let socket = TcpStream::connect((&*url.host, url.port)).await?;
        if url.reach() != Reach::TurnTls {
            return Ok(None);
        }
        let name = ServerName::try_from(url.host.to_string()).map_err(io::Error::other)?;
        let secure = TlsConnector::from(Arc::new(trust.client())).connect(name, socket).await;
        let secure = secure.map_err(|error| io::Error::new(error.kind(), in_words(&error.to_string())))?;
        let presented = secure.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate =
            presented.map(|one| Certificate::from_der(one)).transpose().map_err(io::Error::other)?;
        Ok(certificate.map(|one| one.tbs_certificate.validity.not_after.to_unix_duration()))
    };
    timeout(PROBE_MAX, connected).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

//! The TURN library's server on loopback, over UDP. It accepts the credentials that a fake Cloudflare has minted; others get 400.

use std::sync::atomic::{AtomicBool, Ordering};

use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};
use webrtc_util::vnet::net::Net;

use super::fake_cloudflare::History;
use crate::support::prelude::*;

/// The address that it relays at. Clients come from another one.
pub(crate) const RELAYED: &str = "127.0.0.2";

/// The server. Dropping it stops it.
pub(crate) struct TurnServer {
    address: SocketAddr,
    server: Server,
    refuses: Arc<AtomicBool>,
}

impl TurnServer {
    /// Starts on a free port of 127.0.0.1. `told`: the relayed address that clients are told.
    pub(crate) async fn start(told: &str, credentials: History) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let refuses = Arc::new(AtomicBool::new(false));
        let relay_addr_generator = Box::new(RelayAddressGeneratorStatic {
            relay_address: told.parse().unwrap(),
            address: RELAYED.to_owned(),
            net: Arc::new(Net::new(None)),
        });
        let config = ServerConfig {
            conn_configs: vec![ConnConfig { conn: Arc::new(socket), relay_addr_generator }],
            realm: "relay.test".to_owned(),
            auth_handler: Arc::new(Minted { credentials, refuses: refuses.clone() }),
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        };
        Self { address, server: Server::new(config).await.unwrap(), refuses }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("turn:{}?transport=udp", self.address)
    }

    /// Refuses every credential from now on, and ends all allocations.
    pub(crate) async fn refuse_all(&self) {
        self.refuses.store(true, Ordering::Relaxed);
        for (_, allocation) in self.server.get_allocations_info(None).await.unwrap() {
            self.server.delete_allocations_by_username(allocation.username).await.unwrap();
        }
    }

    pub(crate) async fn allocations(&self) -> usize {
        self.server.get_allocations_info(None).await.unwrap().len()
    }
}

/// Starts a server on a free port of 127.0.0.1 that answers each request for an allocation with 300 (Try Alternate), and names this server
/// over IPv4. Returns its address.
pub(crate) async fn start_redirect(to: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let IpAddr::V4(ip) = to.ip() else { panic!("{to} is not over IPv4") };
    tokio::spawn(async move {
        let mut request = [0; 1_500];
        loop {
            let (_, client) = socket.recv_from(&mut request).await.unwrap();
            let error_code = [0x00, 0x09, 0x00, 0x04, 0, 0, 3, 0];
            let alternate_server =
                [&[0x80, 0x23, 0x00, 0x08, 0, 1], &to.port().to_be_bytes()[..], &ip.octets()];
            let attributes = [&error_code[..], &alternate_server.concat()].concat();
            // An error response to Allocate, with the cookie and the transaction id of the request.
            let answer = [&[0x01, 0x13, 0x00, 20], &request[4..20], &attributes].concat();
            socket.send_to(&answer, client).await.unwrap();
        }
    });
    address
}

struct Minted {
    credentials: History,
    refuses: Arc<AtomicBool>,
}

impl AuthHandler for Minted {
    fn auth_handle(&self, username: &str, realm: &str, _client: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(turn::Error::ErrNoSuchUser);
        }
        let secrets = self.credentials.minted_secrets();
        let [_, password] =
            secrets.chunks(2).find(|pair| pair[0] == username).ok_or(turn::Error::ErrNoSuchUser)?
        else {
            return Err(turn::Error::ErrNoSuchUser);
        };
        Ok(generate_auth_key(username, realm, password))
    }
}

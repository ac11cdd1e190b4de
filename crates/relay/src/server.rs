//! The running relay. One loop passes the clients' datagrams to the TURN library. Another reports a count about once a
//! second and ends the allocations of grants that have ended. Requests are handled one after the other, so that a bound
//! holds from its check to the allocation.

use std::collections::{HashMap, HashSet};

use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use turn::allocation::allocation_manager::{Manager, ManagerConfig};
use turn::allocation::five_tuple::FiveTuple;
use turn::proto::PROTO_UDP;
use turn::server::request::Request;

use crate::clients::{Client, Clients};
use crate::count::Meter;
use crate::peers::PeerPolicy;
use crate::prelude::*;
use crate::sockets::{ClientSocket, FAILURE_PAUSE, PeerSockets, RelayedPorts, length};
use turn_budget::{BilledDirections, Carried};

/// The interval between counts, and between checks for grants that have ended.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest datagram. The library reads datagrams of peers up to the same length. Real ones have under 1,300 bytes.
const DATAGRAM_MAX: usize = 1_500;
/// Nonces in memory. At the bound all are dropped, and each client's next request gets a new one (438).
const NONCES_MAX: usize = 4_096;
/// The first byte of a STUN message is below this, and that of channel data is not (RFC 8656).
const CHANNEL_DATA: u8 = 0x40;
/// Part of every password's hash. Clients learn it from the first answer.
const REALM: &str = "turn-broker";

/// The relay's address is in use, or does not belong to this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on UDP {listen}: {cause}")]
pub struct ListenError {
    listen: SocketAddr,
    #[source]
    cause: std::io::Error,
}

/// A relay with a bound socket.
pub struct Relay {
    socket: std::net::UdpSocket,
    /// The server side of every five-tuple.
    listen: SocketAddr,
    public_ip: IpAddr,
    meter: Arc<Meter>,
    manager: Arc<Manager>,
    /// Held while the library handles a request.
    requests: Mutex<()>,
    nonces: Arc<Mutex<HashMap<String, Instant>>>,
    clients: Arc<Clients>,
}

impl Relay {
    /// Binds the socket. [`Self::run`] answers requests. `listen`: address and UDP port; port 0 lets the system pick one.
    /// `public_ip`: the address that clients and peers use. `billed`: which bytes are counted.
    pub fn open(
        listen: SocketAddr,
        public_ip: IpAddr,
        billed: BilledDirections,
        broker: Arc<dyn RelayBroker>,
        note: Note,
    ) -> Result<Self, ListenError> {
        let bind = || {
            let socket = std::net::UdpSocket::bind(listen)?;
            socket.set_nonblocking(true)?;
            let listen = socket.local_addr()?;
            Ok((socket, listen))
        };
        let (socket, listen) = bind().map_err(|cause| ListenError { listen, cause })?;
        let peers = PeerSockets {
            policy: PeerPolicy { listen, public_ip },
            ports: Arc::new(RelayedPorts::default()),
            note: Arc::clone(&note),
        };
        let manager = ManagerConfig { relay_addr_generator: Box::new(peers), alloc_close_notify: None };
        Ok(Self {
            socket,
            listen,
            public_ip,
            meter: Arc::new(Meter::new(billed, Arc::clone(&note))),
            manager: Arc::new(Manager::new(manager)),
            requests: Mutex::default(),
            nonces: Arc::default(),
            clients: Arc::new(Clients { rows: parking_lot::Mutex::default(), broker, note }),
        })
    }

    /// The address that clients use.
    pub fn public_address(&self) -> SocketAddr {
        SocketAddr::new(self.public_ip, self.listen.port())
    }

    /// Relays until `end`. Then ends all allocations, and reports a last count.
    pub async fn run(&self, end: &CancellationToken) {
        let socket = match self.socket.try_clone().and_then(UdpSocket::from_std) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::error!(%error, "the relay's socket cannot be used");
                return;
            }
        };
        let address = self.listen;
        tracing::warn!(
            %address,
            "a small TURN server runs in this process, on UDP {address}: for demos, development and tests, not for production"
        );
        self.count(true).await;
        let work = async { tokio::join!(self.receive(&socket), self.count_regularly()) };
        end.run_until_cancelled(work).await;
        for name in self.clients.users().into_keys() {
            self.cut(&name, "shutdown").await;
        }
        self.count(true).await;
    }

    async fn receive(&self, socket: &Arc<UdpSocket>) {
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((bytes, client)) => self.handle(socket, client, &buffer[..bytes]).await,
                Err(_) => tokio::time::sleep(FAILURE_PAUSE).await,
            }
        }
    }

    /// Handles one datagram. The library answers the client itself, and an error is part of that answer, so its result is ignored.
    async fn handle(&self, socket: &Arc<UdpSocket>, client: SocketAddr, datagram: &[u8]) {
        let is_message = datagram.first().is_some_and(|first| *first < CHANNEL_DATA);
        if is_message {
            self.update_client(client, None).await;
        }
        let known = self.clients.socket(client);
        if known.is_none() && !is_message {
            return;
        }
        let client_socket =
            known.unwrap_or_else(|| Arc::new(ClientSocket::new(Arc::clone(socket), Arc::clone(&self.meter))));
        if !client_socket.receive(length(datagram.len())) {
            return;
        }
        let mut nonces = self.nonces.lock().await;
        if nonces.len() >= NONCES_MAX {
            nonces.clear();
        }
        drop(nonces);
        let mut request = Request {
            conn: Arc::<ClientSocket>::clone(&client_socket),
            src_addr: client,
            buff: datagram.to_vec(),
            allocation_manager: Arc::clone(&self.manager),
            nonces: Arc::clone(&self.nonces),
            auth_handler: Arc::<Clients>::clone(&self.clients),
            realm: REALM.to_owned(),
            channel_bind_timeout: turn::proto::lifetime::DEFAULT_LIFETIME,
        };
        let one_at_a_time = self.requests.lock().await;
        let _ = request.handle_request().await;
        drop(one_at_a_time);
        if is_message {
            self.update_client(client, Some(client_socket)).await;
        }
    }

    /// Adds or removes a client's row, so that the table matches the library. `socket`: the socket that a new allocation uses; `None`
    /// before a request, which adds no row.
    async fn update_client(&self, client: SocketAddr, socket: Option<Arc<ClientSocket>>) {
        let tuple = FiveTuple { protocol: PROTO_UDP, src_addr: client, dst_addr: self.listen };
        let found = self.manager.get_allocations_info(Some(vec![tuple])).await.remove(&tuple);
        match (found, self.clients.socket(client).is_some()) {
            (None, true) => {
                for removed in self.clients.take_where(|address, _| address == client) {
                    self.report_end(&removed, "closed");
                }
            }
            (Some(found), false) => {
                let Some((socket, user)) = socket.zip(Username::parse(&found.username)) else { return };
                socket.assign(user.grant);
                self.clients.rows.lock().insert(client, Client { name: found.username, user, socket });
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    async fn count_regularly(&self) {
        let mut interval = tokio::time::interval(COUNT_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_written = true;
        loop {
            tokio::select! {
                _ = interval.tick() => is_written = self.clients.broker.recorded().await,
                // Count at once when the limit is reached. While a count is not written nothing passes, so the limit would be reached again
                // and again.
                () = self.meter.until_reached(), if is_written => {}
            }
            self.count(is_written).await;
        }
    }

    /// Reports what was carried since the last call, sets the limit, and ends the allocations of grants that have ended. A crash must not
    /// hide more than [`UNWRITTEN_MAX`](turn_budget::UNWRITTEN_MAX), so nothing may pass unless the count of the last interval
    /// `is_written`. Then tells the broker which grants have an allocation, and removes the rows of clients without one.
    async fn count(&self, is_written: bool) {
        // Read the clock before the count, so that the count contains everything up to that instant. Without an instant, the bytes stay
        // in the meter until the next call.
        if let Some(as_of) = self.clients.broker.may_count_until() {
            let (granted, by_grant) = self.meter.take();
            let carried = Carried { as_of, granted, is_shown: true, ..Carried::default() };
            self.clients.broker.carry(&carried, &by_grant);
        }
        self.meter.allow(if is_written { self.clients.broker.remaining() } else { ByteCount::ZERO });
        for (name, user) in self.clients.users() {
            if let Some(end) = self.clients.broker.grant_end(&user) {
                self.cut(&name, end.into()).await;
            }
        }
        let present = self.release_gone().await;
        for client in self.clients.take_where(|address, _| !present.contains(&address)) {
            self.report_end(&client, "closed");
        }
        (self.clients.note)(Event::Allocations(length(self.clients.rows.lock().len())));
    }

    /// Tells the broker which grants have an allocation, after the allocations of ended grants were deleted. Meanwhile no request is
    /// handled: a request that was admitted before its grant ended could otherwise make an allocation that the list of these grants lacks.
    /// Returns the clients with an allocation.
    async fn release_gone(&self) -> HashSet<SocketAddr> {
        let _no_request = self.requests.lock().await;
        let present = self.manager.get_allocations_info(None).await;
        let grants = present.values().filter_map(|found| Username::parse(&found.username));
        let grants: Vec<_> = grants.map(|user| user.grant).collect();
        self.clients.broker.release_all_but(&grants);
        present.into_keys().map(|tuple| tuple.src_addr).collect()
    }

    /// Ends all allocations of a user name.
    async fn cut(&self, name: &str, why: &'static str) {
        let clients = self.clients.take_where(|_, client| client.name == name);
        for client in &clients {
            client.socket.end();
        }
        self.manager.delete_allocations_by_username(name).await;
        for client in &clients {
            self.report_end(client, why);
        }
    }

    fn report_end(&self, client: &Client, why: &'static str) {
        (self.clients.note)(Event::Ended(why));
        let traffic = client.socket.traffic();
        tracing::info!(
            grant.id = %client.user.grant,
            received = traffic.received.get(),
            sent = traffic.sent.get(),
            why,
            "an allocation of the relay has ended"
        );
    }
}

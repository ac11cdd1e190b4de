//! The two sockets of an allocation, as the TURN library uses them. The client socket wraps the socket that all clients share:
//! it counts bytes and enforces the limit. The peer socket belongs to one allocation: it filters peers. Neither socket passes
//! packets once the allocation has ended.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::Interest;
use turn::relay::RelayAddressGenerator;

use crate::allocation_rules::ALLOCATIONS_MAX;
use crate::count::Meter;
use crate::peers::PeerPolicy;
use crate::prelude::*;
use crate::unconnected::{unconnected, unused};

/// The pause after a socket error, so that the loop does not spin.
pub(crate) const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// The socket to one client. Until it is assigned it belongs to no grant, and its bytes are not billed.
pub(crate) struct ClientSocket {
    socket: Arc<UdpSocket>,
    meter: Arc<Meter>,
    /// Locked while a packet is sent and counted, so that no packet is being sent when `has_ended` is set.
    state: Mutex<ClientState>,
}

#[derive(Default)]
struct ClientState {
    /// `None` until the socket is assigned.
    grant: Option<GrantId>,
    traffic: Traffic,
    has_ended: bool,
}

impl ClientSocket {
    pub(crate) fn new(socket: Arc<UdpSocket>, meter: Arc<Meter>) -> Self {
        Self { socket, meter, state: Mutex::default() }
    }

    /// Counts a datagram from the client. Returns whether it may be handled.
    pub(crate) fn receive(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        state.traffic = state.traffic.plus(Traffic::new(bytes, 0));
        match state.grant {
            Some(grant) => self.meter.receive(grant, bytes),
            None => true,
        }
    }

    /// Assigns the socket to the grant of the client's new allocation. Bytes seen before then count for this grant, too.
    pub(crate) fn assign(&self, grant: GrantId) {
        let mut state = self.state.lock();
        if state.grant.replace(grant).is_none() {
            self.meter.add(grant, state.traffic);
        }
    }

    /// Stops sending. Every packet that was sent is in [`Self::traffic`] when this returns.
    pub(crate) fn end(&self) {
        self.state.lock().has_ended = true;
    }

    /// What the socket carried. After [`Self::end`] only the received bytes can still change.
    pub(crate) fn traffic(&self) -> Traffic {
        self.state.lock().traffic
    }

    /// Sends a packet and counts it, in one step that does not wait.
    fn try_send(&self, datagram: &[u8], client: SocketAddr) -> std::io::Result<usize> {
        let mut state = self.state.lock();
        if state.has_ended {
            return Err(ErrorKind::NotConnected.into());
        }
        let bytes = length(datagram.len());
        let transmit = || self.socket.try_send_to(datagram, client);
        let outcome = match state.grant {
            Some(grant) => self.meter.send(grant, bytes, transmit),
            None => Some(transmit()),
        };
        match outcome {
            Some(Ok(_)) => state.traffic = state.traffic.plus(Traffic::new(0, bytes)),
            Some(Err(failed)) => return Err(failed),
            // The limit is reached: drop the packet without an error, as a network would.
            None => {}
        }
        Ok(datagram.len())
    }
}

unconnected! {
    ClientSocket:

    async fn send_to(&self, datagram: &[u8], client: SocketAddr) -> Result<usize, Error> {
        let send = || self.try_send(datagram, client);
        Ok(self.socket.async_io(Interest::WRITABLE, send).await?)
    }

    /// Does nothing: all clients share the socket, and it must still send the response to a Refresh with lifetime 0.
    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn recv_from(&self, _: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Err(unused())
    }
}

/// The ports of the current allocations.
#[derive(Debug, Default)]
pub(crate) struct RelayedPorts(Mutex<HashSet<u16>>);

impl RelayedPorts {
    /// Binds a socket; port 0 lets the system pick one. `None` when [`ALLOCATIONS_MAX`] exist.
    fn bind(
        self: &Arc<Self>,
        ip: IpAddr,
        port: u16,
    ) -> std::io::Result<Option<(std::net::UdpSocket, HeldPort)>> {
        let mut ports = self.0.lock();
        if ports.len() >= ALLOCATIONS_MAX {
            return Ok(None);
        }
        let socket = std::net::UdpSocket::bind((ip, port))?;
        socket.set_nonblocking(true)?;
        let port = socket.local_addr()?.port();
        ports.insert(port);
        Ok(Some((socket, HeldPort { ports: Arc::clone(self), port })))
    }
}

/// Creates the peer sockets.
pub(crate) struct PeerSockets {
    pub(crate) policy: PeerPolicy,
    pub(crate) ports: Arc<RelayedPorts>,
    pub(crate) note: Note,
}

#[async_trait]
impl RelayAddressGenerator for PeerSockets {
    fn validate(&self) -> Result<(), turn::Error> {
        Ok(())
    }

    /// Relayed addresses have the listener's family. `wants_ipv4` is also true if the client named no family. `port` is 0,
    /// or a port that was free a moment ago if the client asked for an even port.
    async fn allocate_conn(
        &self,
        wants_ipv4: bool,
        port: u16,
    ) -> Result<(Arc<dyn Conn + Send + Sync>, SocketAddr), turn::Error> {
        let listen = self.policy.listen.ip();
        if !wants_ipv4 && listen.is_ipv4() {
            return Err(turn::Error::ErrPeerAddressFamilyMismatch);
        }
        let Some((socket, held)) = self.ports.bind(listen, port)? else {
            (self.note)(Event::Refused("full"));
            // The library answers each error of this function with 508 (Insufficient Capacity).
            return Err(turn::Error::ErrMaxRetriesExceeded);
        };
        let port = held.port;
        let socket = PeerSocket {
            socket: UdpSocket::from_std(socket)?,
            policy: self.policy,
            held,
            note: Arc::clone(&self.note),
            has_ended: AtomicBool::new(false),
        };
        Ok((Arc::new(socket), SocketAddr::new(self.policy.public_ip, port)))
    }
}

/// A port in use. Dropping it frees the port.
struct HeldPort {
    ports: Arc<RelayedPorts>,
    port: u16,
}

impl Drop for HeldPort {
    fn drop(&mut self) {
        self.ports.0.lock().remove(&self.port);
    }
}

/// The socket from one allocation to its peers.
struct PeerSocket {
    socket: UdpSocket,
    policy: PeerPolicy,
    held: HeldPort,
    note: Note,
    has_ended: AtomicBool,
}

impl PeerSocket {
    fn admits(&self, peer: SocketAddr) -> bool {
        let admits = self.policy.admits(peer, |port| self.held.ports.0.lock().contains(&port));
        if !admits {
            (self.note)(Event::Dropped("peer"));
        }
        admits
    }
}

unconnected! {
    PeerSocket:

    /// Never returns once the allocation has ended. On an error the library would delete the client's current allocation,
    /// which can be a newer one.
    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        loop {
            let received = self.socket.recv_from(buffer).await;
            if self.has_ended.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
            match received {
                Ok((bytes, peer)) if self.admits(peer) => return Ok((bytes, peer)),
                Ok(_) => {}
                Err(_) => tokio::time::sleep(FAILURE_PAUSE).await,
            }
        }
    }

    /// Drops a packet to a refused peer without an error, as a network would.
    async fn send_to(&self, payload: &[u8], peer: SocketAddr) -> Result<usize, Error> {
        if self.has_ended.load(Ordering::Acquire) {
            return Err(Error::ErrUseClosedNetworkConn);
        }
        if !self.admits(peer) {
            return Ok(payload.len());
        }
        Ok(self.socket.send_to(payload, peer).await?)
    }

    async fn close(&self) -> Result<(), Error> {
        self.has_ended.store(true, Ordering::Release);
        Ok(())
    }
}

pub(crate) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bounded_and_a_dropped_one_is_free_again() {
        let ports = Arc::new(RelayedPorts::default());
        let bind = || ports.bind(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let mut held: Vec<_> = (0..ALLOCATIONS_MAX).map(|_| bind().expect("there is room")).collect();
        assert!(bind().is_none());
        let (_, returned) = held.pop().unwrap();
        let port = returned.port;
        assert!(ports.0.lock().contains(&port));
        drop(returned);
        assert!(!ports.0.lock().contains(&port));
        assert!(bind().is_some());
    }
}

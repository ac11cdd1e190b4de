//! A port of this machine that stays reserved.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A TCP port of 127.0.0.1 where nobody listens yet. No other program gets it while this value exists. A server of the test can listen there,
/// because servers set `SO_REUSEADDR`.
#[derive(Debug)]
pub(crate) struct HeldPort(TcpSocket);

impl HeldPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

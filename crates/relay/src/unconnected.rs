//! What all UDP sockets of the TURN library's [`Conn`] share here: none is connected, so the library names the other end of each packet.

use crate::prelude::*;

/// [`Conn`](webrtc_util::Conn) for a type with a `socket`: the methods that are given, and those that are the same for all such types.
macro_rules! unconnected {
    ($socket:ident: $($methods:tt)*) => {
        #[async_trait::async_trait]
        impl webrtc_util::Conn for $socket {
            $($methods)*

            fn local_addr(&self) -> Result<SocketAddr, Error> {
                Ok(self.socket.local_addr()?)
            }

            fn remote_addr(&self) -> Option<SocketAddr> {
                None
            }

            fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
                self
            }

            async fn connect(&self, _: SocketAddr) -> Result<(), Error> {
                Err($crate::unconnected::unused())
            }

            async fn recv(&self, _: &mut [u8]) -> Result<usize, Error> {
                Err($crate::unconnected::unused())
            }

            async fn send(&self, _: &[u8]) -> Result<usize, Error> {
                Err($crate::unconnected::unused())
            }
        }
    };
}
pub(crate) use unconnected;

/// The error of the methods that the library calls only for a connected socket.
pub(crate) fn unused() -> Error {
    Error::Other("not used without a connection".to_owned())
}

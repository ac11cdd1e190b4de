//! A small TURN server (RFC 8656, UDP only) in the broker's process, for demos, development and tests, on this machine and private
//! networks. It accepts the broker's credentials only. It counts every byte between itself and its clients, and reports these counts
//! to the broker. It deletes the allocations of a grant that has ended. The budget is therefore a hard limit here: the packet that
//! reaches the limit is the last one that is relayed.
//!
//! [`client`] asks any TURN server whether a credential relays there, and [`tunnel`] whether one relays where it should not.
//!
//! The TURN library filters no peers, counts one direction, has no bounds and keeps every nonce. The modules around it
//! add what is missing.

mod allocation_rules;
mod broker;
pub mod client;
mod client_socket;
mod clients;
mod count;
mod peers;
mod server;
mod sockets;
pub mod tunnel;
mod unconnected;

pub use allocation_rules::{ALLOCATIONS_PER_GRANT_MAX, Username};
pub use broker::{Event, Note, RelayBroker};
pub use server::{ListenError, Relay};

/// What most modules use.
mod prelude {
    pub(crate) use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::Duration;

    pub(crate) use async_trait::async_trait;
    pub(crate) use parking_lot::Mutex;
    pub(crate) use tokio::net::UdpSocket;
    pub(crate) use tokio::time::timeout;
    pub(crate) use turn_budget::{ByteCount, GrantId, Timestamp, Traffic};
    pub(crate) use webrtc_util::{Conn, Error};

    pub(crate) use crate::allocation_rules::Username;
    pub(crate) use crate::broker::{Event, Note, RelayBroker};
}

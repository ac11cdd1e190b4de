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

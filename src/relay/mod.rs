//! A small TURN server (RFC 8656, UDP only) inside the broker's process, for demos, development and tests; no production
//! relay. It takes the broker's credentials and no others, counts every byte between itself and its clients, gives the
//! sum to the account as readings, and deletes the allocations of a grant that has ended. So here the budget is hard:
//! nothing passes once it is reached but the rest of one packet.
//!
//! The TURN library filters no peers, counts one direction, knows no bounds and keeps every nonce: all of that is done
//! here, around it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::account::Account;
use crate::clock::Clock;
use crate::random::NoRandomness;
use crate::telemetry::metrics::Metrics;
use turn_ledger::connection::BilledDirections;

pub mod auth;
mod clients;
mod count;
mod datagram;
pub mod peers;
mod rate;
mod server;
mod sockets;

pub use server::Relay;

/// What the relay works with.
pub struct RelayParts {
    /// Says which grants have ended, and takes the readings.
    pub account: Arc<Account>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Which bytes are billed.
    pub billed: BilledDirections,
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Its address is taken, or none of this machine's.
    #[error("cannot listen on UDP {listen} (RELAY_LISTEN): {cause}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// Its address makes no URL.
    #[error("RELAY_LISTEN and RELAY_PUBLIC_IP make no turn: URL")]
    Url,
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

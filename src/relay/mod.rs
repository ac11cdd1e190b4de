//! A small TURN server (RFC 8656, UDP only) in the broker's process, for demos, development and tests. It is not a
//! production relay. It accepts the broker's credentials only. It counts every byte between itself and its clients, and
//! reports the sum to the account as readings. It deletes the allocations of a grant that has ended. The budget is therefore a
//! hard limit here: the packet that reaches it is the last one.
//!
//! The TURN library filters no peers, counts one direction, has no bounds and keeps every nonce. The modules around it
//! add what is missing.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::account::Account;
use crate::clock::Clock;
use crate::random::NoRandomness;
use crate::telemetry::metrics::Metrics;
use turn_ledger::BilledDirections;

pub mod auth;
mod clients;
mod count;
mod datagram;
pub mod peers;
mod rate;
mod server;
mod sockets;

pub use server::Relay;

/// What the relay needs from the service.
pub struct RelayParts {
    /// Knows which grants have ended, and takes the readings.
    pub account: Arc<Account>,
    /// The service's clock.
    pub clock: Arc<dyn Clock>,
    /// The service's metrics.
    pub metrics: Arc<Metrics>,
    /// Which bytes are billed.
    pub billed: BilledDirections,
}

/// Why the relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Its address is in use, or does not belong to this machine.
    #[error("cannot listen on UDP {listen} (RELAY_LISTEN): {cause}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's error.
        #[source]
        cause: std::io::Error,
    },
    /// Its address does not form a URL.
    #[error("RELAY_LISTEN and RELAY_PUBLIC_IP do not form a turn: URL")]
    Url,
    /// The operating system did not provide random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

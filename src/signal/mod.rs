//! Signaling: the pure protocols of `turn_signaling`, each with its sockets, and the calls that they make. Decisions about frames,
//! rooms and timeouts are the protocols'. What reads and writes the sockets is in `http::signaling`.
//!
//! | where | what |
//! |---|---|
//! | [`hub`] | one protocol with its sockets: an event goes in, its actions are carried out in order |
//! | [`protocols`] | which protocols are on |
//! | [`outbox`] | what waits to be sent to one socket, bounded |
//! | [`occupancy`] | how many sockets are open, in all and for each address |
//! | [`calls`] | the calls of all protocols, and what they mean for the ledger |

pub mod calls;
pub mod hub;
pub mod occupancy;
pub mod outbox;
pub mod protocols;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use turn_signaling::call::ProtocolName;

use crate::config::AyameConfig;
use calls::LiveCalls;
use hub::Hub;
use occupancy::Occupancy;

/// The protocols that are on, and what they share.
#[derive(Debug)]
pub struct Signaling {
    /// The protocols with sockets.
    pub hubs: Vec<Arc<Hub>>,
    /// The open sockets of all protocols.
    pub occupancy: Arc<Occupancy>,
    /// The calls of all protocols.
    pub calls: Arc<LiveCalls>,
    /// The life of a credential that is minted for a call.
    pub ttl: Duration,
    /// The webhooks of Ayame.
    pub ayame: Option<AyameConfig>,
    /// For webhooks.
    pub client: Client,
}

impl Signaling {
    /// A protocol with its sockets. `None` if it is off, or has no sockets.
    #[must_use]
    pub fn hub(&self, protocol: ProtocolName) -> Option<&Arc<Hub>> {
        self.hubs.iter().find(|hub| hub.name() == protocol)
    }
}

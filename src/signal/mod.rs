//! Signaling: the pure protocols of `turn_signaling`, each with its sockets, and their calls. The protocols decide about frames,
//! rooms and timeouts. The tasks that read and write the sockets are in `http::signaling`.
//!
//! | where | what |
//! |---|---|
//! | [`hub`] | one protocol with its sockets: an event goes in, its actions are carried out in order |
//! | [`protocols`] | a hub for each protocol that is on |
//! | [`outbox`], [`inbox`] | what waits to be sent to one socket; what has arrived of an incomplete message |
//! | [`backlog`] | the bytes of both, for all sockets of a client and for all together |
//! | [`occupancy`] | how many sockets are open, in all and for each address |
//! | [`reports`] | reports of Orange's page: on disk, and in a chat |
//! | [`rooms`] | where the names of users in rooms come from |
//! | [`p2pcf`] | P2PCF, which has no sockets |

pub mod backlog;
pub mod hub;
pub mod inbox;
pub mod occupancy;
pub mod outbox;
pub mod p2pcf;
pub mod protocols;
pub mod reports;
pub mod rooms;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio_util::task::TaskTracker;
use turn_limits::MemoryQuota;
use turn_signaling::call::ProtocolName;

use crate::config::{AyameConfig, Off, is_at_or_below};
use hub::Hub;
use occupancy::Occupancy;
use p2pcf::P2pcfShell;
use reports::Reports;
use rooms::RoomUsers;
use turn_base::throttle::Throttle;

/// The protocols that are on, and what they share.
#[derive(Debug)]
pub struct Signaling {
    /// The protocols with sockets.
    pub hubs: Vec<Arc<Hub>>,
    /// Where the names of users in rooms come from. `None` unless `SIGNALING` names rooms.
    pub room_users: Option<RoomUsers>,
    /// P2PCF. `None` if it is off.
    pub p2pcf: Option<P2pcfShell>,
    /// The key that clients of `PeerJS` name. `None` if it is off.
    pub peerjs_key: Option<String>,
    /// What happens to reports. `None` unless `SIGNALING` names them.
    pub reports: Option<Arc<Reports>>,
    /// What `SIGNALING` could name, and does not.
    pub off: Vec<Off>,
    /// The open sockets of all protocols.
    pub occupancy: Arc<Occupancy>,
    /// What has arrived of incomplete messages at all sockets.
    pub incomplete: MemoryQuota,
    /// The life of a credential that is minted for a call.
    pub ttl: Duration,
    /// The webhooks of Ayame.
    pub ayame: Option<AyameConfig>,
    /// For webhooks.
    pub client: Client,
    /// Lines about webhooks that failed.
    pub webhook_log: Throttle,
    /// Webhooks and mints in progress.
    pub tasks: TaskTracker,
}

impl Signaling {
    /// The hub of a protocol. `None` if it is off, or has no sockets.
    pub fn hub(&self, protocol: ProtocolName) -> Option<&Arc<Hub>> {
        self.hubs.iter().find(|hub| hub.name() == protocol)
    }

    /// The name of the protocol that would serve this path if it were on.
    pub fn off_at(&self, path: &str) -> Option<&'static str> {
        let would_serve = |(_, paths): &&Off| paths.iter().any(|above| is_at_or_below(path, above));
        self.off.iter().find(would_serve).map(|(name, _)| *name)
    }

    /// Removes what has expired without a request.
    pub fn tidy(&self) {
        if let Some(p2pcf) = &self.p2pcf {
            p2pcf.expire();
        }
        self.hubs.iter().for_each(|hub| hub.sweep());
    }
}

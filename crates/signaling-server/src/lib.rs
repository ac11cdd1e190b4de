//! The sockets, routes and timers of signaling: a shell around the pure protocols of `turn_signaling`. The protocols decide about
//! frames, rooms and timeouts; this package carries out what they decide.
//!
//! | where | what |
//! |---|---|
//! | [`routes`] | the paths |
//! | `socket` | what a request for a socket must have; the upgrade, and the task that reads and writes one socket |
//! | `hub` | one protocol with its sockets: an event goes in, its actions are carried out in order |
//! | `outbox`, `memory` | what waits to be sent to one socket; what waits at all sockets, what has arrived of an incomplete message, and who has sent it |
//! | `effects` | webhooks and mints |
//! | [`server`], `protocols` | the protocols that are on, with their timers |
//! | `occupancy`, [`polls`] | how many sockets are open; how often pages may poll |
//! | [`rooms`] | the user of a socket in a room, and the name that a visitor chooses |
//! | [`peerjs`] | the routes of `PeerJS` |
//! | [`p2pcf`] | P2PCF, which has no sockets: its pages poll |
//! | [`reports`], `form` | reports of Orange's page; the forms that carry them |
//! | [`broker`], [`settings`] | what this package needs of the broker; the settings |

pub mod broker;
mod effects;
mod form;
mod hub;
mod memory;
mod occupancy;
mod outbox;
pub mod p2pcf;
pub mod peerjs;
pub mod polls;
pub mod reports;
pub mod rooms;
pub mod routes;
pub mod server;
pub mod settings;
mod socket;

pub use broker::{Counted, ServerBroker, Service};
pub use reports::NoDirectory;
pub use server::Signaling;
pub use settings::{AyameConfig, P2pcfConfig, Protocols, ReportsConfig, RoomsConfig};

use hub::{AnyHub, Asked, Hub, OpenSocket};
use memory::{Mailbox, Memory};
use occupancy::Occupancy;
use outbox::{Outbox, Sent, TooSlow};
use p2pcf::P2pcfShell;
use polls::Polls;
use reports::Reports;
use rooms::RoomRoutes;
use socket::{SocketRequest, Sockets};

/// What most modules use.
mod prelude {
    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::Duration;

    pub(crate) use axum::body::Bytes;
    pub(crate) use axum::extract::{FromRequest, Request, State};
    pub(crate) use axum::http::{HeaderMap, HeaderName, StatusCode};
    pub(crate) use axum::response::{IntoResponse, Response};
    pub(crate) use axum::routing::{MethodRouter, get};
    pub(crate) use parking_lot::Mutex;
    pub(crate) use turn_base::{ApiError, ClientAddr, Throttle, clock, random};
    pub(crate) use turn_budget::{ClientKey, User};
    pub(crate) use turn_limits::Holder;
    pub(crate) use turn_signaling::{Closing, Event, ProtocolName, Text};

    pub(crate) use crate::{Counted, Service, Sockets};
}

#[cfg(test)]
mod testing;

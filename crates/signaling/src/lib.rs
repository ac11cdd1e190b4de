//! Signaling: how the browsers of a call find each other. Each protocol is one pure state machine that holds all its sockets
//! and rooms: `step(event, now)` returns what the service must do. This package opens no socket, reads no clock and draws no
//! random number; the service does, in one shell for all protocols.
//!
//! | where | what |
//! |---|---|
//! | [`protocol`] | what the shell tells a protocol, what a protocol asks of the shell, and why it dropped something of a client |
//! | [`calls`] | who is in which call, and what that means for the ledger |
//! | [`rooms`] | Orange rooms: who is there, and what each user shares |
//! | [`ayame`] | rooms of two |
//! | [`p2pcf`] | P2PCF, which has no sockets: its pages poll |
//! | [`uuid`] | UUIDs |
//! | [`deadlines`] | timers of many sockets; sockets that are pinged |
//! | [`flood`] | who has filled a queue |
//! | `object` | JSON objects |
//! | [`signing`] | signatures of what a client keeps for us, such as cookies |
//! | [`peerjs`] | `PeerJS`: messages between ids |
//! | [`yjs`] | y-webrtc: topics and their subscribers |

pub mod ayame;
pub mod calls;
pub mod deadlines;
pub mod flood;
mod object;
pub mod p2pcf;
pub mod peerjs;
pub mod protocol;
pub mod rooms;
pub mod signing;
pub mod uuid;
pub mod yjs;

pub use ayame::{Ayame, AyameSettings, QUEUED_FRAMES_MAX, SignIn};
pub use calls::{Call, CallAction, CallEvent, CallName, Calls, MediaAfter, Member, MemberId, ProtocolName};
pub use deadlines::Deadlines;
use deadlines::Sockets;
pub use p2pcf::P2pcf;
pub use peerjs::Peerjs;
use protocol::Actions;
pub use protocol::{
    Action, Closing, Dropped, Event, Limits, Protocol, Question, Reply, SocketId, Text, Upgrade, Webhook,
};
pub use rooms::Rooms;
pub use signing::SigningKey;
pub use yjs::Yjs;

/// What most modules use.
mod prelude {
    pub(crate) use std::borrow::Cow;
    pub(crate) use std::collections::{BTreeMap, BTreeSet, HashMap};
    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::Duration;

    pub(crate) use base64::Engine;
    pub(crate) use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    pub(crate) use serde::{Deserialize, Serialize};
    pub(crate) use serde_json::value::RawValue;
    pub(crate) use turn_budget::{GrantId, Timestamp, User};
    pub(crate) use turn_limits::{Bounds, Bucket, Counts, Holder, Rate, SHARES};

    pub(crate) use super::*;
}

#[cfg(test)]
mod testing;

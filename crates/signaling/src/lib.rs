//! Signaling: how the browsers of a call find each other. Each protocol is one pure state machine that holds all its sockets
//! and rooms: `step(event, now)` returns what the service must do. This package opens no socket, reads no clock and draws no
//! random number; the service does, in one shell for all protocols.
//!
//! | where | what |
//! |---|---|
//! | [`session`] | what the shell tells a protocol, and what a protocol asks of the shell |
//! | [`call`], [`calls`] | who is in which call, and what that means for the ledger |
//! | [`deadlines`], [`liveness`], [`allowance`] | timers of many sockets; which of them still live; how much one socket may send |
//! | `object` | JSON objects |
//! | [`peerjs`] | `PeerJS` |
//! | [`yjs`] | y-webrtc |

pub mod allowance;
pub mod call;
pub mod calls;
pub mod deadlines;
pub mod liveness;
mod object;
pub mod peerjs;
pub mod session;
pub mod yjs;

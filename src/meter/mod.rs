//! What relays say about themselves: how many bytes each session has carried, and the way to end one. Reading and
//! arithmetic are pure; only [`coturn_cli`] has a socket.

pub mod coturn_cli;
pub mod listing;
pub mod sessions;
pub mod traffic;

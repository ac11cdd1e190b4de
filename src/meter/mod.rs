//! What relays say about themselves: how many bytes each session has carried, and the way to end one.

pub mod listing;
pub mod sessions;
pub mod traffic;

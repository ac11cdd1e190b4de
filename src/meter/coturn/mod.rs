//! A coturn's own count of what each session has carried, and the way to end one.

pub mod cli;
pub mod listing;
pub mod sessions;
pub mod traffic;

//! From coturn's listings to the usage of its sessions, and from that to readings.

pub mod listing;
pub mod sessions;
pub mod usage;

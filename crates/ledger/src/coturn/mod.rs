//! From coturn's listings to the usage of its sessions, and from that to readings.

pub(crate) mod listing;
pub(crate) mod sessions;
pub(crate) mod usage;

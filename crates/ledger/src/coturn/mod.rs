//! The pure part of the coturn reader: from listings to the usage of sessions, and from that to readings.

pub mod listing;
pub mod sessions;
pub mod usage;

//! The pure part of the coturn reader: a listing becomes session usage, and that becomes readings.

pub mod listing;
pub mod sessions;
pub mod usage;

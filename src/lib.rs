//! turn-broker.
pub mod budget;
pub mod clock;
pub mod ice;
pub mod units;
pub mod usage;

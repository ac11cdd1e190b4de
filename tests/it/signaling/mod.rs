//! Signaling over the real router: each protocol as its clients see it.

mod ayame;
mod p2pcf;
mod reports;
mod rooms;
mod sfu;

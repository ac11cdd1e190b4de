//! Signaling over real sockets: each protocol as its clients see it.

mod ayame;
mod reports;
mod rooms;

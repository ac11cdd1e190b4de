//! The rules by which connections are charged. Tests: `../ledger/src/connection_tests.rs`.
//! They are settings, the same for all connections.

use std::time::Duration;

use crate::source::BySource;
use crate::units::BitRate;

/// Which of a client's two counts the provider bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BilledDirections {
    /// Relay → client: the client's `bytesReceived`.
    Egress,
    /// Both counts.
    Both,
}

/// How connections are charged; fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct UsageRules {
    /// The expected time between two reports of a connection.
    pub heartbeat: Duration,
    /// The counts that are billed.
    pub billed: BySource<BilledDirections>,
    /// The rate that a connection is charged while it reports no bytes.
    pub estimated_rate: BitRate,
}

//! Replicas on one ledger: which of them leads, and for how long its lead holds. One leader has the books. All others forward to it.

use std::time::Duration;

use parking_lot::RwLock;
use turn_ledger::Timestamp;

pub mod campaign;

pub use crate::store::postgres::standby::Replica;
use lease::Lease;
pub use turn_store::{election, lease};

/// The lead of this process.
#[derive(Debug)]
pub struct Lead {
    /// The number of the lead. It grows with each takeover.
    pub epoch: i64,
    /// Where the others reach this replica.
    pub url: String,
    /// Until when this process may rely on its lead.
    pub lease: Lease,
    /// The latest time of the books that this process saw another one store, and its own time since boot then.
    pub followed: Option<(Timestamp, Duration)>,
    replicas: RwLock<Vec<Replica>>,
    fault: RwLock<Option<String>>,
}

impl Lead {
    /// A lead that has just begun.
    pub fn new(epoch: i64, url: String, lease: Lease, followed: Option<(Timestamp, Duration)>) -> Self {
        Self { epoch, url, lease, followed, replicas: RwLock::default(), fault: RwLock::default() }
    }

    /// The replicas that were seen lately, this one among them.
    pub fn replicas(&self) -> Vec<Replica> {
        self.replicas.read().clone()
    }

    /// Takes the replicas that are seen now.
    pub fn set_replicas(&self, replicas: Vec<Replica>) {
        *self.replicas.write() = replicas;
    }

    /// What an operator must do about the replicas, as far as it was seen lately.
    pub fn fault(&self) -> Option<String> {
        self.fault.read().clone()
    }

    /// Takes a fault. A new one is logged.
    pub fn set_fault(&self, fault: Option<String>) {
        set_and_log(&mut self.fault.write(), fault, |fault| tracing::error!("{fault}"));
    }
}

/// Sets a warning or a fault. Passes a text that is new to `log`.
pub fn set_and_log(current: &mut Option<String>, new: Option<String>, log: impl FnOnce(&str)) {
    if let Some(text) = &new
        && *current != new
    {
        log(text);
    }
    *current = new;
}

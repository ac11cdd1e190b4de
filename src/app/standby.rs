//! What the handlers of a standby share. A standby has no books: it forwards.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use super::process::Process;
use crate::forward::Forwarder;

/// What the handlers of a standby share.
pub struct Standby {
    /// What it keeps when it leads.
    pub process: Arc<Process>,
    /// Sends requests to the leader.
    pub forwarder: Forwarder,
    /// Why this replica cannot lead, or what the operator should know before it does.
    pub warning: watch::Receiver<Option<String>>,
}

impl Deref for Standby {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

//! How often the pages of one client may poll. A page polls seven times in ten seconds while it looks for others, and once in
//! five seconds later, so this is enough for a large office behind one address. A page that asks for an id
//! for `PeerJS` polls, too.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::windows::Windows;
use crate::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Requests of one client in one window. An IPv6 /48 has four times as many.
const POLLS_MAX: u32 = 1_200;
/// The window. It begins with its first request.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts polls by client.
#[derive(Debug)]
pub struct PollRate {
    counts: Mutex<Windows>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl PollRate {
    /// No poll yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { counts: Mutex::new(Windows::new(POLLS_MAX, WINDOW)), clock, metrics }
    }

    /// Counts one poll. If the client has sent too many: the time until its window ends.
    pub fn count(&self, client: IpAddr) -> Option<Duration> {
        let wait = self.counts().count(client, self.clock.instant());
        if wait.is_some() {
            self.metrics.rate_limited.inc();
        }
        wait
    }

    /// Forgets windows that have ended.
    pub fn sweep(&self) {
        self.counts().sweep(self.clock.instant());
    }

    fn counts(&self) -> MutexGuard<'_, Windows> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How often the pages of one client may poll. A page polls seven times in ten seconds while it looks for others, and once in
//! five seconds later, so this is enough for a large office behind one address. A page that asks for an id
//! for `PeerJS` polls, too.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use turn_ledger::ClientKey;
use turn_limits::{ClientRate, Rate};

use crate::telemetry::metrics::Metrics;
use turn_base::clock::Clock;

/// Requests of one client. An IPv6 /48 has four times as many.
const POLLS: Rate = Rate::per_second(1_200, 20);
/// Clients with a row of their own, half for each address family.
const CLIENTS_MAX: usize = 8_192;

/// Counts polls by client.
#[derive(Debug)]
pub struct PollRate {
    rate: ClientRate,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl PollRate {
    /// No poll yet.
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { rate: ClientRate::new(POLLS, CLIENTS_MAX), clock, metrics }
    }

    /// Counts one poll. If the client has sent too many: the time until its whole allowance is back.
    pub fn count(&self, client: IpAddr) -> Option<Duration> {
        let spent = self.rate.take(ClientKey::of(client), 1, self.clock.since_boot()).err()?;
        self.metrics.rate_limited.inc();
        Some(spent.full)
    }

    /// Forgets clients whose allowance is back.
    pub fn sweep(&self) {
        self.rate.sweep(self.clock.since_boot());
    }
}

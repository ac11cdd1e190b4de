//! P2PCF behind one lock, with the clock. It has no sockets, so it needs no hub. Events of its calls are passed on in order.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use turn_ledger::ClientKey;
use turn_signaling::call::ProtocolName;
use turn_signaling::p2pcf::{DeleteKeys, P2pcf, P2pcfResponse, Refusal, Request};

use crate::calls::LiveCalls;
use crate::config::P2pcfConfig;
use crate::telemetry::metrics::Metrics;
use turn_base::clock::Clock;

/// Clients with a wrong clock that the log names, each once.
const SKEWED_MAX: usize = 1_024;

/// P2PCF with what it needs of the service.
pub struct P2pcfShell {
    path: String,
    state: Mutex<P2pcfState>,
    started: Instant,
    clock: Arc<dyn Clock>,
    calls: Arc<LiveCalls>,
    metrics: Arc<Metrics>,
}

struct P2pcfState {
    p2pcf: P2pcf,
    /// Clients whose clock is known to be wrong.
    skewed: HashSet<ClientKey>,
}

impl P2pcfShell {
    /// P2PCF without rooms.
    pub fn new(
        config: &P2pcfConfig,
        keys: DeleteKeys,
        clock: Arc<dyn Clock>,
        calls: Arc<LiveCalls>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let state = P2pcfState { p2pcf: P2pcf::new(config.origin_quota, keys), skewed: HashSet::new() };
        let started = clock.instant();
        Self { path: config.path.clone(), state: Mutex::new(state), started, clock, calls, metrics }
    }

    /// The path of its requests, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Answers a request.
    pub fn answer(&self, request: &Request<'_>) -> P2pcfResponse {
        let wall = self.clock.now();
        // Before the lock: a body has up to 256 KiB.
        let parsed = request.parse(wall);
        self.with(|state| {
            let now = self.clock.instant().saturating_duration_since(self.started);
            let response = state.p2pcf.answer(parsed, now, wall);
            response.events.into_iter().for_each(|event| self.calls.take(event));
            for why in response.dropped {
                self.metrics.signaling_dropped(ProtocolName::P2pcf.as_str(), why.as_str());
            }
            if response.answer == P2pcfResponse::Refused(Refusal::Timestamp) {
                state.log_skew(request.client);
            }
            response.answer
        })
    }

    /// Removes expired entries.
    pub fn expire(&self) {
        self.with(|state| {
            let now = self.clock.instant().saturating_duration_since(self.started);
            state.p2pcf.expire(now).into_iter().for_each(|event| self.calls.take(event));
        });
    }

    fn with<T>(&self, call: impl FnOnce(&mut P2pcfState) -> T) -> T {
        call(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl P2pcfState {
    /// The page is refused for as long as its clock is wrong, so one line for each client is enough.
    fn log_skew(&mut self, client: ClientKey) {
        if self.skewed.len() < SKEWED_MAX && self.skewed.insert(client) {
            tracing::warn!(%client, "P2PCF refuses a page whose clock is more than 10 minutes off, or that sends no time");
        }
    }
}

impl fmt::Debug for P2pcfShell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("P2pcfShell").field("path", &self.path).finish_non_exhaustive()
    }
}

//! The allowance for wrong operator and reporter tokens: 20 a minute for each client, and four times as many for the wide
//! IPv6 prefix around it. It only affects wrong tokens: a request with the right token is always served.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::windows::Windows;
use crate::clock::Clock;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::Metrics;

/// How many wrong tokens of one client in one window get a 401. Further ones get a 429.
const WRONG_MAX: u32 = 20;
/// The window. It begins with the first wrong token.
const WINDOW: Duration = Duration::from_secs(60);
/// Wrong tokens log at most one line in this time.
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// The token that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// `OPERATOR_TOKEN`.
    Operator,
    /// `REPORTER_TOKEN`.
    Reporter,
}

impl Role {
    /// The name in the log and in the metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Counts wrong tokens by client.
#[derive(Debug)]
pub struct WrongTokens {
    counts: Mutex<Windows>,
    log: Throttle,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl WrongTokens {
    /// No wrong token yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let counts = Mutex::new(Windows::new(WRONG_MAX, WINDOW));
        Self { counts, log: Throttle::new(LOG_WINDOW), clock, metrics }
    }

    /// Counts and logs one wrong token. If the client has sent too many: the time until its window ends.
    pub fn count(&self, role: Role, client: IpAddr) -> Option<Duration> {
        let now = self.clock.instant();
        self.metrics.wrong_token(role.name());
        if let Some(held_back) = self.log.pass(now) {
            tracing::warn!(%client, role = role.name(), held_back, "a request had a wrong {} token", role.name());
        }
        self.with(|counts| counts.count(client, now))
    }

    /// Forgets windows that have ended.
    pub fn sweep(&self) {
        let now = self.clock.instant();
        self.with(|counts| counts.sweep(now));
    }

    fn with<T>(&self, call: impl FnOnce(&mut Windows) -> T) -> T {
        call(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

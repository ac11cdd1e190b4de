//! The allowance for wrong operator and reporter tokens: 20 a minute for each client, and four times as many for the wide
//! IPv6 prefix around it. It only affects wrong tokens: a request with the right token is always served.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::clients::{Clients, Rows};
use super::table::Row;
use crate::clock::Clock;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::Metrics;

/// How many wrong tokens of one client in one window get a 401. Further ones get a 429.
const WRONG_MAX: u32 = 20;
/// The window. It begins with the first wrong token.
const WINDOW: Duration = Duration::from_secs(60);
/// Rows for clients, as in the rate limiter.
const CLIENTS_MAX: usize = 8_192;
/// IPv6 addresses with the same first 64 bits are one client.
const IPV6_PREFIX: u8 = 64;
/// Wrong tokens log at most one line in this time.
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// The token that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `OPERATOR_TOKEN`.
    Operator,
    /// `REPORTER_TOKEN`.
    Reporter,
}

impl Role {
    /// The name in the log and in the metric.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Reporter => "reporter",
        }
    }
}

/// Counts wrong tokens by client.
#[derive(Debug)]
pub struct WrongTokens {
    counts: Mutex<Counts>,
    log: Throttle,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// The counts of all clients. Pure.
#[derive(Debug)]
struct Counts {
    clients: Clients,
    /// For each row and its factor: when its window began, and the count.
    rows: HashMap<(Row, u32), (Instant, u32)>,
}

impl WrongTokens {
    /// No wrong token yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { counts: Mutex::new(Counts::new()), log: Throttle::new(LOG_WINDOW), clock, metrics }
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

    fn with<T>(&self, call: impl FnOnce(&mut Counts) -> T) -> T {
        call(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    fn new() -> Self {
        Self { clients: Clients::new(CLIENTS_MAX, WINDOW, IPV6_PREFIX), rows: HashMap::new() }
    }

    fn count(&mut self, client: IpAddr, now: Instant) -> Option<Duration> {
        let rows: Rows = self.clients.rows(client, now);
        // Once the client's own allowance is used up, its tokens do not count against its neighbours.
        rows.each().find_map(|(row, factor)| self.count_in(row, factor, now))
    }

    fn count_in(&mut self, row: Row, factor: u32, now: Instant) -> Option<Duration> {
        let (began, count) = self.rows.entry((row, factor)).or_insert((now, 0));
        if now.saturating_duration_since(*began) >= WINDOW {
            (*began, *count) = (now, 0);
        }
        if *count >= WRONG_MAX * factor {
            return Some(WINDOW.saturating_sub(now.saturating_duration_since(*began)));
        }
        *count += 1;
        None
    }

    fn sweep(&mut self, now: Instant) {
        self.clients.sweep(now);
        self.rows.retain(|_, (began, _)| now.saturating_duration_since(*began) < WINDOW);
        self.rows.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn start() -> Instant {
        Instant::now()
    }

    fn count(counts: &mut Counts, client: &str, now: Instant) -> Option<Duration> {
        counts.count(client.parse().unwrap(), now)
    }

    #[test]
    fn after_twenty_wrong_tokens_a_client_waits_until_the_minute_ends() {
        let (mut counts, now) = (Counts::new(), start());
        for n in 0..20 {
            assert_eq!(count(&mut counts, "203.0.113.1", now + Duration::from_secs(n)), None);
        }
        let late = now + Duration::from_secs(40);
        assert_eq!(count(&mut counts, "203.0.113.1", late), Some(Duration::from_secs(20)));
        assert_eq!(count(&mut counts, "203.0.113.2", late), None, "another client");
        assert_eq!(count(&mut counts, "203.0.113.1", now + WINDOW), None);
    }

    #[test]
    fn an_ipv6_48_has_four_times_the_allowance_of_a_client() {
        let (mut counts, now) = (Counts::new(), start());
        for n in 0..200 {
            let _ = count(&mut counts, "2001:db8:1:1::1", now + Duration::from_millis(n));
        }
        for n in 0..60 {
            assert_eq!(count(&mut counts, &format!("2001:db8:1:{:x}::1", 16 + n), now), None);
        }
        assert!(count(&mut counts, "2001:db8:1:ff::1", now).is_some());
        assert_eq!(count(&mut counts, "2001:db8:2:1::1", now), None);
    }

    #[test]
    fn windows_that_have_ended_are_forgotten() {
        let (mut counts, now) = (Counts::new(), start());
        let _ = count(&mut counts, "203.0.113.1", now);
        counts.sweep(now + WINDOW);
        assert!(counts.rows.is_empty() && counts.clients.is_empty());
    }
}

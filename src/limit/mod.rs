//! The rate limits of each client: `tower_governor`'s GCRA over tables of fixed size. Mints and renewals have separate
//! allowances. Each one is checked for the client and again for the wide IPv6 prefix around it. A user has its own allowance,
//! and then those of its address are [`USERS_FACTOR`] times as much. Every response has `RateLimit-*` headers. Body and headers
//! of a 429 contain the same wait, rounded up. The library uses its own clock. Our clock only decides when a row of the tables
//! is removed.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use crate::clock::Clock;
use crate::config::RateLimitConfig;
use crate::telemetry::metrics::Metrics;
use turn_ledger::{User, wait_seconds};

pub mod client;
pub mod clients;
pub mod polls;
pub mod proxies;
pub mod table;
pub mod users;
pub mod windows;
pub mod wrong_tokens;

#[cfg(test)]
mod table_tests;

use client::WIDE_FACTOR;
use clients::{Clients, Rows};
use table::Row;
use users::UserTable;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The allowance of an address for requests of users, as a multiple of the one for requests without a user.
pub const USERS_FACTOR: u32 = 10;

/// What is asked for. Each kind has its own allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A credential.
    Mint,
    /// A credential that renews an earlier one.
    Renewal,
    /// A credential for a session of the SFU. Its client asks again whenever it connects anew.
    Sfu,
}

/// The rate limiter.
pub struct RateLimit {
    mints: Limits,
    renewals: Limits,
    sfu: Limits,
    clients: Mutex<Clients>,
    users: Mutex<UserTable>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// The limits of one kind. A user has the allowance of a client, and then those of its address are wider.
struct Limits {
    client: Limit,
    wide: Limit,
    client_of_users: Limit,
    wide_of_users: Limit,
}

/// One limit, with the library's state: a burst of `requests`, which refill in `window`, one at a time.
struct Limit {
    requests: NonZeroU32,
    window: Duration,
    governor: GovernorConfig<RowOfRequest, StateInformationMiddleware>,
}

/// The type of the library's keys. Its layer would look for one in a request; here [`RateLimit::take`] knows the row.
#[derive(Clone, Debug)]
struct RowOfRequest;

impl KeyExtractor for RowOfRequest {
    type Key = Row;

    fn extract<T>(&self, request: &Request<T>) -> Result<Row, GovernorError> {
        request.extensions().get().copied().ok_or(GovernorError::UnableToExtractKey)
    }
}

/// What an allowance has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The size of a burst.
    pub limit: u32,
    /// Requests that would be accepted now.
    pub remaining: u32,
    /// Time until the allowance is full again; if the request is rejected, until the next one is accepted.
    pub reset: Duration,
}

impl Standing {
    /// Adds the headers of the IETF draft to a response.
    pub fn describe(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(wait_seconds(self.reset)));
    }
}

/// The window is so short that the time for one request is zero.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("RATE_LIMIT_WINDOW_SECONDS is too short for RATE_LIMIT_REQUESTS and RATE_LIMIT_RENEWALS")]
pub struct QuotaError;

impl RateLimit {
    /// Builds the limiter.
    pub fn new(
        config: &RateLimitConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, QuotaError> {
        let (window, rows_max) = (config.window, config.clients_max.get());
        Ok(Self {
            mints: Limits::new(config.requests, window)?,
            renewals: Limits::new(config.renewals, window)?,
            sfu: Limits::new(config.requests, window)?,
            users: Mutex::new(UserTable::new(rows_max.div_ceil(2), window)),
            clients: Mutex::new(Clients::new(rows_max, window, config.ipv6_prefix)),
            clock,
            metrics,
        })
    }

    /// Takes one out of each allowance that applies: that of the user, of the client and of the wide prefix around it. Returns what
    /// the first of them has left. `Err`: one of them is used up. Then nothing is taken out of those that follow it, so none can use
    /// up the allowance of its neighbours.
    pub fn take(&self, kind: Kind, address: IpAddr, user: Option<&User>) -> Result<Standing, Standing> {
        let rows = self.with_clients(|clients, now| clients.rows(address, now));
        let user = user.map(|user| self.users().row(user.as_str(), self.clock.instant()));
        if rows.is_shared() || user.is_some_and(Row::is_shared) {
            self.metrics.rate_limit_overflow.inc();
        }
        let limits = match kind {
            Kind::Mint => &self.mints,
            Kind::Renewal => &self.renewals,
            Kind::Sfu => &self.sfu,
        };
        limits.take(rows, user).inspect_err(|_| {
            self.metrics.rate_limited.inc();
        })
    }

    /// Removes clients whose buckets have refilled. The library does not do so by itself.
    pub fn sweep(&self) {
        self.with_clients(Clients::sweep);
        self.users().sweep(self.clock.instant());
        for limits in [&self.mints, &self.renewals, &self.sfu] {
            for limit in [&limits.client, &limits.wide, &limits.client_of_users, &limits.wide_of_users] {
                limit.governor.limiter().retain_recent();
                limit.governor.limiter().shrink_to_fit();
            }
        }
    }

    /// Number of clients with a row of their own.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.with_clients(|clients, _| clients.len())
    }

    fn users(&self) -> MutexGuard<'_, UserTable> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_clients<T>(&self, call: impl FnOnce(&mut Clients, std::time::Instant) -> T) -> T {
        let now = self.clock.instant();
        call(&mut self.clients.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

impl Limits {
    fn new(requests: NonZeroU32, window: Duration) -> Result<Self, QuotaError> {
        let limit = |factor: u32| {
            Limit::new(requests.saturating_mul(NonZeroU32::MIN.saturating_add(factor - 1)), window)
        };
        Ok(Self {
            client: limit(1)?,
            wide: limit(WIDE_FACTOR)?,
            client_of_users: limit(USERS_FACTOR)?,
            wide_of_users: limit(USERS_FACTOR * WIDE_FACTOR)?,
        })
    }

    fn take(&self, rows: Rows, user: Option<Row>) -> Result<Standing, Standing> {
        let standing = self.client.take(user.unwrap_or(rows.client))?;
        if user.is_some() {
            self.client_of_users.take(rows.client)?;
        }
        if let Some(wide) = rows.wide {
            let limit = if user.is_some() { &self.wide_of_users } else { &self.wide };
            limit.take(wide)?;
        }
        Ok(standing)
    }
}

impl Limit {
    fn new(requests: NonZeroU32, window: Duration) -> Result<Self, QuotaError> {
        let governor = GovernorConfigBuilder::default()
            .period(window / requests.get())
            .burst_size(requests.get())
            .key_extractor(RowOfRequest)
            .use_headers()
            .finish()
            .ok_or(QuotaError)?;
        Ok(Self { requests, window, governor })
    }

    fn take(&self, row: Row) -> Result<Standing, Standing> {
        let limit = self.requests.get();
        match self.governor.limiter().check_key(&row) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset = self.window / limit * limit.saturating_sub(remaining);
                Ok(Standing { limit, remaining, reset })
            }
            Err(over) => {
                // Whole seconds, and never less than the wait.
                let wait = over.wait_time_from(DefaultClock::default().now());
                Err(Standing { limit, remaining: 0, reset: Duration::from_secs(wait.as_secs() + 1) })
            }
        }
    }
}

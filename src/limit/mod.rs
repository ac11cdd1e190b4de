//! The rate limits of each client: `tower_governor`'s GCRA over tables of fixed size. Mints and renewals have separate
//! allowances. Each one is checked for the client and again for the wide IPv6 prefix around it. A user has its own allowance,
//! and then those of its address are [`USERS_FACTOR`] times as much. Every response has `RateLimit-*` headers. Body and headers
//! of a 429 contain the same wait, rounded up. The library uses its own clock. Our clock only decides when a row of the tables
//! is removed.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use governor::middleware::StateInformationMiddleware;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::{GovernorError, GovernorLayer};

use crate::clock::Clock;
use crate::config::RateLimitConfig;
use crate::request::client_addr::ClientAddr;
use crate::telemetry::metrics::Metrics;
use turn_ledger::{User, wait_seconds};

pub mod client;
pub mod clients;
pub mod gate;
pub mod polls;
pub mod proxies;
pub mod table;
pub mod users;
pub mod windows;
pub mod wrong_tokens;

#[cfg(test)]
mod table_tests;

use client::WIDE_FACTOR;
use clients::Clients;
use gate::{Charge, Gate, Kind, RowOf, Scope};
use table::Row;
use users::UserTable;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// The library's names for these headers.
const LIBRARY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LIBRARY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// The allowance of an address for requests of users, as a multiple of the one for requests without a user.
pub const USERS_FACTOR: u32 = 10;

/// The layers around a route that mints, the outermost first.
pub type RateLimitLayer = (GatesOfKind, GatesOfKind);
type GatesOfKind = (Gate, Gate, Gate, Gate, Gate);

/// The rate limiter. All its layers share the same tables.
pub struct RateLimit {
    /// For each kind: the limit of a client, then the limit of a wide prefix; the limit of a user, then the wider ones around it.
    /// A request over one does not count against the next, so none can use up the allowance of its neighbours.
    limits: [[Limit; 5]; 3],
    clients: Mutex<Clients>,
    users: Mutex<UserTable>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// One limit, with the library's state.
struct Limit {
    row: RowOf,
    quota: Quota,
    governor: Arc<GovernorConfig<RowOf, StateInformationMiddleware>>,
}

/// A burst of `requests`, which refill in `window`, one at a time.
#[derive(Clone, Copy, Debug)]
struct Quota {
    requests: NonZeroU32,
    window: Duration,
}

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The client is over its rate.
    OverRate {
        /// Time until the next request is accepted.
        retry_in: Duration,
    },
    /// The request has no [`ClientAddr`]: a layer outside this one is missing.
    NoClient,
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
        let window = config.window;
        let limit = |kind, scope| {
            let requests = match kind {
                Kind::Mint | Kind::Sfu => config.requests,
                Kind::Renewal => config.renewals,
            };
            let factor = match scope {
                Scope::Client | Scope::User => 1,
                Scope::Wide => WIDE_FACTOR,
                Scope::ClientOfUsers => USERS_FACTOR,
                Scope::WideOfUsers => USERS_FACTOR * WIDE_FACTOR,
            };
            let requests = requests.saturating_mul(NonZeroU32::MIN.saturating_add(factor - 1));
            Limit::new(RowOf { kind, scope }, Quota { requests, window })
        };
        let of_kind = |kind| {
            Ok([
                limit(kind, Scope::Client)?,
                limit(kind, Scope::Wide)?,
                limit(kind, Scope::User)?,
                limit(kind, Scope::ClientOfUsers)?,
                limit(kind, Scope::WideOfUsers)?,
            ])
        };
        Ok(Self {
            limits: [of_kind(Kind::Mint)?, of_kind(Kind::Renewal)?, of_kind(Kind::Sfu)?],
            users: Mutex::new(UserTable::new(config.clients_max.get().div_ceil(2), window)),
            clients: Mutex::new(Clients::new(config.clients_max.get(), window, config.ipv6_prefix)),
            clock,
            metrics,
        })
    }

    /// Records in the request what it counts against. Called once for each request, before the layer.
    pub fn charge<T>(&self, request: &mut Request<T>, kind: Kind, user: Option<&User>) {
        let Some(ClientAddr(address)) = request.extensions().get().copied() else { return };
        let charge = self.charge_of(address, kind, user);
        request.extensions_mut().insert(charge);
    }

    fn charge_of(&self, address: IpAddr, kind: Kind, user: Option<&User>) -> Charge {
        let rows = self.with_clients(|clients, now| clients.rows(address, now));
        let user = user.map(|user| self.users().row(user.as_str(), self.clock.instant()));
        if rows.is_shared() || user.is_some_and(Row::is_shared) {
            self.metrics.rate_limit_overflow.inc();
        }
        Charge { kind, rows, user }
    }

    /// Takes one mint out of the allowances of an address, for a mint that no request of its own asks for. `false` if one of them is
    /// used up. A user has allowances of its own, as in the layer.
    #[must_use]
    pub fn take_mint(&self, address: IpAddr, user: Option<&User>) -> bool {
        self.take(Kind::Mint, address, user)
    }

    /// The same for a session of the SFU, which has an allowance of its own: a page that cannot connect asks again and again.
    #[must_use]
    pub fn take_sfu_mint(&self, address: IpAddr, user: Option<&User>) -> bool {
        self.take(Kind::Sfu, address, user)
    }

    fn take(&self, kind: Kind, address: IpAddr, user: Option<&User>) -> bool {
        let charge = self.charge_of(address, kind, user);
        let rows =
            self.limits.as_flattened().iter().filter_map(|limit| Some((limit, limit.row.row(&charge)?)));
        let fits = rows.map(|(limit, row)| limit.governor.limiter().check_key(&row).is_ok());
        let is_within = fits.into_iter().all(|fits| fits);
        if !is_within {
            self.metrics.rate_limited.inc();
        }
        is_within
    }

    /// The layer. `respond` makes the response to a rejected request.
    #[must_use]
    pub fn layer(&self, respond: fn(Rejected) -> Response<Body>) -> RateLimitLayer {
        let gate = |limit: &Limit| {
            let (quota, metrics) = (limit.quota, Arc::clone(&self.metrics));
            let layer = GovernorLayer::new(Arc::clone(&limit.governor))
                .error_handler(move |error| reject(&error, quota, &metrics, respond));
            Gate { row: limit.row, layer }
        };
        let [mint, renewal, _] = self.limits.each_ref().map(|limits| {
            let [client, wide, user, client_of_users, wide_of_users] = limits.each_ref().map(gate);
            (client, wide, user, client_of_users, wide_of_users)
        });
        (mint, renewal)
    }

    /// Renames the library's headers to those of the IETF draft, on responses that passed the limiter.
    pub fn standard_headers(
        &self,
    ) -> impl Fn(Response<Body>) -> std::future::Ready<Response<Body>> + Clone + use<> {
        let [[Limit { quota: Quota { window, .. }, .. }, ..], ..] = self.limits;
        move |mut response| {
            translate(response.headers_mut(), window);
            std::future::ready(response)
        }
    }

    /// Removes clients whose buckets have refilled. The library does not do so by itself.
    pub fn sweep(&self) {
        self.with_clients(Clients::sweep);
        self.users().sweep(self.clock.instant());
        for limit in self.limits.as_flattened() {
            let limiter = limit.governor.limiter();
            limiter.retain_recent();
            limiter.shrink_to_fit();
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

impl Limit {
    fn new(row: RowOf, quota: Quota) -> Result<Self, QuotaError> {
        let governor = GovernorConfigBuilder::default()
            .period(quota.window / quota.requests.get())
            .burst_size(quota.requests.get())
            .key_extractor(row)
            .use_headers()
            .finish()
            .ok_or(QuotaError)?;
        Ok(Self { row, quota, governor: Arc::new(governor) })
    }
}

/// The headers of a rejected request are already the standard ones. The outermost of several limits writes last, so the
/// headers describe the client's allowance.
fn translate(headers: &mut HeaderMap, window: Duration) {
    let number =
        |value: Option<HeaderValue>| value.and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let limit = number(headers.remove(LIBRARY_LIMIT));
    let remaining = number(headers.remove(LIBRARY_REMAINING)).unwrap_or(0);
    let Some(limit) = limit.filter(|limit| *limit > 0 && !headers.contains_key(LIMIT)) else { return };
    headers.insert(LIMIT, HeaderValue::from(limit));
    headers.insert(REMAINING, HeaderValue::from(remaining));
    let spent = limit.saturating_sub(remaining);
    headers.insert(RESET, HeaderValue::from(wait_seconds(window / limit * spent)));
}

/// The response to a request over the rate. The library rounds the wait down to whole seconds, so one second is added.
fn reject(
    error: &GovernorError,
    quota: Quota,
    metrics: &Metrics,
    respond: fn(Rejected) -> Response<Body>,
) -> Response<Body> {
    let GovernorError::TooManyRequests { wait_time, .. } = error else {
        return respond(Rejected::NoClient);
    };
    metrics.rate_limited.inc();
    let retry_in = Duration::from_secs(wait_time + 1);
    let mut response = respond(Rejected::OverRate { retry_in });
    let headers = response.headers_mut();
    headers.insert(LIMIT, HeaderValue::from(quota.requests.get()));
    headers.insert(REMAINING, HeaderValue::from(0));
    headers.insert(RESET, HeaderValue::from(wait_seconds(retry_in)));
    response
}

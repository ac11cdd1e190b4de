//! The rate limit of each client: `tower_governor`'s GCRA over a table of fixed size. Every response has `RateLimit-*`
//! headers; body and headers of a 429 contain the same wait, rounded up. The library uses its own clock; ours only ages the
//! table.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use governor::middleware::StateInformationMiddleware;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use crate::account::RenewalRight;
use crate::clock::Clock;
use crate::config::RateLimitConfig;
use crate::request::client_addr::ClientAddr;
use crate::telemetry::metrics::Metrics;
use turn_ledger::units::wait_seconds;

pub mod table;

use table::{ClientTable, Row};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// The library's names for these headers.
const LIBRARY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LIBRARY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

type Governor = GovernorConfig<RowExtractor, StateInformationMiddleware>;

/// The layer around a route that mints.
pub type RateLimitLayer = GovernorLayer<RowExtractor, StateInformationMiddleware, Body>;

/// The rate limiter. All its layers share one table.
pub struct RateLimit {
    governor: Arc<Governor>,
    extractor: RowExtractor,
    quota: Quota,
    metrics: Arc<Metrics>,
}

/// A burst of `requests`, then one request per `interval`.
#[derive(Clone, Copy, Debug)]
struct Quota {
    requests: NonZeroU32,
    interval: Duration,
}

/// Finds the row of a request's client.
#[derive(Clone)]
pub struct RowExtractor {
    table: Arc<Mutex<ClientTable>>,
    ipv6_prefix: u8,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
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

/// The window is so short that the interval is zero.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("RATE_LIMIT_WINDOW_SECONDS is too short for RATE_LIMIT_REQUESTS")]
pub struct QuotaError;

impl RateLimit {
    /// Builds the limiter.
    pub fn new(
        config: &RateLimitConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, QuotaError> {
        let quota = Quota { requests: config.requests, interval: config.window / config.requests.get() };
        let extractor = RowExtractor {
            table: Arc::new(Mutex::new(ClientTable::new(config.clients_max, config.window))),
            ipv6_prefix: config.ipv6_prefix,
            clock,
            metrics: Arc::clone(&metrics),
        };
        let governor = GovernorConfigBuilder::default()
            .period(quota.interval)
            .burst_size(quota.requests.get())
            .key_extractor(extractor.clone())
            .use_headers()
            .finish()
            .ok_or(QuotaError)?;
        Ok(Self { governor: Arc::new(governor), extractor, quota, metrics })
    }

    /// The layer. All layers of one limiter share its table. `respond` makes the response to a rejected request.
    #[must_use]
    pub fn layer(&self, respond: fn(Rejected) -> Response<Body>) -> RateLimitLayer {
        let quota = self.quota;
        let metrics = Arc::clone(&self.metrics);
        GovernorLayer::new(Arc::clone(&self.governor))
            .error_handler(move |error| reject(&error, quota, &metrics, respond))
    }

    /// Renames the library's headers to those of the IETF draft, on responses that passed the limiter.
    pub fn standard_headers(
        &self,
    ) -> impl Fn(Response<Body>) -> std::future::Ready<Response<Body>> + Clone + use<> {
        let quota = self.quota;
        move |mut response| {
            quota.translate(response.headers_mut());
            std::future::ready(response)
        }
    }

    /// Removes clients whose buckets have refilled. The library does not do so by itself.
    pub fn sweep(&self) {
        self.extractor.with_table(ClientTable::sweep);
        let limiter = self.governor.limiter();
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }

    /// Number of clients with a row of their own.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.extractor.with_table(|table, _| table.len())
    }
}

impl RowExtractor {
    fn with_table<T>(&self, call: impl FnOnce(&mut ClientTable, std::time::Instant) -> T) -> T {
        let now = self.clock.instant();
        call(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    fn row(&self, client: IpAddr) -> Row {
        let row = self.with_table(|table, now| table.row(client, now));
        if let Row::Shared(_) = row {
            self.metrics.rate_limit_overflow.inc();
        }
        row
    }
}

impl KeyExtractor for RowExtractor {
    type Key = Row;

    fn extract<T>(&self, request: &Request<T>) -> Result<Row, GovernorError> {
        if let Some(right) = request.extensions().get::<Arc<RenewalRight>>() {
            return Ok(Row::Renewal(right.serial()));
        }
        let client = request.extensions().get::<ClientAddr>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok(self.row(client.key(self.ipv6_prefix)))
    }
}

impl Quota {
    fn translate(self, headers: &mut HeaderMap) {
        let Some(limit) = headers.remove(LIBRARY_LIMIT) else { return };
        let remaining = headers.remove(LIBRARY_REMAINING);
        let remaining: u32 = remaining.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        let spent = self.requests.get().saturating_sub(remaining);
        headers.insert(LIMIT, limit);
        headers.insert(REMAINING, HeaderValue::from(remaining));
        headers.insert(RESET, HeaderValue::from(wait_seconds(self.interval * spent)));
    }
}

/// The response over the rate. The library rounds the wait down to whole seconds; one second more is enough.
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

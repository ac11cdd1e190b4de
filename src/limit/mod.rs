//! The rate limits of each client: `tower_governor`'s GCRA over tables of fixed size. Mints and renewals have separate
//! allowances. Each allowance is checked for the client and again for the wide IPv6 prefix around it. Clients of that prefix who have used no
//! more than half of their own allowance share [`LIGHT_MAX`] halves there, because a carrier gives each phone a prefix of a common pool.
//!
//! A user has the allowance of a client, on all addresses together. The users of one address who have used more than half of their own
//! allowance share [`USERS_FACTOR`] allowances. The other users of the address share [`LIGHT_MAX`] halves of an allowance, because many
//! people can be behind one address of a carrier.
//!
//! One user that a server key names has at most one part in [`NAMED_PART`] of the key's allowance, so one guest of a program does not use it up.
//!
//! Every response has `RateLimit-*` headers. Body and headers of a 429 contain the same wait, rounded up. The library uses its own
//! clock, and its maps grow with their keys. So our own tables, which are bounded, number their rows, and these numbers are the
//! library's keys. Our clock only decides when a row is removed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use parking_lot::Mutex;
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use crate::config::Config;
use crate::telemetry::metrics::Metrics;
use turn_base::Clock;
use turn_ledger::{USERS_FACTOR, User, wait_seconds};
use turn_limits::{GROUP_FACTOR, PerAddress, PerUser, Prefix, Row, Visit};

pub mod proxies;
pub mod wrong_tokens;

pub(crate) const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
pub(crate) const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(crate) const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
pub(crate) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// How many users of one address, or clients of one /48, can use half of their allowance, whatever heavier ones there do.
const LIGHT_MAX: u32 = 1_000;
/// See the module's description.
const NAMED_PART: u32 = 16;

/// The allowances of a client: what a request asks for decides which allowance it takes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// A credential.
    Mint,
    /// A credential that renews an earlier one.
    Renewal,
}

/// The rate limiter.
pub struct RateLimit {
    mints: Limits,
    renewals: Limits,
    /// The limit of each server key. The library's key is the place of the server key in the setting.
    server_keys: Limit,
    /// The limit of each user that a server key names.
    named_users: Limit,
    tables: Mutex<Tables>,
    ipv6_prefix: u8,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// The limits of one [`Allowance`]. A user has the limit of an anonymous client.
struct Limits {
    anonymous: AddressLimits,
    /// Of all users at an address who have used more than half of their allowance.
    heavy_users: AddressLimits,
    /// Of all other users at an address.
    light_users: AddressLimits,
}

/// The limits of a client and of the /48 around it.
struct AddressLimits {
    client: Limit,
    group: Limit,
    /// Of all clients of a /48 that have used no more than half of their own allowance.
    light_group: Limit,
}

/// One limit, with the library's state: a burst of `requests`, which refill in `window`, one at a time.
struct Limit {
    requests: u32,
    window: Duration,
    governor: GovernorConfig<KeyOfRequest, StateInformationMiddleware>,
}

/// The clients and users that have a row.
struct Tables {
    clients: PerAddress<Keyed>,
    users: PerUser<Keyed>,
    named_users: PerUser<Keyed>,
    /// The last key that was given to a row of either table.
    last: Key,
}

/// The key of one row in the library's maps. No two rows ever have the same key.
type Key = u64;

/// A row: its key, and the instant from which on all its buckets are full.
#[derive(Debug, Default)]
struct Keyed {
    key: Option<Key>,
    full_at: Duration,
}

impl Row for Keyed {
    fn is_idle(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

/// Tells the library the type of its keys. The library's layer would extract a key from each request. [`RateLimit::take`] knows the row, so
/// that layer is not used.
#[derive(Clone, Debug)]
struct KeyOfRequest;

impl KeyExtractor for KeyOfRequest {
    type Key = Key;

    fn extract<T>(&self, request: &Request<T>) -> Result<Key, GovernorError> {
        request.extensions().get().copied().ok_or(GovernorError::UnableToExtractKey)
    }
}

/// What an allowance has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLeft {
    /// The size of a burst.
    pub limit: u32,
    /// Requests that would be accepted now.
    pub remaining: u32,
    /// Time until the allowance is full again; if the request is rejected, until the next one is accepted.
    pub reset: Duration,
}

impl RateLeft {
    /// Whether no more than half of the allowance is used.
    const fn is_light(self) -> bool {
        self.remaining >= self.limit / 2
    }

    /// Adds the headers of the IETF draft to a response: those of its versions up to 7, and those since version 8.
    pub fn describe(self, headers: &mut HeaderMap) {
        let (limit, left, reset) = (self.limit, self.remaining, wait_seconds(self.reset));
        let text = format!("{limit} {left} {reset} \"mints\";q={limit} \"mints\";r={left};t={reset}");
        // The values share one allocation.
        let text = Bytes::from(text);
        let values = text.split(|byte| *byte == b' ').map(|value| text.slice_ref(value));
        let values = values.filter_map(|value| HeaderValue::from_maybe_shared(value).ok());
        headers.extend([LIMIT, REMAINING, RESET, POLICY, STATE].into_iter().zip(values));
    }
}

impl RateLimit {
    /// Builds the limiter.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let rate = &config.access.rate;
        let (window, rows_max) = (rate.window, rate.clients_max.get());
        Self {
            mints: Limits::new(rate.requests.get(), window),
            renewals: Limits::new(rate.renewals.get(), window),
            server_keys: Limit::new(config.server_keys.requests.get(), window),
            named_users: Limit::new(config.server_keys.requests.get().div_ceil(NAMED_PART), window),
            tables: Mutex::new(Tables {
                clients: PerAddress::new(rows_max),
                users: PerUser::new(rows_max.div_ceil(2)),
                named_users: PerUser::new(rows_max.div_ceil(2)),
                last: 0,
            }),
            ipv6_prefix: rate.ipv6_prefix,
            clock,
            metrics,
        }
    }

    /// Takes one out of each allowance that applies, in this order: of the user, of the client, of the /48 around the client. Returns what
    /// the first of them has left. `Err`: the wait for the first one that is used up. Then nothing is taken out of the following ones, so
    /// nobody can use up the allowance of neighbours. What was taken out of the ones before stays taken.
    pub fn take(&self, kind: Allowance, address: IpAddr, user: Option<&User>) -> Result<RateLeft, RateLeft> {
        let now = self.clock.since_boot();
        let limits = match kind {
            Allowance::Mint => &self.mints,
            Allowance::Renewal => &self.renewals,
        };
        let mut tables = self.tables.lock();
        let Tables { clients, users, last, .. } = &mut *tables;
        let mut is_shared = false;
        let mut take = |limit: &Limit, visit: Visit<'_, Keyed>| {
            is_shared |= visit.is_shared;
            limit.take_in(visit.row, now, last)
        };
        // A user has the limit of an anonymous client. How much of it is left decides which allowances of the address the user shares.
        let of_user =
            user.map(|user| take(&limits.anonymous.client, users.visit(0, user.as_str(), now))).transpose();
        let taken = of_user.and_then(|left_of_user| {
            let of_address = limits.of_address(left_of_user);
            // The row of the client has the factor 1, that of the /48 a larger one.
            let mut is_light = false;
            let left_of_client = clients.try_each(Prefix::of(address, self.ipv6_prefix), now, |visit| {
                if visit.factor == 1 {
                    return take(&of_address.client, visit).inspect(|left| is_light = left.is_light());
                }
                take(if is_light { &of_address.light_group } else { &of_address.group }, visit)
            })?;
            Ok(left_of_user.unwrap_or(left_of_client))
        });
        drop(tables);
        if is_shared {
            self.metrics.rate_limit_overflow.inc();
        }
        taken.inspect_err(|_| {
            self.metrics.rate_limited.inc();
        })
    }

    /// Takes one out of the allowance of the user that a server key names, then of the key at this place in the setting. The address does not
    /// matter.
    pub fn take_of_server(&self, place: usize, user: Option<&User>) -> Result<RateLeft, RateLeft> {
        let place = u64::try_from(place).unwrap_or(u64::MAX);
        let of_user = user.map_or(Ok(None), |user| {
            let now = self.clock.since_boot();
            let Tables { named_users, last, .. } = &mut *self.tables.lock();
            let visit = named_users.visit(place.saturating_add(1), user.as_str(), now);
            self.metrics.rate_limit_overflow.inc_by(visit.is_shared.into());
            self.named_users.take_in(visit.row, now, last).map(Some)
        });
        let taken = of_user.and_then(|_| self.server_keys.take(place));
        taken.inspect_err(|_| {
            self.metrics.rate_limited.inc();
        })
    }

    /// Removes clients and users whose buckets have refilled. The library does not do so by itself. Server keys stay: `SERVER_KEYS` bounds
    /// their number.
    pub fn sweep(&self) {
        let now = self.clock.since_boot();
        let mut tables = self.tables.lock();
        tables.clients.sweep(now);
        tables.users.sweep(now);
        tables.named_users.sweep(now);
        drop(tables);
        self.named_users.forget_full();
        for limits in [&self.mints, &self.renewals] {
            for of_address in [&limits.anonymous, &limits.heavy_users, &limits.light_users] {
                of_address.client.forget_full();
                of_address.group.forget_full();
                of_address.light_group.forget_full();
            }
        }
    }

    /// How many clients have a row of their own, and the most: of IPv4 or of IPv6, whichever has more.
    pub fn clients(&self) -> (usize, usize) {
        self.tables.lock().clients.rows()
    }
}

impl Limits {
    fn new(requests: u32, window: Duration) -> Self {
        let limits_of = |requests: u32| AddressLimits {
            client: Limit::new(requests, window),
            group: Limit::new(requests.saturating_mul(GROUP_FACTOR), window),
            light_group: Limit::new(requests.div_ceil(2).saturating_mul(LIGHT_MAX), window),
        };
        Self {
            anonymous: limits_of(requests),
            heavy_users: limits_of(requests.saturating_mul(USERS_FACTOR)),
            light_users: limits_of(requests.div_ceil(2).saturating_mul(LIGHT_MAX)),
        }
    }

    /// The limits that apply at an address. `of_user`: what the user who asks has left; `None` for an anonymous client.
    fn of_address(&self, of_user: Option<RateLeft>) -> &AddressLimits {
        match of_user {
            None => &self.anonymous,
            Some(left) if left.is_light() => &self.light_users,
            Some(_) => &self.heavy_users,
        }
    }
}

impl Limit {
    fn new(requests: u32, window: Duration) -> Self {
        let governor = GovernorConfigBuilder::default()
            .period((window / requests).max(Duration::from_nanos(1)))
            .burst_size(requests)
            .key_extractor(KeyOfRequest)
            .use_headers()
            .finish()
            .expect("no period is zero, and no limit");
        Self { requests, window, governor }
    }

    /// Takes one out of the bucket of a row. `last`: the last key that was given to a row.
    fn take_in(&self, row: &mut Keyed, now: Duration, last: &mut Key) -> Result<RateLeft, RateLeft> {
        row.full_at = now.saturating_add(self.window);
        self.take(*row.key.get_or_insert_with(|| {
            *last += 1;
            *last
        }))
    }

    /// Removes the buckets that are full again.
    fn forget_full(&self) {
        self.governor.limiter().retain_recent();
        self.governor.limiter().shrink_to_fit();
    }

    /// Takes one out of the bucket of this key. Returns what the bucket has left. `Err`: the wait.
    fn take(&self, key: Key) -> Result<RateLeft, RateLeft> {
        let limit = self.requests;
        match self.governor.limiter().check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset = self.window / limit * limit.saturating_sub(remaining);
                Ok(RateLeft { limit, remaining, reset })
            }
            Err(over) => {
                // Whole seconds, and never less than the wait.
                let wait = over.wait_time_from(DefaultClock::default().now());
                Err(RateLeft { limit, remaining: 0, reset: Duration::from_secs(wait.as_secs() + 1) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_requests_in_the_shortest_window_are_limits() {
        let limits = Limits::new(10_000, Duration::from_secs(1));
        assert!(limits.light_users.light_group.take(1).is_ok());
    }
}

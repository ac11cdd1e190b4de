//! The provider: Cloudflare's API behind a circuit breaker, with a pool of credentials minted ahead. Every call is counted,
//! every failure is logged, and no caller waits for another caller's request.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::pool::{Moment, Pool, PoolCounts, Spare};
use crate::account::Account;
use crate::clock::Clock;
use crate::ice::breaker::{BreakerState, SharedBreaker};
use crate::ice::cloudflare::{Cloudflare, MintResponse, ProviderError};
use crate::ice::server::IceServerList;
use crate::random;
use crate::request::trace::TraceParent;
use crate::telemetry::cause::innermost;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::Metrics;
use turn_ledger::token::GrantId;

/// Failures of the provider log at most one line in this time.
const FAILURE_LOG_WINDOW: Duration = Duration::from_secs(10);
/// Concurrent calls that fill the pool. Cloudflare asks its users to start with at most 500 mints a second.
const FILL_AT_ONCE: u64 = 16;

/// The lifetime of the credential that the probe mints. Nobody gets it, so it can relay nothing and costs nothing.
const PROBE_LIFE: Duration = Duration::from_secs(60);
/// What the provider stores with it.
const PROBE_IDENTIFIER: &str = "turn-broker-probe";

/// The provider with its breaker and its pool.
#[derive(Debug)]
pub struct Provider {
    api: Cloudflare,
    breaker: SharedBreaker,
    /// Whether any call has minted since the start.
    has_minted: AtomicBool,
    /// Whether the last probe failed.
    probe_failed: AtomicBool,
    /// The lifetime of all credentials in the pool.
    life: Duration,
    // A std mutex: it is never held across an await.
    pool: Mutex<Pool>,
    /// Receives the time of Cloudflare's responses.
    account: Arc<Account>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    failure_log: Throttle,
}

/// The provider failed, or its breaker is open. The failure has been counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// The results of some calls for the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Credentials added to the pool.
    pub minted: u64,
    /// Calls that failed.
    pub failed: u64,
}

impl Provider {
    /// A provider with an empty pool of at most `pool_max` credentials, all of the same lifetime.
    #[must_use]
    pub fn new(
        api: Cloudflare,
        life: Duration,
        pool_max: u64,
        account: Arc<Account>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            api,
            breaker: SharedBreaker::new(Arc::clone(&clock)),
            has_minted: AtomicBool::new(false),
            probe_failed: AtomicBool::new(false),
            life,
            pool: Mutex::new(Pool::new(life, pool_max, clock.instant())),
            account,
            clock,
            metrics,
            failure_log: Throttle::new(FAILURE_LOG_WINDOW),
        }
    }

    /// A credential from the pool and the rest of its lifetime. `None` for any other lifetime than that of the pool.
    pub fn take_spare(&self, life: Duration) -> Option<(Spare, Duration)> {
        if life == self.life { self.with_pool(Pool::take) } else { None }
    }

    /// Mints a credential of that lifetime. The provider stores `identifier` with it. The call belongs to the caller's `trace`.
    pub async fn mint(
        &self,
        life: Duration,
        identifier: &impl Display,
        trace: Option<TraceParent>,
    ) -> Result<IceServerList, Unavailable> {
        let Some(call) = self.breaker.admit() else {
            self.metrics.provider_skipped("breaker_open");
            return Err(Unavailable);
        };
        let minted = self.ask(life, identifier, trace).await;
        call.finish(minted.is_ok());
        if minted.is_ok() {
            self.pool().minted();
        }
        minted
    }

    /// Revokes the credential with this user name. `false` if the provider does not know it.
    pub async fn revoke(&self, username: &str) -> Result<bool, ProviderError> {
        self.api.revoke(username).await
    }

    /// Mints some credentials for expected callers. Refill failures do not count against the breaker.
    pub async fn fill(self: &Arc<Self>) -> Filled {
        let mut filled = Filled::default();
        // Only a caller's request tests whether a failed provider works again.
        if self.breaker.state() != BreakerState::Closed {
            return filled;
        }
        let started = self.with_pool(|pool, now| pool.start(FILL_AT_ONCE, now));
        let mut calls = JoinSet::new();
        for _ in 0..started {
            let call = PoolCall { provider: Arc::clone(self), spare: None };
            calls.spawn(call.mint());
        }
        while let Some(ended) = calls.join_next().await {
            match ended {
                Ok(Ok(())) => filled.minted += 1,
                Ok(Err(Unavailable)) | Err(_) => filled.failed += 1,
            }
        }
        filled
    }

    /// Tests key and token with one call, unless a caller's mint has already shown that they work. Returns whether they do.
    /// The call is no caller's, so it counts neither in the metrics nor for the breaker.
    pub async fn probe(&self) -> bool {
        if self.has_minted() {
            return true;
        }
        match self.api.mint(PROBE_LIFE, PROBE_IDENTIFIER, None).await {
            Ok(_) => {
                self.has_minted.store(true, Ordering::Relaxed);
                tracing::info!("Cloudflare mints: the TURN key and its token work");
            }
            Err(error) => {
                self.probe_failed.store(true, Ordering::Relaxed);
                self.log_failure(&error);
            }
        }
        self.has_minted()
    }

    /// Whether callers can expect credentials: the breaker is closed, and the probe has not failed, or a call has minted since.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let is_refuted = self.probe_failed.load(Ordering::Relaxed) && !self.has_minted();
        !is_refuted && self.breaker.state() == BreakerState::Closed
    }

    fn has_minted(&self) -> bool {
        self.has_minted.load(Ordering::Relaxed)
    }

    /// The state of the breaker.
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Counts of the pool.
    #[must_use]
    pub fn pool_counts(&self) -> PoolCounts {
        self.with_pool(|pool, now| {
            // Nothing else removes old credentials while the pool is not filled.
            pool.discard_old(now);
            pool.counts()
        })
    }

    /// One call. It is counted, and a failure is logged.
    async fn ask(
        &self,
        life: Duration,
        identifier: &impl Display,
        trace: Option<TraceParent>,
    ) -> Result<IceServerList, Unavailable> {
        let started = self.clock.instant();
        let result = self.api.mint(life, &identifier.to_string(), trace).await;
        if let Ok(MintResponse { date: Some(date), .. }) = result {
            self.account.hear_date(date);
        }
        let took = self.clock.instant().saturating_duration_since(started);
        let outcome = result.as_ref().map_or_else(ProviderError::outcome, |_| "minted");
        self.metrics.provider_call(outcome, took);
        self.has_minted.fetch_or(result.is_ok(), Ordering::Relaxed);
        result.map(|response| response.servers).map_err(|error| {
            if error.says_unknown_key() {
                self.pool().discard_all();
            }
            self.log_failure(&error);
            Unavailable
        })
    }

    fn log_failure(&self, error: &ProviderError) {
        if let Some(held_back) = self.failure_log.pass(self.clock.instant()) {
            let cause = innermost(error);
            tracing::warn!(outcome = error.outcome(), cause, held_back, "Cloudflare did not mint: {error}");
        }
    }

    fn now(&self) -> Moment {
        Moment { wall: self.clock.now(), instant: self.clock.instant() }
    }

    fn with_pool<T>(&self, call: impl FnOnce(&mut Pool, Moment) -> T) -> T {
        let now = self.now();
        call(&mut self.pool(), now)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call for the pool. Dropping it reports the result to the pool; without a credential it counts as lost.
struct PoolCall {
    provider: Arc<Provider>,
    spare: Option<Spare>,
}

impl PoolCall {
    async fn mint(mut self) -> Result<(), Unavailable> {
        let asked = self.provider.now();
        let grant = random::bytes().map(GrantId::new).map_err(|_| Unavailable)?;
        let servers = self.provider.ask(self.provider.life, &grant, None).await?;
        self.spare = Some(Spare { servers, grant, asked });
        Ok(())
    }
}

impl Drop for PoolCall {
    fn drop(&mut self) {
        let spare = self.spare.take();
        self.provider.pool().finished(spare);
    }
}

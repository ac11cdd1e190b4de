//! Cloudflare as the mint sees it: the API, a breaker that keeps us from asking in vain, and a pool that is filled while
//! nobody waits. Every call is counted, a failure is logged, and no caller waits for the call of another.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::pool::{Moment, Pool, PoolCounts, Spare};
use crate::clock::Clock;
use crate::ice::breaker::{BreakerState, SharedBreaker};
use crate::ice::cloudflare::{Cloudflare, ProviderError};
use crate::ice::server::IceServerList;
use crate::random;
use crate::telemetry::cause::innermost;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::Metrics;
use turn_ledger::token::GrantId;

/// A provider that fails is written about once in this time.
const FAILURE_LOG_WINDOW: Duration = Duration::from_secs(10);
/// Calls at once that fill the pool. Cloudflare asks its users to start with at most 500 mints a second.
const FILL_AT_ONCE: u64 = 16;

/// See the module's invariant.
#[derive(Debug)]
pub struct Provider {
    api: Cloudflare,
    breaker: SharedBreaker,
    /// The life of what lies in the pool.
    life: Duration,
    // A std mutex: it guards arithmetic, not waiting.
    pool: Mutex<Pool>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    failure_log: Throttle,
}

/// The provider gave nothing, or is not asked for now. It is counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// What came of some calls for the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Credentials that lie ready now.
    pub came: u64,
    /// Calls that failed.
    pub failed: u64,
}

impl Provider {
    /// With an empty pool of at most `pool_max` credentials of that life.
    #[must_use]
    pub fn new(
        api: Cloudflare,
        life: Duration,
        pool_max: u64,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            api,
            breaker: SharedBreaker::new(Arc::clone(&clock)),
            life,
            pool: Mutex::new(Pool::new(life, pool_max, clock.instant())),
            clock,
            metrics,
            failure_log: Throttle::new(FAILURE_LOG_WINDOW),
        }
    }

    /// One that lies ready, and what is left of its life, for a caller who may have a credential of that life. The pool
    /// holds one life only: for any other there is none.
    pub fn take_spare(&self, life: Duration) -> Option<(Spare, Duration)> {
        if life == self.life { self.with_pool(Pool::take) } else { None }
    }

    /// Asks for a credential of that life; `identifier` is kept by the provider beside it.
    pub async fn mint(
        &self,
        life: Duration,
        identifier: &impl Display,
    ) -> Result<IceServerList, Unavailable> {
        let Some(call) = self.breaker.admit() else {
            self.metrics.provider_skipped("breaker_open");
            return Err(Unavailable);
        };
        let minted = self.ask(life, identifier).await;
        call.finish(minted.is_ok());
        if minted.is_ok() {
            self.pool().minted();
        }
        minted
    }

    /// Asks it to revoke the credential of that user name. `false`: it does not know it.
    pub async fn revoke(&self, username: &str) -> Result<bool, ProviderError> {
        self.api.revoke(username).await
    }

    /// Mints some of what callers are expected to want. What fails here fails no caller: the breaker does not hear of it.
    pub async fn fill(self: &Arc<Self>) -> Filled {
        let mut filled = Filled::default();
        // Whether a provider that failed is back is for a caller to try, who has somewhere else to go.
        if self.breaker.state() != BreakerState::Closed {
            return filled;
        }
        let ordered = self.with_pool(|pool, now| pool.order(FILL_AT_ONCE, now));
        let mut calls = JoinSet::new();
        for _ in 0..ordered {
            let ordered = Ordered { provider: Arc::clone(self), spare: None };
            calls.spawn(ordered.mint());
        }
        while let Some(ended) = calls.join_next().await {
            match ended {
                Ok(Ok(())) => filled.came += 1,
                Ok(Err(Unavailable)) | Err(_) => filled.failed += 1,
            }
        }
        filled
    }

    /// The state of the breaker.
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// How the pool fares.
    #[must_use]
    pub fn pool_counts(&self) -> PoolCounts {
        self.with_pool(|pool, now| {
            // While nothing is minted ahead nobody else looks for them.
            pool.throw_old_away(now);
            pool.counts()
        })
    }

    /// One call, counted; a failure is logged.
    async fn ask(&self, life: Duration, identifier: &impl Display) -> Result<IceServerList, Unavailable> {
        let started = self.clock.instant();
        let result = self.api.mint(life, &identifier.to_string()).await;
        let took = self.clock.instant().saturating_duration_since(started);
        let outcome = result.as_ref().map_or_else(ProviderError::outcome, |_| "minted");
        self.metrics.provider_call(outcome, took);
        result.map_err(|error| {
            if error.says_unknown_key() {
                self.pool().throw_all_away();
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

/// One that was ordered for the pool, until it is there. Dropped on any path before, it is lost, and the pool hears of it.
struct Ordered {
    provider: Arc<Provider>,
    spare: Option<Spare>,
}

impl Ordered {
    async fn mint(mut self) -> Result<(), Unavailable> {
        let asked = self.provider.now();
        let grant = random::bytes().map(GrantId::new).map_err(|_| Unavailable)?;
        let servers = self.provider.ask(self.provider.life, &grant).await?;
        self.spare = Some(Spare { servers, grant, asked });
        Ok(())
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        let spare = self.spare.take();
        self.provider.pool().arrived(spare);
    }
}

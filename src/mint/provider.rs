//! A provider: Cloudflare's API with the operator's TURN keys, a circuit breaker for each, and pools of credentials minted
//! ahead; or another provider, as if it were one key, without a pool. Every call is counted, every failure is logged, and no caller waits
//! for another caller's request. A key that Cloudflare refuses costs no mint while another key works.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

use super::{Moment, Pool, PoolCounts, PooledCredential, new_id};
use crate::ice::call::DEADLINE;
use crate::ice::cloudflare::{self, is_of_the_key, says_unknown_key};
use crate::ice::turn_keys::order;
use crate::ice::{BreakerState, KeyName, Listed, TurnKey};
use crate::telemetry::metrics::Metrics;
use turn_base::{CallError, Clock, Throttle, random};
use turn_ledger::{IdDigest, RevocationAnswer, Timestamp};

/// The most credentials that are minted ahead of callers.
const POOL_MAX: u64 = 256;
/// Concurrent calls that fill the pool. Cloudflare asks its users to start with at most 500 mints a second.
const FILL_AT_ONCE: u64 = 16;

/// How many keys one mint tries. The second one follows only a refusal of the first, which comes quickly.
const KEYS_TRIED_MAX: usize = 2;

/// The lifetime of the credential that the probe mints. Nobody gets it, so it can relay nothing and costs nothing.
const PROBE_LIFE: Duration = Duration::from_secs(60);
/// The identifier that the provider stores with the credential of the probe.
const PROBE_IDENTIFIER: &str = "turn-broker-probe";
/// The same of a credential that shows whether a key works.
const CHECK_IDENTIFIER: &str = "turn-broker-check";

/// The provider with its keys and its pools.
pub struct Provider {
    /// Its keys.
    pub keys: Vec<Arc<TurnKey>>,
    /// A pool for each lifetime that callers often ask for. The lock is never held across an await.
    pools: Mutex<Vec<Pool>>,
    /// Notified when a credential was taken, or minted for a caller: the pool may want another one.
    taken: Notify,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    failure_log: Throttle,
    revocation_log: Throttle,
}

/// The latest call of a key that does not mint.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FailureBody)]
pub struct ProviderFailure {
    /// The name of the provider in log lines and hints.
    #[serde(skip)]
    pub provider: &'static str,
    /// What went wrong.
    #[schema(example = "answered 401 Unauthorized")]
    pub what: String,
    /// What to do.
    #[schema(example = "compare CLOUDFLARE_TURN_API_TOKEN with the dashboard's")]
    pub remedy: &'static str,
}

/// The results of some calls for the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Credentials added to the pool.
    pub minted: u64,
    /// Calls that failed.
    pub failed: u64,
}

impl Provider {
    /// A provider with an empty pool for each of these lifetimes. `life_min`: the shortest life of a credential.
    pub fn new(
        keys: Vec<Arc<TurnKey>>,
        lives: &[Duration],
        life_min: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let pool = |life: &Duration| Pool::new(*life, life_min, POOL_MAX, clock.instant());
        Self {
            keys,
            pools: Mutex::new(lives.iter().map(pool).collect()),
            taken: Notify::new(),
            clock,
            metrics,
            failure_log: Throttle::default(),
            revocation_log: Throttle::default(),
        }
    }

    /// A credential from the pool of this lifetime, and what is left of its lifetime. `None` if no pool has this lifetime, or if that pool
    /// is empty. Each call counts as a caller of the pool.
    pub fn take_pooled(&self, life: Duration) -> Option<(PooledCredential, Duration)> {
        let taken = self.pool_of(life)?.take(self.now());
        if taken.is_some() {
            self.taken.notify_one();
        }
        taken
    }

    /// The pool of this lifetime.
    fn pool_of(&self, life: Duration) -> Option<MappedMutexGuard<'_, Pool>> {
        MutexGuard::try_map(self.pools.lock(), |pools| pools.iter_mut().find(|pool| pool.life == life)).ok()
    }

    /// Waits until a pool may lack a credential, but not longer than `at_most`.
    pub async fn wait_for_demand(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.taken.notified()).await;
    }

    /// Mints a credential with this lifetime, with the preferred key if that key works and no pause holds for it alone. The provider stores `identifier` with the
    /// credential. Also returns the digest of the key that has minted. `None` if the provider failed, or its breakers are open: the failure
    /// was counted and logged.
    pub async fn mint(
        &self,
        life: Duration,
        identifier: &impl Display,
        preferred: Option<KeyName>,
    ) -> Option<(Listed, Option<IdDigest>)> {
        let started = self.clock.instant();
        let mut keys: Vec<_> = in_order(&self.keys, preferred).collect();
        keys.sort_by_key(|key| key.mints.paused_until(started).is_some());
        // A breaker is asked only when its key is about to be tried.
        let admitted = keys.into_iter().filter(|key| key.breaker.admit(self.clock.instant()));
        let mut tried = 0;
        for key in admitted.take(KEYS_TRIED_MAX) {
            tried += 1;
            let left = DEADLINE.saturating_sub(self.clock.instant().saturating_duration_since(started));
            let minted = self.ask(key, life, identifier, left).await;
            key.report(&minted, self.clock.instant());
            match minted {
                Ok(listed) => {
                    if let Some(mut pool) = self.pool_of(life) {
                        pool.minted();
                        self.taken.notify_one();
                    }
                    return Some((listed, key.id));
                }
                // Only this key is refused, so the next one is tried.
                Err(error) if is_of_the_key(&error) => {}
                Err(_) => return None,
            }
        }
        if tried == 0 {
            self.metrics.provider_calls.count(["breaker_open"]);
        }
        None
    }

    /// Revokes the credential with this user name. `key` has minted it; `None`: the key without a name, or the first. If the key is gone,
    /// the credential is unknown. An error also if the provider does not know the credential, and the key cannot mint.
    pub async fn revoke(&self, username: &str, key: Option<IdDigest>) -> Result<RevocationAnswer, CallError> {
        let found = match key {
            Some(_) => self.keys.iter().find(|candidate| candidate.id == key),
            None => self.keys.iter().find(|it| it.name == KeyName::DEFAULT).or_else(|| self.keys.first()),
        };
        let Some(key) = found else { return Ok(RevocationAnswer::Unknown) };
        key.revocations.turn(self.clock.instant()).await?;
        let sent = self.clock.instant();
        let revoked = key.api.revoke(username).await;
        key.revocations.note(&revoked, sent, self.clock.instant());
        // Cloudflare answers 404 to a wrong API token, too. Such a token cannot mint either.
        if key.id.is_some() && matches!(revoked, Ok(RevocationAnswer::Unknown)) {
            self.ask(key, PROBE_LIFE, &CHECK_IDENTIFIER, DEADLINE).await?;
        }
        revoked
    }

    /// Discards the credentials that were minted ahead.
    pub fn drop_pool(&self) {
        self.pools.lock().iter_mut().for_each(Pool::discard_all);
    }

    /// Mints some credentials for expected callers. Failures of these calls do not count against the breaker.
    pub async fn fill(&self) -> Filled {
        let mut filled = Filled::default();
        // Whether a failed provider works again is tested by a caller's request or the probe, not by filling the pool.
        if self.breaker_state() != BreakerState::Closed {
            return filled;
        }
        let (mut calls_left, now) = (FILL_AT_ONCE, self.now());
        let start = |pool: &mut Pool| {
            let started = pool.start(calls_left, now);
            calls_left -= started;
            (pool.life, started)
        };
        let counts: Vec<_> = self.pools.lock().iter_mut().map(start).collect();
        let lives = counts.into_iter().flat_map(|(life, count)| (0..count).map(move |_| life));
        let calls = lives.map(|life| PoolCall { provider: self, life, minted: None }.mint());
        for minted in join_all(calls).await {
            match minted {
                Some(()) => filled.minted += 1,
                None => filled.failed += 1,
            }
        }
        filled
    }

    /// Tests each key that has not minted yet or does not work, and its token, with one call. Callers alone might never show that the
    /// provider works again: the budget can refuse them first. The calls are no caller's, so they do not count in the metrics, and no
    /// failure opens a closed breaker.
    pub async fn probe(&self) {
        for key in &self.keys {
            let now = self.clock.instant();
            if key.has_minted() && key.is_up(now) || key.mints.turn(now).await.is_err() {
                continue;
            }
            // A closed breaker is not asked, and learns of no result.
            let asks_breaker = key.breaker.state() != BreakerState::Closed;
            if asks_breaker && !key.breaker.admit(self.clock.instant()) {
                continue;
            }
            let sent = self.clock.instant();
            let minted = key.api.mint(PROBE_LIFE, PROBE_IDENTIFIER, DEADLINE).await;
            key.mints.note(&minted, sent, self.clock.instant());
            if asks_breaker {
                key.breaker.report(minted.is_ok(), self.clock.instant());
            }
            match minted {
                Ok(_) => {
                    key.note_minted();
                    let provider = key.api.name();
                    tracing::info!(key = %key.name, "{provider} mints: the key and its token work");
                }
                Err(error) => {
                    key.note_failed(&error);
                    self.log_failure(key, &error);
                }
            }
        }
    }

    /// Whether callers can expect credentials, of one key at least.
    pub fn is_up(&self) -> bool {
        self.keys.iter().any(|key| key.is_up(self.clock.instant()))
    }

    /// When the first pause of a key ends that keeps callers from credentials. `None` if they can expect some, or if no pause is known.
    pub fn paused_until(&self) -> Option<Timestamp> {
        let Moment { wall, instant } = self.now();
        let ends = self.keys.iter().filter_map(|key| key.mints.paused_until(instant)).min()?;
        if self.is_up() { None } else { Some(wall.plus(ends.saturating_duration_since(instant))) }
    }

    /// Why callers can expect no credentials: the first failure of a key. `None` if they can, or if no failure is known.
    pub fn failure(&self) -> Option<ProviderFailure> {
        let failure = |key: &Arc<TurnKey>| {
            let error = key.failure.read().clone()?;
            Some(ProviderFailure {
                provider: key.api.name(),
                what: error.to_string(),
                remedy: key.api.remedy(&error),
            })
        };
        if self.is_up() { None } else { self.keys.iter().find_map(failure) }
    }

    /// The state of the breaker that lets most calls pass.
    pub fn breaker_state(&self) -> BreakerState {
        let states = self.keys.iter().map(|key| key.breaker.state());
        states.min_by_key(|state| state.gauge()).unwrap_or(BreakerState::Closed)
    }

    /// Counts of all pools.
    pub fn pool_counts(&self) -> PoolCounts {
        let now = self.now();
        let counts = |pool: &mut Pool| {
            // Nothing else removes old credentials while a pool is not filled.
            pool.discard_old(now);
            pool.counts()
        };
        self.pools.lock().iter_mut().map(counts).fold(PoolCounts::default(), PoolCounts::plus)
    }

    /// Makes one mint call, once the key may be called. Counts the call, and logs a failure. `within`: the time limit for the wait and the
    /// call together. If the provider does not know the key any more, discards the credentials of the key in the pools.
    async fn ask(
        &self,
        key: &TurnKey,
        life: Duration,
        identifier: &impl Display,
        within: Duration,
    ) -> Result<Listed, CallError> {
        let turn = key.mints.turn(self.clock.instant()).await;
        let waited = turn.inspect_err(|_| self.metrics.provider_calls.count(["paused"]))?;
        let started = self.clock.instant();
        let left = within.saturating_sub(waited);
        let result = key.api.mint(life, &identifier.to_string(), left).await;
        key.mints.note(&result, started, self.clock.instant());
        let took = self.clock.instant().saturating_duration_since(started);
        let outcome = result.as_ref().map_or_else(CallError::outcome, |_| "minted");
        self.metrics.provider_call(outcome, took);
        match &result {
            Ok(_) => key.note_minted(),
            Err(error) => {
                key.note_failed(error);
                if says_unknown_key(error) {
                    self.pools.lock().iter_mut().for_each(|pool| pool.discard_turn_key(key.id));
                }
                self.log_failure(key, error);
            }
        }
        result
    }

    fn log_failure(&self, key: &TurnKey, error: &CallError) {
        if let Some(held_back) = self.failure_log.pass(self.clock.instant()) {
            let (outcome, remedy, provider) = (error.outcome(), key.api.remedy(error), key.api.name());
            tracing::warn!(key = %key.name, outcome, remedy, held_back, "{provider} did not mint: {error}");
        }
    }

    /// Logs that a revocation failed. The revocations of all credentials of a user often fail together, so not each of them has a line.
    pub(super) fn log_failed_revocation(&self, error: &CallError) {
        if let Some(held_back) = self.revocation_log.pass(self.clock.instant()) {
            let (outcome, remedy) = (error.outcome(), cloudflare::remedy(error));
            tracing::warn!(outcome, remedy, held_back, "Cloudflare did not revoke: {error}");
        }
    }

    fn now(&self) -> Moment {
        Moment { wall: self.clock.now(), instant: self.clock.instant() }
    }
}

/// The keys in the order in which a mint tries them. A key with weight 0 is tried only if it is preferred.
fn in_order(keys: &[Arc<TurnKey>], preferred: Option<KeyName>) -> impl Iterator<Item = &Arc<TurnKey>> {
    let weights: Vec<u32> = keys.iter().map(|key| key.weight).collect();
    let first = keys.iter().position(|key| Some(key.name) == preferred);
    // Without randomness it is 0, which will do: then no grant id can be made either, and nothing is minted.
    order(&weights, first, random::number()).into_iter().filter_map(|index| keys.get(index))
}

/// A call for the pool. Dropping it reports the result to the pool. Without a credential, the call counts as lost.
struct PoolCall<'a> {
    provider: &'a Provider,
    life: Duration,
    minted: Option<PooledCredential>,
}

impl PoolCall<'_> {
    async fn mint(mut self) -> Option<()> {
        let asked = self.provider.now();
        let grant = new_id(asked.wall).ok()?;
        let is_closed = |key: &&Arc<TurnKey>| key.breaker.state() == BreakerState::Closed;
        let key = in_order(&self.provider.keys, None).find(is_closed)?;
        let Listed { servers, .. } = self.provider.ask(key, self.life, &grant, DEADLINE).await.ok()?;
        // A failure is reported by callers alone.
        key.breaker.report(true, self.provider.clock.instant());
        self.minted = Some(PooledCredential { servers, grant, turn_key: key.id, asked });
        Some(())
    }
}

impl Drop for PoolCall<'_> {
    fn drop(&mut self) {
        if let Some(mut pool) = self.provider.pool_of(self.life) {
            pool.finished(self.minted.take());
        }
    }
}

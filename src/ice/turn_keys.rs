//! The operator's TURN keys at Cloudflare: which key mints, and which ids count as ours. A mint takes a key by weight, or the key
//! that it asks for. [`order`] is pure: randomness is an argument. Another provider counts as one key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use reqwest::StatusCode;

use super::{Breaker, BreakerState, KeyName, MintingApi, Pace};
use turn_base::CallError;
use turn_ledger::IdDigest;

/// A TURN key that mints, with what its calls have shown.
pub struct TurnKey {
    /// Its name.
    pub name: KeyName,
    /// The digest of its id, by which its bytes are counted. `None` for another provider.
    pub id: Option<IdDigest>,
    /// Its share of the mints that ask for no key, relative to the other keys.
    pub weight: u32,
    /// The client that uses it.
    pub api: MintingApi,
    /// Its circuit breaker. Each key has its own, because a key can fail alone.
    pub breaker: Breaker,
    /// The pace of its mints.
    pub mints: SharedPace,
    /// The pace of its revocations. A pause of one kind stops no request of the other.
    pub revocations: SharedPace,
    has_minted: AtomicBool,
    /// Why the latest call failed; `None` after one that minted.
    pub failure: RwLock<Option<CallError>>,
}

impl TurnKey {
    /// A key that has not been used yet.
    pub fn new(name: KeyName, id: Option<IdDigest>, weight: u32, api: MintingApi, now: Instant) -> Self {
        let (has_minted, failure) = (AtomicBool::new(false), RwLock::new(None));
        let [mints, revocations] = [(); 2].map(|()| SharedPace(Mutex::new(Pace::new(now))));
        Self { name, id, weight, api, breaker: Breaker::default(), mints, revocations, has_minted, failure }
    }

    /// Reports the result of a mint to the breaker. A refusal as too fast is not reported while a lower pace may help, unless this was the
    /// try of a half-open breaker.
    pub fn report<T>(&self, result: &Result<T, CallError>, now: Instant) {
        let is_too_fast = result.as_ref().is_err_and(|error| error.status() == Some(429));
        let is_tried = self.breaker.state() == BreakerState::HalfOpen;
        if is_too_fast && !is_tried && self.mints.0.lock().can_slow_down() {
            return;
        }
        self.breaker.report(result.is_ok(), now);
    }

    /// Notes that the key has minted.
    pub fn note_minted(&self) {
        self.has_minted.store(true, Ordering::Relaxed);
        // With a write lock for each mint, mints would wait for one another.
        if self.failure.read().is_some() {
            *self.failure.write() = None;
        }
    }

    /// Notes that a call has failed.
    pub fn note_failed(&self, error: &CallError) {
        *self.failure.write() = Some(error.clone());
    }

    /// Whether the key has minted since the start.
    pub fn has_minted(&self) -> bool {
        self.has_minted.load(Ordering::Relaxed)
    }

    /// Whether callers can expect credentials: the breaker is closed, the provider asks for no pause, and the key has
    /// minted or no call has failed yet.
    pub fn is_up(&self, now: Instant) -> bool {
        let may_work = self.has_minted() || self.failure.read().is_none();
        may_work && self.mints.paused_until(now).is_none() && self.breaker.state() == BreakerState::Closed
    }
}

/// A pace that tasks share.
pub struct SharedPace(Mutex<Pace>);

impl SharedPace {
    /// Waits for the turn of a request, and returns for how long it has waited. If the wait would be too long, the error is like that of a
    /// provider that refuses a request as too fast.
    pub async fn turn(&self, now: Instant) -> Result<Duration, CallError> {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let refused = |wait| CallError::Status { status, retry_after: Some(wait) };
        let wait = self.0.lock().take(now).map_err(refused)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(wait)
    }

    /// See [`Pace::note`].
    pub fn note<T>(&self, result: &Result<T, CallError>, sent: Instant, now: Instant) {
        self.0.lock().note(result.as_ref().err(), sent, now);
    }

    /// See [`Pace::paused_until`].
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.0.lock().paused_until(now)
    }
}

/// A key whose bytes count as ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    /// The digest of its id.
    pub digest: IdDigest,
    /// Its id at Cloudflare.
    pub id: Arc<str>,
}

impl OwnKey {
    /// The key of this id.
    pub fn of(id: &str) -> Self {
        Self { digest: IdDigest::of(id), id: id.into() }
    }
}

/// The order in which keys of these weights are tried. First the preferred key, or else one by weight. Then every other key with a weight,
/// once.
pub fn order(weights: &[u32], preferred: Option<usize>, random: u64) -> Vec<usize> {
    let first = preferred.or_else(|| by_weight(weights, random));
    let others = weights.iter().enumerate().filter(|(_, weight)| **weight > 0).map(|(index, _)| index);
    first.into_iter().chain(others.filter(|index| Some(*index) != first)).collect()
}

/// A key by weight. `None` if no key has a weight.
fn by_weight(weights: &[u32], random: u64) -> Option<usize> {
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    let mut rest = random.checked_rem(sum)?;
    for (index, weight) in weights.iter().copied().map(u64::from).enumerate() {
        match rest.checked_sub(weight) {
            None => return Some(index),
            Some(less) => rest = less,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_key_is_first_as_often_as_its_weight_says() {
        let first = |random| order(&[3, 0, 1], None, random)[0];
        assert_eq!([0, 1, 2, 3, 4].map(first), [0, 0, 0, 2, 0]);
    }

    #[test]
    fn the_preferred_key_is_first_even_without_a_weight() {
        assert_eq!(order(&[3, 0, 1], Some(1), 7), [1, 0, 2]);
        assert_eq!(order(&[3, 0, 1], Some(2), 7), [2, 0]);
    }

    proptest! {
        #[test]
        fn every_key_with_a_weight_is_tried_once(
            weights in prop::collection::vec(0u32..=1_000, 0..17), random: u64, preferred in prop::option::of(0usize..17),
        ) {
            let preferred = preferred.filter(|index| *index < weights.len());
            let mut tried = order(&weights, preferred, random);
            if let Some(preferred) = preferred {
                prop_assert_eq!(tried[0], preferred);
            } else if let Some(first) = tried.first() {
                prop_assert!(weights[*first] > 0);
            }
            tried.sort_unstable();
            let weighted = |index: &usize| weights[*index] > 0 || Some(*index) == preferred;
            prop_assert_eq!(tried, (0..weights.len()).filter(weighted).collect::<Vec<_>>());
        }
    }
}

//! A pool of credentials of one lifetime, minted ahead of their callers. Each is handed out at most once, and none after half of its
//! lifetime, or in strict mode with less left than the shortest life there. Less than half of all that are minted are wasted. A credential in the pool is not a grant and reserves nothing. Pure: `now` is
//! an argument, and the result is the number of credentials to mint.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::ice::server::IceServerList;
use turn_ledger::{GrantId, IdDigest, Timestamp};

/// The lifetime that `turn-client.js` asks for.
pub const PAGE_LIFE: Duration = Duration::from_secs(3_600);
/// A credential may be handed out until half of its lifetime has passed.
const AGE_SHARE: u32 = 2;

/// One instant on both clocks. Either can be wrong, so the larger difference counts.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Wall time.
    pub wall: Timestamp,
    /// Monotonic time. It can stop while the machine sleeps.
    pub instant: Instant,
}

impl Moment {
    fn since(self, earlier: Self) -> Duration {
        self.wall.since(earlier.wall).max(self.instant.saturating_duration_since(earlier.instant))
    }
}

/// A credential that is not handed out yet.
#[derive(Debug)]
pub struct PooledCredential {
    /// The provider's ICE servers, with the credential.
    pub servers: IceServerList,
    /// The identifier at the provider: the id of the future grant.
    pub grant: GrantId,
    /// The TURN key that minted it.
    pub turn_key: Option<IdDigest>,
    /// When the request to the provider began: the earliest start of its lifetime.
    pub asked: Moment,
}

/// Credentials minted ahead of callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PoolBody)]
pub struct PoolCounts {
    /// Not handed out yet.
    #[schema(example = 2)]
    pub ready: u64,
    /// Handed out since the start.
    #[schema(example = 180)]
    pub handed_out: u64,
    /// Discarded since the start: too old, or minted with a key that no longer exists.
    #[schema(example = 11)]
    pub wasted: u64,
}

impl PoolCounts {
    /// The counts of two pools together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            ready: self.ready + other.ready,
            handed_out: self.handed_out + other.handed_out,
            wasted: self.wasted + other.wasted,
        }
    }
}

/// The pool.
#[derive(Debug)]
pub struct Pool {
    /// The lifetime of every credential.
    pub life: Duration,
    /// The age up to which a credential may be handed out.
    age_max: Duration,
    /// Most credentials in the pool.
    max: u64,
    demand: Demand,
    /// The oldest first, but calls that were made at the same time may have ended in any order.
    credentials: VecDeque<PooledCredential>,
    /// Mints that were started and have not finished.
    pending: u64,
    /// Mints that finished without a credential. The provider may have minted one whose response was lost.
    lost: u64,
    /// All credentials that the provider has minted, for callers and for the pool.
    minted: u64,
    handed_out: u64,
    wasted: u64,
}

impl Pool {
    /// An empty pool for credentials of one lifetime. `left_min`: what is left at least of the life of a credential that is handed out.
    pub fn new(life: Duration, left_min: Duration, max: u64, now: Instant) -> Self {
        Self {
            life,
            age_max: (life / AGE_SHARE).min(life.saturating_sub(left_min)),
            max,
            demand: Demand::new(now),
            credentials: VecDeque::new(),
            pending: 0,
            lost: 0,
            minted: 0,
            handed_out: 0,
            wasted: 0,
        }
    }

    /// Counts a caller, and takes a credential, with what is left of its lifetime. `None` if the pool is empty. The provider makes sure
    /// that the caller asks for the lifetime of this pool.
    pub fn take(&mut self, now: Moment) -> Option<(PooledCredential, Duration)> {
        self.demand.count(now.instant);
        self.discard_old(now);
        let credential = self.credentials.pop_front()?;
        self.handed_out += 1;
        let left = self.life.saturating_sub(now.since(credential.asked));
        Some((credential, left))
    }

    /// Counts a credential that the provider minted for a caller.
    pub fn minted(&mut self) {
        self.minted += 1;
    }

    /// How many credentials to mint now, at most `most`. Each counts as pending until it is [finished](Self::finished).
    pub fn start(&mut self, most: u64, now: Moment) -> u64 {
        self.discard_old(now);
        let present = self.ready() + self.pending;
        let started = self.wanted(now.instant).saturating_sub(present).min(self.affordable()).min(most);
        self.pending += started;
        started
    }

    /// Ends a started mint. Without a credential it counts as lost. That limits further mints as much as a wasted credential does, because
    /// only the response may have been lost.
    pub fn finished(&mut self, credential: Option<PooledCredential>) {
        self.pending = self.pending.saturating_sub(1);
        if let Some(credential) = credential {
            self.minted += 1;
            self.credentials.push_back(credential);
        } else {
            self.lost += 1;
        }
    }

    /// Discards the credentials of a key that the provider no longer knows, because they probably do not work.
    pub fn discard_turn_key(&mut self, turn_key: Option<IdDigest>) {
        let before = self.ready();
        self.credentials.retain(|credential| credential.turn_key != turn_key);
        self.wasted += before - self.ready();
    }

    /// Discards all credentials.
    pub fn discard_all(&mut self) {
        self.wasted += self.ready();
        self.credentials.clear();
    }

    /// Discards credentials that are too old to hand out.
    pub fn discard_old(&mut self, now: Moment) {
        let is_old = |credential: &PooledCredential| now.since(credential.asked) > self.age_max;
        while self.credentials.front().is_some_and(is_old) {
            self.credentials.pop_front();
            self.wasted += 1;
        }
    }

    /// The counts for metrics.
    pub fn counts(&self) -> PoolCounts {
        PoolCounts { ready: self.ready(), handed_out: self.handed_out, wasted: self.wasted }
    }

    /// Half of the callers expected while a credential is young enough, at most half of a minute's callers, and at most what fits into the
    /// pool.
    fn wanted(&mut self, now: Instant) -> u64 {
        let span = self.age_max.min(WINDOW).as_secs();
        let expected = self.demand.steady(now).saturating_mul(span) / WINDOW.as_secs();
        (expected / 2).min(self.max)
    }

    /// How many more credentials the demand may have. In the worst case, each lost response stands for a minted credential, and no ready,
    /// pending or new one is ever handed out. Even then less than half of all may be wasted: `doubtful + new < useful`.
    fn affordable(&self) -> u64 {
        let useful = self.minted.saturating_sub(self.ready() + self.wasted);
        let doubtful = self.wasted + self.lost + self.ready() + self.pending;
        useful.saturating_sub(doubtful + 1)
    }

    fn ready(&self) -> u64 {
        u64::try_from(self.credentials.len()).unwrap_or(u64::MAX)
    }
}

// The demand: the smallest number of callers in any of the last three whole minutes. A single burst does not raise it, and it falls to
// zero within two minutes after callers stop. Pure: `now` is an argument.

/// Callers are counted in windows of this length.
const WINDOW: Duration = Duration::from_secs(60);
/// Number of whole windows that are kept.
const WINDOWS: usize = 3;

/// Callers by window.
#[derive(Debug)]
struct Demand {
    /// Start of the current window.
    began: Instant,
    /// Callers in the current window.
    current: u64,
    /// Callers in the whole windows before it, the latest last.
    past: [u64; WINDOWS],
}

impl Demand {
    /// No callers yet.
    const fn new(now: Instant) -> Self {
        Self { began: now, current: 0, past: [0; WINDOWS] }
    }

    /// Counts one caller.
    fn count(&mut self, now: Instant) {
        self.advance(now);
        self.current = self.current.saturating_add(1);
    }

    /// The smallest number of callers in the last [`WINDOWS`] whole windows. 0 until that many windows have passed.
    fn steady(&mut self, now: Instant) -> u64 {
        self.advance(now);
        self.past.into_iter().min().unwrap_or(0)
    }

    /// Ends the windows that are over, and begins the one of `now`.
    fn advance(&mut self, now: Instant) {
        for _ in 0..=WINDOWS {
            if now.saturating_duration_since(self.began) < WINDOW {
                return;
            }
            self.past.rotate_left(1);
            self.past[WINDOWS - 1] = std::mem::take(&mut self.current);
            self.began += WINDOW;
        }
        // No caller came in any of the kept windows, so `past` is all zero. A new window begins now.
        self.began = now;
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod demand_tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_smallest_of_three_whole_minutes_counts() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        for second in 0..180 {
            assert_eq!(
                demand.steady(at(second)),
                0,
                "fewer than three whole minutes have passed at {second} s"
            );
            // 60, 30 and 60 in a minute.
            if !(60..120).contains(&second) || second % 2 == 0 {
                demand.count(at(second));
            }
        }
        assert_eq!(demand.steady(at(180)), 30);
        assert_eq!(demand.steady(at(239)), 30, "the current minute does not count");
        assert_eq!(demand.steady(at(240)), 0, "the last whole minute had no caller");
    }

    #[test]
    fn a_burst_is_not_steady_demand() {
        let start = start();
        let mut demand = Demand::new(start);
        (0..1_000).for_each(|_| demand.count(start));
        for second in 0..600 {
            assert_eq!(demand.steady(start + Duration::from_secs(second)), 0, "{second} s");
        }
    }

    #[test]
    fn after_a_long_pause_the_demand_is_zero() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        (0..240).for_each(|second| demand.count(at(second)));
        assert_eq!(demand.steady(at(240)), 60);
        demand.count(at(10_000));
        assert_eq!(demand.steady(at(10_000)), 0);
        (10_000..10_240).for_each(|second| demand.count(at(second)));
        assert_eq!(demand.steady(at(10_240)), 60, "counting continues");
    }
}

//! Credentials that are minted ahead of their callers. Each is handed out once or never, none when more than a tenth of
//! its life is over, and whatever comes, less than half of all that the provider mints is minted in vain. What lies here
//! is nobody's: it is no grant and promises nothing. Pure: `now` comes in, what is to be minted goes out as a number.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

mod demand;
#[cfg(test)]
mod tests;

use crate::ice::server::IceServerList;
use demand::{Demand, WINDOW};
use turn_ledger::token::GrantId;
use turn_ledger::units::Timestamp;

/// Of its life so much may be over when a credential is handed out: a tenth.
const AGE_SHARE: u32 = 10;

/// One instant on both clocks: either may be wrong, and the one that says "later" is believed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Wall time.
    pub wall: Timestamp,
    /// Monotonic time. It may stand still while the machine sleeps.
    pub instant: Instant,
}

impl Moment {
    fn since(self, earlier: Self) -> Duration {
        self.wall.since(earlier.wall).max(self.instant.saturating_duration_since(earlier.instant))
    }
}

/// A credential that nobody has yet.
#[derive(Debug)]
pub struct Spare {
    /// What the provider answered.
    pub servers: IceServerList,
    /// Under which identifier: the id of the grant that comes of it.
    pub grant: GrantId,
    /// When it was asked for: its life began then at the earliest.
    pub asked: Moment,
}

/// How the pool fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Credentials that lie ready.
    pub ready: u64,
    /// Those that were taken for a caller, since the start.
    pub handed_out: u64,
    /// Those that were thrown away, since the start.
    pub wasted: u64,
}

/// See the module's invariant.
#[derive(Debug)]
pub struct Pool {
    /// The life of all of them.
    life: Duration,
    /// Most that may lie ready.
    max: u64,
    demand: Demand,
    /// The oldest first, but for the seconds between calls that were made together.
    spares: VecDeque<Spare>,
    /// Ordered and not there yet.
    coming: u64,
    /// Ordered, and nothing came of it here: the provider may have minted them all the same.
    lost: u64,
    /// All that the provider has minted, for callers and ahead of them.
    minted: u64,
    handed_out: u64,
    wasted: u64,
}

impl Pool {
    /// An empty one for credentials of that life.
    #[must_use]
    pub fn new(life: Duration, max: u64, now: Instant) -> Self {
        Self {
            life,
            max,
            demand: Demand::new(now),
            spares: VecDeque::new(),
            coming: 0,
            lost: 0,
            minted: 0,
            handed_out: 0,
            wasted: 0,
        }
    }

    /// A caller wants a credential of the life that the pool's have. `None`: there is none, and the provider has to be
    /// asked. With it comes what is left of its life.
    pub fn take(&mut self, now: Moment) -> Option<(Spare, Duration)> {
        self.demand.count(now.instant);
        self.throw_old_away(now);
        let spare = self.spares.pop_front()?;
        self.handed_out += 1;
        let left = self.life.saturating_sub(now.since(spare.asked));
        Some((spare, left))
    }

    /// The provider has minted one for a caller.
    pub fn minted(&mut self) {
        self.minted += 1;
    }

    /// How many to mint now, `most` at most. They count as coming until each has [arrived](Self::arrived).
    pub fn order(&mut self, most: u64, now: Moment) -> u64 {
        self.throw_old_away(now);
        let there = self.ready() + self.coming;
        let lacking = self.wanted(now.instant).saturating_sub(there);
        let ordered = lacking.min(self.affordable()).min(most);
        self.coming += ordered;
        ordered
    }

    /// One that was ordered is there, or will never be: then it is in vain, since its answer alone may be lost.
    pub fn arrived(&mut self, spare: Option<Spare>) {
        self.coming = self.coming.saturating_sub(1);
        if let Some(spare) = spare {
            self.minted += 1;
            self.spares.push_back(spare);
        } else {
            self.lost += 1;
        }
    }

    /// The provider does not know us any more: what it minted before is most likely dead.
    pub fn throw_all_away(&mut self) {
        self.wasted += self.ready();
        self.spares.clear();
    }

    /// What is too old to be handed out goes.
    pub fn throw_old_away(&mut self, now: Moment) {
        let age_max = self.age_max();
        let is_old = |spare: &Spare| now.since(spare.asked) > age_max;
        while self.spares.front().is_some_and(is_old) {
            self.spares.pop_front();
            self.wasted += 1;
        }
    }

    /// How it fares.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        PoolCounts { ready: self.ready(), handed_out: self.handed_out, wasted: self.wasted }
    }

    /// Half of the callers to be expected while a credential is young enough, and of a minute's at most.
    fn wanted(&mut self, now: Instant) -> u64 {
        let span = self.age_max().min(WINDOW).as_secs();
        let expected = self.demand.steady(now).saturating_mul(span) / WINDOW.as_secs();
        (expected / 2).min(self.max)
    }

    /// How many more may be minted so that less than half of all is in vain, even if nobody ever comes for what is there,
    /// what is coming, and these, and all that was lost exists.
    fn affordable(&self) -> u64 {
        let useful = self.minted.saturating_sub(self.ready() + self.wasted);
        let doubtful = self.wasted + self.lost + self.ready() + self.coming;
        useful.saturating_sub(doubtful + 1)
    }

    fn age_max(&self) -> Duration {
        self.life / AGE_SHARE
    }

    fn ready(&self) -> u64 {
        u64::try_from(self.spares.len()).unwrap_or(u64::MAX)
    }
}

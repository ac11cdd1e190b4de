//! The clocks of one machine. Its time since boot has a pace of its own and passes while it sleeps. Its wall clock is right, or wrong by
//! some time.

use std::num::NonZeroU128;

use super::prelude::*;

/// The pace of a right clock.
pub(super) const RIGHT: u64 = 256;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    boot: u128,
    /// In milliseconds times [`RIGHT`].
    since_boot: u64,
    pub(super) pace: u64,
    /// How far the wall clock is ahead, in milliseconds.
    pub(super) ahead: i64,
}

impl Clock {
    /// No two machines have been running for the same time.
    pub(super) fn new(machine: u64) -> Self {
        let boot = u128::from(machine) + 1;
        Self { boot, since_boot: (9_000_000 * machine + 70_000) * RIGHT, pace: RIGHT, ahead: 0 }
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.since_boot += millis * self.pace;
    }

    /// The machine starts again.
    pub(super) fn reboot(&mut self) {
        (self.boot, self.since_boot) = (self.boot + 2, 5_000 * RIGHT);
    }

    pub(super) fn since_boot(&self) -> Duration {
        Duration::from_millis(self.since_boot / RIGHT)
    }

    pub(super) fn boot(&self) -> Boot {
        NonZeroU128::new(self.boot)
    }

    pub(super) fn wall(&self, present: Timestamp) -> Timestamp {
        Timestamp::from_millis(present.as_millis() + self.ahead)
    }
}

//! The demand: the smallest number of callers in any of the last three whole minutes. A single burst does not raise it, and it falls to
//! zero within two minutes after callers stop. Pure: `now` is an argument.

use std::time::{Duration, Instant};

/// Callers are counted in windows of this length.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Number of whole windows that are kept.
const WINDOWS: usize = 3;

/// Callers by window.
#[derive(Debug)]
pub(super) struct Demand {
    /// Start of the current window.
    began: Instant,
    /// Callers in the current window.
    current: u64,
    /// Callers in the whole windows before it, the latest last.
    past: [u64; WINDOWS],
}

impl Demand {
    /// No callers yet.
    pub(super) const fn new(now: Instant) -> Self {
        Self { began: now, current: 0, past: [0; WINDOWS] }
    }

    /// Counts one caller.
    pub(super) fn count(&mut self, now: Instant) {
        self.advance(now);
        self.current = self.current.saturating_add(1);
    }

    /// The smallest number of callers in the last [`WINDOWS`] whole windows. 0 until that many windows have passed.
    pub(super) fn steady(&mut self, now: Instant) -> u64 {
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
mod tests {
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

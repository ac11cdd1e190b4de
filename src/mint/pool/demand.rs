//! How many callers come, minute by minute. What counts is the quietest of the last whole minutes: a burst is none that
//! goes on, and what has stopped is over within two. Pure: `now` comes in.

use std::time::{Duration, Instant};

/// Callers are counted in windows of this length.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Whole windows that are remembered.
const WINDOWS: usize = 3;

/// See the module's invariant.
#[derive(Debug)]
pub(super) struct Demand {
    /// When the window that is under way began.
    began: Instant,
    under_way: u64,
    /// The whole ones before it, the latest last.
    past: [u64; WINDOWS],
}

impl Demand {
    /// Nobody so far.
    #[must_use]
    pub(super) const fn new(now: Instant) -> Self {
        Self { began: now, under_way: 0, past: [0; WINDOWS] }
    }

    /// One caller more.
    pub(super) fn count(&mut self, now: Instant) {
        self.advance(now);
        self.under_way = self.under_way.saturating_add(1);
    }

    /// Callers in a [`WINDOW`], the least of the last whole ones; 0 until there were as many as are looked at.
    pub(super) fn steady(&mut self, now: Instant) -> u64 {
        self.advance(now);
        self.past.into_iter().min().unwrap_or(0)
    }

    fn advance(&mut self, now: Instant) {
        for _ in 0..=WINDOWS {
            if now.saturating_duration_since(self.began) < WINDOW {
                return;
            }
            self.past.rotate_left(1);
            self.past[WINDOWS - 1] = std::mem::take(&mut self.under_way);
            self.began += WINDOW;
        }
        // Nobody was heard of for longer than is remembered: windows may as well begin now.
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
    fn the_quietest_of_three_whole_minutes_counts() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        for second in 0..180 {
            assert_eq!(demand.steady(at(second)), 0, "no three whole minutes at {second} s");
            // 60, 30 and 60 in a minute.
            if !(60..120).contains(&second) || second % 2 == 0 {
                demand.count(at(second));
            }
        }
        assert_eq!(demand.steady(at(180)), 30);
        assert_eq!(demand.steady(at(239)), 30, "the minute under way does not count yet");
        assert_eq!(demand.steady(at(240)), 0, "nobody came in the last one");
    }

    #[test]
    fn a_burst_is_no_demand() {
        let start = start();
        let mut demand = Demand::new(start);
        (0..1_000).for_each(|_| demand.count(start));
        for second in 0..600 {
            assert_eq!(demand.steady(start + Duration::from_secs(second)), 0, "{second} s");
        }
    }

    #[test]
    fn after_a_long_silence_all_is_forgotten() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        (0..240).for_each(|second| demand.count(at(second)));
        assert_eq!(demand.steady(at(240)), 60);
        demand.count(at(10_000));
        assert_eq!(demand.steady(at(10_000)), 0);
        (10_000..10_240).for_each(|second| demand.count(at(second)));
        assert_eq!(demand.steady(at(10_240)), 60, "and counting goes on");
    }
}

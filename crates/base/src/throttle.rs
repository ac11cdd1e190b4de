//! Log lines that clients can cause. Each goes through a [`Throttle`], so that nobody fills the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A line that clients can cause is logged once in this time.
pub const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Passes one line in each window and counts the others.
#[derive(Debug)]
pub struct Throttle {
    window: Duration,
    state: Mutex<Option<(Instant, u64)>>,
}

impl Throttle {
    /// No line yet. A line passes in each [`LOG_WINDOW`].
    pub const fn new() -> Self {
        Self::every(LOG_WINDOW)
    }

    /// The same with another window.
    pub const fn every(window: Duration) -> Self {
        Self { window, state: Mutex::new(None) }
    }

    /// `Some(n)` if a line may be written now, where `n` lines were suppressed since the last one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        match &mut *state {
            Some((last, held_back)) if now.saturating_duration_since(*last) < self.window => {
                *held_back += 1;
                None
            }
            previous => {
                let held_back = previous.map_or(0, |(_, held_back)| held_back);
                *previous = Some((now, 0));
                Some(held_back)
            }
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn one_line_passes_per_window_and_says_how_many_were_held_back() {
        let (throttle, slower) = (Throttle::new(), Throttle::every(Duration::from_secs(60)));
        let start = Instant::now();
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(10)), Some(2));
        assert_eq!(slower.pass(start), Some(0));
        assert_eq!(slower.pass(start + Duration::from_secs(59)), None);
        assert_eq!(slower.pass(start + Duration::from_secs(60)), Some(1));
    }
}

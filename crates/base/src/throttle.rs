//! Log lines that clients can cause. Each goes through a [`Throttle`], so that nobody fills the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A line that clients can cause is logged at most once in this time, unless its throttle says otherwise.
pub const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Passes the first lines of each window and counts the others.
#[derive(Debug)]
pub struct Throttle {
    window: Duration,
    /// How many lines pass in a window.
    lines_max: u64,
    state: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    begin: Instant,
    /// How many lines came in this window, passed or not.
    lines: u64,
}

impl Throttle {
    /// Passes one line in each `window`.
    pub const fn every(window: Duration) -> Self {
        Self { window, lines_max: 1, state: Mutex::new(None) }
    }

    /// Passes `lines_max` lines in each [`LOG_WINDOW`].
    pub fn of_lines(lines_max: u64) -> Self {
        Self { lines_max, ..Self::default() }
    }

    /// `Some(n)` if a line may be written now, where `n` lines were suppressed since the last line that was written.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        match &mut *state {
            Some(window) if now.saturating_duration_since(window.begin) < self.window => {
                window.lines += 1;
                (window.lines <= self.lines_max).then_some(0)
            }
            previous => {
                let lines = previous.as_ref().map_or(0, |window| window.lines);
                *previous = Some(Window { begin: now, lines: 1 });
                Some(lines.saturating_sub(self.lines_max))
            }
        }
    }
}

/// Passes one line in each [`LOG_WINDOW`].
impl Default for Throttle {
    fn default() -> Self {
        Self::every(LOG_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn one_line_passes_per_window_and_says_how_many_were_held_back() {
        let (throttle, slower) = (Throttle::default(), Throttle::every(Duration::from_secs(60)));
        let start = Instant::now();
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(10)), Some(2));
        assert_eq!(slower.pass(start), Some(0));
        assert_eq!(slower.pass(start + Duration::from_secs(59)), None);
        assert_eq!(slower.pass(start + Duration::from_secs(60)), Some(1));
        let of_two = Throttle::of_lines(2);
        let passed =
            [0, 0, 0, 9, 10, 10, 10].map(|seconds| of_two.pass(start + Duration::from_secs(seconds)));
        assert_eq!(passed, [Some(0), Some(0), None, None, Some(2), Some(0), None]);
    }
}

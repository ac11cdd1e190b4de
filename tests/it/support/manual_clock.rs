//! A clock that moves only when a test moves it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use turn_base::Clock;
use turn_ledger::{Boot, Timestamp};

/// All kinds of time at full resolution. They move together or separately.
#[derive(Debug)]
pub(crate) struct ManualClock {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    wall: Timestamp,
    /// What a clock shows that nobody sets.
    right: Timestamp,
    elapsed: Duration,
    slept: Duration,
    boot: u128,
    broken: bool,
}

impl ManualClock {
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    pub(crate) fn at(wall: &str) -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::new(State {
                wall: timestamp(wall),
                right: timestamp(wall),
                elapsed: Duration::ZERO,
                slept: Duration::ZERO,
                boot: 1,
                broken: false,
            }),
        }
    }

    /// Advances all kinds of time.
    pub(crate) fn advance(&self, span: Duration) {
        let mut state = self.state.lock().unwrap();
        (state.wall, state.right) = (state.wall.plus(span), state.right.plus(span));
        state.elapsed += span;
    }

    /// Sets whether reading wall time panics from now on.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.state.lock().unwrap().broken = broken;
    }

    /// Suspends the machine: the wall clock and the time since boot advance, the monotonic clock does not.
    pub(crate) fn suspend(&self, span: Duration) {
        let mut state = self.state.lock().unwrap();
        (state.wall, state.right) = (state.wall.plus(span), state.right.plus(span));
        state.slept += span;
    }

    /// Advances all kinds of time to this wall time.
    pub(crate) fn advance_to(&self, wall: &str) {
        self.advance(timestamp(wall).since(self.now()));
    }

    /// Starts the machine again, after it was off for this long.
    pub(crate) fn reboot(&self, off: Duration) {
        let mut state = self.state.lock().unwrap();
        (state.wall, state.right) = (state.wall.plus(off), state.right.plus(off));
        state.slept = Duration::ZERO;
        state.boot += 1;
    }

    /// The header `Date` of another machine, whose clock is right.
    pub(crate) fn http_date(&self) -> String {
        self.state.lock().unwrap().right.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Sets only the wall clock.
    pub(crate) fn set_wall(&self, wall: &str) {
        self.state.lock().unwrap().wall = timestamp(wall);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let state = *self.state.lock().unwrap();
        assert!(!state.broken, "broken on purpose");
        state.wall
    }

    fn instant(&self) -> Instant {
        self.start + self.state.lock().unwrap().elapsed
    }

    fn since_boot(&self) -> Duration {
        let state = *self.state.lock().unwrap();
        state.elapsed + state.slept
    }

    fn boot(&self) -> Boot {
        std::num::NonZeroU128::new(self.state.lock().unwrap().boot)
    }
}

/// Parses RFC 3339.
pub(crate) fn timestamp(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
}

//! A clock that stands still until it is moved.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use turn_broker::clock::Clock;
use turn_ledger::units::Timestamp;

/// Wall time and monotonic time, moved together or apart; full resolution.
#[derive(Debug)]
pub(crate) struct ManualClock {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    wall: Timestamp,
    elapsed: Duration,
    broken: bool,
}

impl ManualClock {
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    pub(crate) fn at(wall: &str) -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::new(State { wall: timestamp(wall), elapsed: Duration::ZERO, broken: false }),
        }
    }

    /// Both kinds of time pass.
    pub(crate) fn advance(&self, span: Duration) {
        let mut state = self.state.lock().unwrap();
        state.wall = state.wall.plus(span);
        state.elapsed += span;
    }

    /// Whoever asks for wall time from now on panics, or does not.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.state.lock().unwrap().broken = broken;
    }

    /// Both kinds of time pass until the wall clock says so.
    pub(crate) fn advance_to(&self, wall: &str) {
        self.advance(timestamp(wall).since(self.now()));
    }

    /// Somebody sets the wall clock.
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
}

/// Reads RFC 3339.
pub(crate) fn timestamp(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
}

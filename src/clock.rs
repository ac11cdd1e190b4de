//! The only reader of time. Everything else takes `now` as an argument, so that a test decides what time it is.
//! Two kinds: [`Timestamp`] (UTC) for the wire and the ledger, [`Instant`] for spans inside this process.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::units::Timestamp;

/// A source of both kinds of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time. It may step backwards; whoever keeps state takes the later of this and what it saw before.
    fn now(&self) -> Timestamp;
    /// Monotonic time, for how long a thing took and when a breaker may try again.
    fn instant(&self) -> Instant;
}

/// Wall time that neither runs back nor stands still: when the wall clock steps back, time goes on from the latest
/// instant seen at the pace of the monotonic clock, until the wall clock has caught up. Pure.
#[derive(Debug)]
pub struct SteadyTime {
    /// The last instant at which wall time was ahead, and when that was.
    anchor: (Timestamp, Instant),
}

impl SteadyTime {
    /// Time that goes on from `then`, which was at `instant`: the latest that is known from before, as from disk.
    #[must_use]
    pub fn from(then: Timestamp, instant: Instant) -> Self {
        Self { anchor: (then, instant) }
    }

    /// The steady time of a reading of both clocks.
    pub fn read(&mut self, wall: Timestamp, instant: Instant) -> Timestamp {
        let (then, at) = self.anchor;
        let steady = then.plus(instant.saturating_duration_since(at));
        if steady > wall {
            return steady;
        }
        self.anchor = (wall, instant);
        wall
    }
}

/// `span` from now, for the runtime's timers. They watch sockets; no figure and no decision rests on them.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where time is read")]
pub fn deadline(span: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + span
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is a machine without a clock; the ledger keeps its later time in that case.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(0).plus(since_1970)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn time_goes_on_at_its_pace_while_the_wall_clock_is_behind() {
        let start = Instant::now();
        let wall = Timestamp::from_millis;
        let mut steady = SteadyTime::from(wall(9_000), start);
        let mut read = |at, micros| steady.read(wall(at), start + Duration::from_micros(micros)).as_millis();
        assert_eq!(read(10_000, 0), 10_000);
        assert_eq!(read(4_000, 500_000), 10_500, "set back by six seconds and a half");
        for micros in 500_000..502_500 {
            let _ = read(4_000, micros);
        }
        assert_eq!(read(4_000, 2_000_000), 12_000, "many readings within a millisecond lose nothing");
        assert_eq!(read(12_500, 2_400_000), 12_500, "caught up");
        assert_eq!(read(99_000, 2_500_000), 99_000, "a step ahead is believed");
    }
}
